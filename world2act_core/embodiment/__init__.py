"""ONE contract for a robot, read by bags, simulators, policies, training and live nodes alike."""

from world2act_core.embodiment.contract import (
    ActionLayout,
    Camera,
    Embodiment,
    Gripper,
    JointLimits,
    Limits,
    StateStream,
    load_embodiment,
    shipped_embodiments,
)
from world2act_core.embodiment.output import GripperOutput, Output

__all__ = [
    "ActionLayout",
    "Camera",
    "Embodiment",
    "Gripper",
    "GripperOutput",
    "JointLimits",
    "Limits",
    "Output",
    "StateStream",
    "load_embodiment",
    "shipped_embodiments",
]
