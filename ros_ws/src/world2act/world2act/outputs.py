"""Fills and publishes the messages that the contract's section ``output`` names; what they say is the core's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from world2act.node import COMMAND_OFFERED, World2ActNode, make, message_class
from world2act_core.embodiment import Embodiment
from world2act_core.episodes import compose
from world2act_core.runtime.outputs import JointPoint, Outgoing, Pose, Twist

KINDS = {
    "joint_trajectory": "trajectory_msgs/msg/JointTrajectory",
    "twist": "geometry_msgs/msg/TwistStamped",
    "pose": "geometry_msgs/msg/PoseStamped",
}
GRIPPER = "std_msgs/msg/Float64MultiArray"


class OutputPublisher:
    """The publishers of one arm's output; none where the arm takes ArmCommand.

    Args:
        node: publishes.
        embodiment: its ``output`` is published.
        where: from a topic of the contract to the one that is published on (a dry run's is another).
    """

    def __init__(self, node: World2ActNode, embodiment: Embodiment, where: Callable[[str], str]) -> None:
        self._node, output = node, embodiment.output
        self._arm: Any = None
        self._gripper: Any = None
        if output.kind in KINDS:
            self._arm = node.speak(message_class(KINDS[output.kind]), where(output.topic), COMMAND_OFFERED)
        if output.gripper is not None:
            self._gripper = node.speak(message_class(GRIPPER), where(output.gripper.topic), COMMAND_OFFERED)

    def send(self, outgoing: Outgoing, stamp_ns: int) -> None:
        """Publish what leaves; the stamp lets a controller refuse what comes too late."""
        if outgoing.arm is not None:
            self._node.publish(self._arm, arm_message(outgoing.arm, stamp_ns))
        if outgoing.gripper is not None:
            self._node.publish(self._gripper, make(GRIPPER, data=np.array([outgoing.gripper])))


def arm_message(target: JointPoint | Twist | Pose, stamp_ns: int) -> Any:
    """JointTrajectory, TwistStamped or PoseStamped."""
    if isinstance(target, JointPoint):
        reach = make("builtin_interfaces/msg/Duration", **_duration(target.time_from_start_s))
        point = make("trajectory_msgs/msg/JointTrajectoryPoint", positions=target.positions, time_from_start=reach)
        header = compose.header(stamp_ns, make=make)
        return make(KINDS["joint_trajectory"], header=header, joint_names=list(target.joints), points=[point])
    header = compose.header(stamp_ns, target.frame_id, make)
    if isinstance(target, Twist):
        twist = make("geometry_msgs/msg/Twist", linear=_vector(target.linear), angular=_vector(target.angular))
        return make(KINDS["twist"], header=header, twist=twist)
    position = make("geometry_msgs/msg/Point", **dict(zip("xyz", map(float, target.position), strict=True)))
    turned = make("geometry_msgs/msg/Quaternion", **dict(zip("xyzw", map(float, target.orientation), strict=True)))
    pose = make("geometry_msgs/msg/Pose", position=position, orientation=turned)
    return make(KINDS["pose"], header=header, pose=pose)


def _vector(values: Any) -> Any:
    return make("geometry_msgs/msg/Vector3", **dict(zip("xyz", map(float, values), strict=True)))


def _duration(seconds: float) -> dict[str, int]:
    sec, nanosec = divmod(round(seconds * 1e9), 10**9)
    return {"sec": sec, "nanosec": nanosec}
