"""Section ``output`` of a contract: the messages in which a command reaches the arm's own controllers.

What a policy decides is the same everywhere (``action``); who takes it is not. Without this section the arm takes
World2Act's own ArmCommand, as the simulators do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from world2act_core.embodiment.checked import Checked

if TYPE_CHECKING:
    from world2act_core.embodiment.contract import ActionLayout, StateStream

DELTA_POSE = ("x", "y", "z", "roll", "pitch", "yaw")
POSE = ("x", "y", "z", "qx", "qy", "qz", "qw")
_TAKES = {  # output kind → action kinds that can be expressed in it without a model of the arm
    "arm_command": ("eef_delta", "eef_pose", "joint_delta", "joint_positions"),
    "joint_trajectory": ("joint_delta", "joint_positions"),
    "twist": ("eef_delta",),
    "pose": ("eef_delta", "eef_pose"),
}


@dataclass(frozen=True)
class GripperOutput:
    """Where the gripper takes its position: a std_msgs/Float64MultiArray with one value.

    ``open`` and ``close`` are that value, in the unit of the controller's joint (m or rad).
    """

    topic: str
    open: float
    close: float


@dataclass(frozen=True)
class Output:
    """How a command leaves.

    Attributes:
        kind: ``arm_command`` (world2act_interfaces/ArmCommand on the action's topic), ``joint_trajectory``
            (trajectory_msgs/JointTrajectory, ros2_control's JointTrajectoryController), ``twist``
            (geometry_msgs/TwistStamped, MoveIt Servo) or ``pose`` (geometry_msgs/PoseStamped).
        topic: where it is published; empty for ``arm_command``.
        frame_id: frame of a twist or pose; empty for the others.
        time_from_start_s: joint_trajectory: when the commanded point shall be reached after the command left.
        gripper: None where ``topic`` carries the gripper too (``arm_command``).
    """

    kind: str = "arm_command"
    topic: str = ""
    frame_id: str = ""
    time_from_start_s: float = 0.0
    gripper: GripperOutput | None = None

    @property
    def topics(self) -> tuple[str, ...]:
        """Every topic on which commands leave, besides the action's."""
        return tuple(topic for topic in (self.topic, self.gripper.topic if self.gripper else "") if topic)


def parse_output(raw: Checked, action: ActionLayout, gripper: int, state: Mapping[str, StateStream]) -> Output:
    """Section ``output``; ``gripper`` is the index of the action's gripper dimension.

    Raises:
        ContractError: the action cannot be expressed in this output.
    """
    kind = raw.text("kind", one_of=tuple(_TAKES))
    if action.kind not in _TAKES[kind]:
        raw.refuse("kind", f"cannot carry actions of kind {action.kind}, only {', '.join(_TAKES[kind])}")
    arm = tuple(name for index, name in enumerate(action.names) if index != gripper)
    if kind == "arm_command":
        raw.no_other_keys()
        return Output()
    frame_id, reach = "", 0.0
    if kind == "joint_trajectory":
        reach = raw.number("time_from_start_s", above=0, at_most=1.0)
        _must_be(raw, arm, state["joint_positions"].joints if "joint_positions" in state else ())
    else:
        frame_id = raw.text("frame_id")
        _must_be(raw, arm, DELTA_POSE if action.kind == "eef_delta" else POSE)
        _measured_in(raw, frame_id, state, needed=kind == "pose" and action.kind == "eef_delta")
    output = Output(kind, raw.text("topic"), frame_id, reach, _gripper_output(raw.section("gripper")))
    raw.no_other_keys()
    return output


def _must_be(raw: Checked, arm: tuple[str, ...], expected: tuple[str, ...]) -> None:
    """Dimensions are picked by name: a joint in another order would be another joint."""
    if set(arm) != set(expected) or not expected:
        raw.refuse("kind", f"needs the action names {', '.join(expected)} and the gripper, not {', '.join(arm)}")


def _measured_in(raw: Checked, frame_id: str, state: Mapping[str, StateStream], needed: bool) -> None:
    """A twist or pose is meant in the frame in which the policy sees the end effector."""
    for name in ("eef_position", "eef_orientation"):
        if name in state and state[name].frame_id != frame_id:
            raw.refuse("frame_id", f"is not state.{name}'s frame {state[name].frame_id}")
        if needed and name not in state:
            raw.refuse("kind", f"needs the state stream {name}, to which a delta is added")


def _gripper_output(raw: Checked) -> GripperOutput:
    gripper = GripperOutput(raw.text("topic"), raw.number("open"), raw.number("close"))
    if gripper.open == gripper.close:
        raw.refuse("close", "is the same as open")
    raw.no_other_keys()
    return gripper
