"""From an action to what the arm's own controllers take: joint points, twists, poses, and a gripper position.

A hold never becomes a zero position or a zero pose. Under ``joint_trajectory`` and ``pose`` nothing leaves: the
controller holds the last point it was given. Under ``twist`` a zero twist leaves, which is MoveIt Servo's stop and no
place to go to; Servo would also stop by itself after its ``incoming_command_timeout``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from world2act_core.embodiment import Embodiment
from world2act_core.embodiment.output import DELTA_POSE, POSE
from world2act_core.errors import ContractError
from world2act_core.runtime.chunks import Command, Hold, Track
from world2act_core.runtime.safety import Measured
from world2act_core.types import Array


@dataclass(frozen=True)
class JointPoint:
    """Be at ``positions`` ``(J,)`` (rad, as ``joints`` are named) after ``time_from_start_s``."""

    joints: tuple[str, ...]
    positions: Array
    time_from_start_s: float


@dataclass(frozen=True)
class Twist:
    """Move with ``linear`` ``(3,)`` m/s and ``angular`` ``(3,)`` rad/s, both in ``frame_id``."""

    frame_id: str
    linear: Array
    angular: Array


@dataclass(frozen=True)
class Pose:
    """Be at ``position`` ``(3,)`` m with ``orientation`` ``(4,)`` x, y, z, w, both in ``frame_id``."""

    frame_id: str
    position: Array
    orientation: Array


@dataclass(frozen=True)
class Outgoing:
    """What leaves for one command; None: nothing. ``gripper`` is a joint position of the gripper's controller."""

    arm: JointPoint | Twist | Pose | None = None
    gripper: float | None = None


class OutputConverter:
    """Converts every command of one arm as its contract's section ``output`` says.

    Args:
        embodiment: names the output.
        measured: what a delta is added to: the state by which the safety filter, which comes first, has just judged it.
    """

    def __init__(self, embodiment: Embodiment, measured: Measured) -> None:
        self._embodiment, self._measured = embodiment, measured
        action, self._output = embodiment.action, embodiment.output
        self._index = {name: index for index, name in enumerate(action.names)}
        self._to_arm = {
            "arm_command": lambda values: None,
            "joint_trajectory": self._joint_point,
            "twist": self._twist,
            "pose": self._pose,
        }[self._output.kind]

    def convert(self, command: Command) -> tuple[Command, Outgoing]:
        """What leaves, and the command as it then is: a track that cannot be expressed becomes a hold that says why."""
        if isinstance(command, Hold):
            return command, self.hold()
        try:
            return command, self._track(command)
        except ContractError as error:
            return Hold(str(error)), self.hold()

    def hold(self) -> Outgoing:
        """Nothing moves: nothing leaves, or Servo's stop; the gripper keeps what it was told last."""
        if self._output.kind != "twist":
            return Outgoing()
        return Outgoing(Twist(self._output.frame_id, np.zeros(3), np.zeros(3)))

    def _track(self, command: Track) -> Outgoing:
        if not np.isfinite(command.values).all() or command.values.shape != (self._embodiment.action.size,):
            raise ContractError(f"the action {command.values} of chunk {command.chunk} cannot be sent to the arm")
        si_values = np.asarray(command.values, np.float64) * self._embodiment.action.scale
        return Outgoing(self._to_arm(si_values), self._gripper(command.values))

    def _pick(self, values: Array, names: tuple[str, ...]) -> Array:
        return values[[self._index[name] for name in names]]

    def _joint_point(self, values: Array) -> JointPoint:
        joints = self._embodiment.state["joint_positions"].joints
        positions = self._pick(values, joints)
        if self._embodiment.action.kind == "joint_delta":
            positions = positions + _known(self._measured.joints, "joint_positions")
        return JointPoint(joints, positions, self._output.time_from_start_s)

    def _twist(self, values: Array) -> Twist:
        """The displacement of one control step as a velocity; roll, pitch, yaw are a rotation vector in the frame."""
        delta = self._pick(values, DELTA_POSE) * self._embodiment.control_rate_hz
        return Twist(self._output.frame_id, delta[:3], delta[3:])

    def _pose(self, values: Array) -> Pose:
        """A delta is added to the measured pose, its rotation about the axes of the frame (as robosuite's OSC_POSE)."""
        if self._embodiment.action.kind == "eef_pose":
            pose = self._pick(values, POSE)
            norm = np.linalg.norm(pose[3:])
            if abs(norm - 1.0) > 0.05:
                raise ContractError(f"the action's quaternion {pose[3:]} has length {norm:.3g}, not 1")
            return Pose(self._output.frame_id, pose[:3], pose[3:] / norm)
        delta = self._pick(values, DELTA_POSE)
        position = _known(self._measured.position, "eef_position") + delta[:3]
        orientation = turned(_known(self._measured.orientation, "eef_orientation"), delta[3:])
        return Pose(self._output.frame_id, position, orientation)

    def _gripper(self, values: Array) -> float | None:
        """Linear from the action's open..close to the controller's, never beyond either."""
        target = self._output.gripper
        if target is None:
            return None
        gripper = self._embodiment.gripper
        closed = (float(values[gripper.index]) - gripper.open) / (gripper.close - gripper.open)
        return target.open + min(max(closed, 0.0), 1.0) * (target.close - target.open)


def _known(row: list[float], stream: str) -> Array:
    if not row:
        raise ContractError(f"{stream} has not been received, and the action is a step from it")
    return np.array(row)


def turned(orientation: Array, rotation: Array) -> Array:
    """A quaternion ``(4,)`` x, y, z, w turned by a rotation vector ``(3,)`` rad about the axes of its frame."""
    angle = float(np.linalg.norm(rotation))
    turn, w = 0.5 * np.sinc(angle / (2 * np.pi)) * rotation, np.cos(angle / 2)
    vector, scalar = orientation[:3].astype(np.float64), float(orientation[3])
    product = np.append(w * vector + scalar * turn + np.cross(turn, vector), w * scalar - turn @ vector)
    normed: Array = product / np.linalg.norm(product)
    return normed
