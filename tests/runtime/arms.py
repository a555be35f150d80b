"""A measured arm for the tests of what commands it: a plausible pose, and messages that show it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.episodes import compose
from world2act_core.types import Array

PANDA = load_embodiment("libero_panda")


def pose(robot: Embodiment, **changes: Any) -> dict[str, Array]:
    """Every state stream, in the middle of the robot's limits but for ``changes``."""
    joints, limits = robot.limits.joints, robot.limits
    state: dict[str, Array] = {name: np.zeros(stream.size, np.float32) for name, stream in robot.state.items()}
    state["joint_positions"] = (joints.lower + joints.upper) / 2
    state["eef_position"] = (limits.workspace_lower + limits.workspace_upper) / 2
    state["eef_orientation"] = np.array([0.0, 0.0, 0.0, 1.0], np.float32)
    return {**state, **{name: np.asarray(value, np.float32) for name, value in changes.items()}}


def show(
    receiver: Any, stamp: float, monotonic: float, robot: Embodiment = PANDA, topics: Sequence[str] = (), **changes: Any
) -> None:
    """The arm's state to whoever has ``on_state(topic, message, monotonic)`` or ``add(...)``."""
    take = receiver.on_state if hasattr(receiver, "on_state") else receiver.add
    for topic, message in compose.state_messages(robot, pose(robot, **changes), round(stamp * 1e9)):
        if not topics or topic in topics:
            take(topic, message, monotonic)
