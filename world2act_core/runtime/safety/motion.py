"""Where a command would take the arm, how fast, and whether the contract's limits allow it.

One class for commands to joints and one for commands to the end effector. Plain floats: for seven numbers they are
faster than arrays, and nothing is allocated that stays.
"""

from __future__ import annotations

import math
from typing import Protocol

from world2act_core.embodiment import Embodiment
from world2act_core.errors import ContractError
from world2act_core.runtime.safety.following import Follower
from world2act_core.runtime.safety.measured import Measured

ROUNDING = 1e-6  # rad or m: values travel as float32
MEASURED_TOLERANCE = 0.05  # rad: an encoder may read a little beyond a stop, but not degrees, nor another joint


class Motion(Protocol):
    """Judges one command after the other; ``absolute`` if actions name places, not steps."""

    absolute: bool

    def rest(self) -> None:
        """The arm has stopped: the next command starts from the measured pose, at no speed."""

    def judge(self, action: list[float], weight: float) -> str:
        """Why the command must not leave, or "".

        Args:
            action: ``(A,)`` in the embodiment's layout; changed in place if ``weight`` is below 1 or it is followed.
            weight: 0 at the pose where the arm rested, 1 at what was commanded.
        """


def make_motion(embodiment: Embodiment, measured: Measured) -> Motion:
    """The judge of the embodiment's kind of action.

    Raises:
        ContractError: the contract does not say enough to judge its actions.
    """
    return (JointMotion if embodiment.action.kind.startswith("joint") else EefMotion)(embodiment, measured)


def _dimensions(embodiment: Embodiment, names: tuple[str, ...]) -> list[int]:
    layout = embodiment.action
    missing = [name for name in names if name not in layout.names]
    if missing:
        raise ContractError(
            f"{embodiment.file}: action.names has no {missing[0]!r}, without which the limits of kind {layout.kind} "
            "cannot be checked"
        )
    return [layout.names.index(name) for name in names]


class JointMotion:
    """``joint_positions`` and ``joint_delta``: dimensions are named like the joints of stream ``joint_positions``.

    Position, velocity and acceleration are those of the command. With ``limits.follow`` targets are followed within
    these limits (``following.Follower``). Where the hand goes is not computed (that takes the arm's kinematics): its
    measured place and speed are judged instead, if the contract has a stream ``eef_position``.
    """

    def __init__(self, embodiment: Embodiment, measured: Measured) -> None:
        self._names = embodiment.state["joint_positions"].joints
        self._dims = _dimensions(embodiment, self._names)
        self.absolute = embodiment.action.kind == "joint_positions"
        self._measured, self._hand = measured, Hand(embodiment, measured)
        self._step_s = step_s = embodiment.step_s
        self._scale = [float(embodiment.action.scale[dim]) for dim in self._dims]
        joints = embodiment.limits.joints
        self._lower = [value - ROUNDING for value in joints.lower.tolist()]
        self._upper = [value + ROUNDING for value in joints.upper.tolist()]
        self._velocity = [value + 2 * ROUNDING / step_s for value in joints.velocity.tolist()]
        self._acceleration = [value + 4 * ROUNDING / step_s**2 for value in joints.acceleration.tolist()]
        size = len(self._dims)
        self._follower = Follower(embodiment, self._dims) if embodiment.limits.follow else None
        self._origin, self._last, self._speed = [0.0] * size, [0.0] * size, [0.0] * size
        self._next, self._next_speed = [0.0] * size, [0.0] * size
        self._resting = True

    def rest(self) -> None:
        self._resting = True

    def judge(self, action: list[float], weight: float) -> str:
        refusal = self._hand.measured_fault()
        if refusal:
            return refusal
        if self._resting:
            self._origin[:] = self._last[:] = self._measured.joints
            self._speed[:] = [0.0] * len(self._speed)
            if self._follower is not None:
                self._follower.rest(self._last)
        step_s = self._step_s
        for i, dim in enumerate(self._dims):
            value = action[dim] * self._scale[i]
            if not self.absolute:
                target = self._measured.joints[i] + weight * value
                speed = weight * value / step_s
            elif self._follower is not None:
                refusal = self._follower.refusal(i, value, self._last[i], self._measured.joints[i])
                if refusal:
                    return f"{self._names[i]} {refusal}"
                target = self._follower.place(i, value, self._last[i], self._speed[i], weight)
                speed = (target - self._last[i]) / step_s
            else:
                target = value if weight >= 1 else self._origin[i] + weight * (value - self._origin[i])
                speed = (target - self._last[i]) / step_s
            if not self._lower[i] <= target <= self._upper[i]:
                return f"{self._names[i]} would go to {target:.3f} rad, outside {self._range(i)}"
            if abs(speed) > self._velocity[i]:
                return f"{self._names[i]} would move at {abs(speed):.2f} rad/s (at most {self._velocity[i]:.2f})"
            acceleration = abs(speed - self._speed[i]) / step_s
            if acceleration > self._acceleration[i]:
                limit = self._acceleration[i]
                return f"{self._names[i]} would accelerate at {acceleration:.1f} rad/s^2 (at most {limit:.1f})"
            self._next[i], self._next_speed[i] = target, speed
            if weight < 1 or self._follower is not None:
                action[dim] = (target if self.absolute else weight * value) / self._scale[i]
        self._last, self._next = self._next, self._last
        if self._follower is not None:
            self._follower.accepted()
        self._speed, self._next_speed = self._next_speed, self._speed
        self._resting = False
        return ""

    def _range(self, i: int) -> str:
        return f"{self._lower[i]:.3f}..{self._upper[i]:.3f}"


class EefMotion:
    """``eef_delta`` (a step from the measured pose) and ``eef_pose`` (a place): dimensions ``x``, ``y``, ``z`` and then
    ``roll``, ``pitch``, ``yaw`` (a rotation vector; deltas) or ``qx``, ``qy``, ``qz``, ``qw`` (poses).

    Which joint does what is decided by whoever turns this into joint motion (MoveIt Servo, a controller); here the
    measured joints must lie in their ranges. Further dimensions (a mobile base) are judged by their range alone.
    """

    def __init__(self, embodiment: Embodiment, measured: Measured) -> None:
        self.absolute = embodiment.action.kind == "eef_pose"
        streams = ("eef_position", "eef_orientation") if self.absolute else ("eef_position",)
        for name in streams:
            if name not in embodiment.state:
                raise ContractError(
                    f"{embodiment.file}: state has no {name}, without which the limits of kind "
                    f"{embodiment.action.kind} cannot be checked"
                )
        turning = ("qx", "qy", "qz", "qw") if self.absolute else ("roll", "pitch", "yaw")
        self._dims, self._turns = _dimensions(embodiment, ("x", "y", "z")), _dimensions(embodiment, turning)
        self._measured, self._hand = measured, Hand(embodiment, measured)
        self._step_s = step_s = embodiment.step_s
        self._scale = embodiment.action.scale.tolist()
        limits = embodiment.limits
        self._speed_limit = limits.eef_speed + 2 * ROUNDING / step_s
        self._acceleration_limit = limits.eef_acceleration + 4 * ROUNDING / step_s**2
        self._rotation_limit = limits.eef_rotation_speed + 4 * ROUNDING / step_s
        self._origin, self._last, self._velocity = [0.0] * 3, [0.0] * 3, [0.0] * 3
        self._next, self._next_velocity = [0.0] * 3, [0.0] * 3
        self._turned_from, self._facing = [0.0] * 4, [0.0] * 4
        self._resting = True

    def rest(self) -> None:
        self._resting = True

    def judge(self, action: list[float], weight: float) -> str:
        refusal = self._hand.joint_fault()
        if refusal:
            return refusal
        if self._resting:
            self._origin[:] = self._last[:] = self._measured.position
            self._velocity[:] = (0.0, 0.0, 0.0)
            if self.absolute:
                self._turned_from[:] = self._facing[:] = self._measured.orientation
        refusal = self._translate(action, weight) or (
            self._face(action, weight) if self.absolute else self._turn(action, weight)
        )
        if refusal:
            return refusal
        if weight < 1:
            self._lead_in(action, weight)
        self._last, self._next = self._next, self._last
        self._velocity, self._next_velocity = self._next_velocity, self._velocity
        self._resting = False
        return ""

    def _translate(self, action: list[float], weight: float) -> str:
        step_s, here = self._step_s, self._measured.position
        for axis, dim in enumerate(self._dims):
            value = action[dim] * self._scale[dim]
            if self.absolute:
                place = value if weight >= 1 else self._origin[axis] + weight * (value - self._origin[axis])
                moved = place - self._last[axis]
            else:
                moved = weight * value
                place = here[axis] + moved
            self._next[axis], self._next_velocity[axis] = place, moved / step_s
        refusal = self._hand.outside(self._next, "would go to")
        if refusal:
            return refusal
        speed = math.hypot(*self._next_velocity)
        if speed > self._speed_limit:
            return f"the end effector would move at {speed:.2f} m/s (at most {self._speed_limit:.2f})"
        acceleration = math.dist(self._next_velocity, self._velocity) / step_s
        if acceleration > self._acceleration_limit:
            limit = self._acceleration_limit
            return f"the end effector would accelerate at {acceleration:.1f} m/s^2 (at most {limit:.1f})"
        return ""

    def _turn(self, action: list[float], weight: float) -> str:
        angle = weight * math.hypot(*[action[dim] * self._scale[dim] for dim in self._turns])
        return self._too_fast(angle)

    def _face(self, action: list[float], weight: float) -> str:
        facing = [action[dim] * self._scale[dim] for dim in self._turns]
        length = math.hypot(*facing)
        if abs(length - 1) > 1e-3:
            return f"the commanded orientation is no unit quaternion (its length is {length:.3f})"
        if weight < 1:
            facing = slerp(self._turned_from, facing, weight)
        refusal = self._too_fast(angle_between(self._facing, facing))
        if not refusal:
            self._facing[:] = facing
        return refusal

    def _too_fast(self, angle: float) -> str:
        speed = angle / self._step_s
        if speed > self._rotation_limit:
            return f"the end effector would turn at {speed:.2f} rad/s (at most {self._rotation_limit:.2f})"
        return ""

    def _lead_in(self, action: list[float], weight: float) -> None:
        for axis, dim in enumerate(self._dims):
            action[dim] = self._next[axis] / self._scale[dim] if self.absolute else weight * action[dim]
        for i, dim in enumerate(self._turns):
            action[dim] = self._facing[i] / self._scale[dim] if self.absolute else weight * action[dim]


class Hand:
    """The end effector's box and speed, and the measured joints' ranges."""

    def __init__(self, embodiment: Embodiment, measured: Measured) -> None:
        limits = embodiment.limits
        self._measured = measured
        self._lower = [value - ROUNDING for value in limits.workspace_lower.tolist()]
        self._upper = [value + ROUNDING for value in limits.workspace_upper.tolist()]
        self._speed = limits.eef_speed
        self._joints = embodiment.state["joint_positions"].joints
        self._joint_lower = [value - MEASURED_TOLERANCE for value in limits.joints.lower.tolist()]
        self._joint_upper = [value + MEASURED_TOLERANCE for value in limits.joints.upper.tolist()]

    def outside(self, place: list[float], verb: str) -> str:
        """Why a place lies outside the workspace, or ""."""
        for axis in range(3):
            if not self._lower[axis] <= place[axis] <= self._upper[axis]:
                box = f"{self._lower[axis]:.3f}..{self._upper[axis]:.3f}"
                return f"the end effector {verb} {'xyz'[axis]} = {place[axis]:.3f} m, outside {box}"
        return ""

    def measured_fault(self) -> str:
        """Why the measured hand contradicts the limits, or ""."""
        place = self._measured.position
        if not place:
            return ""
        if self._measured.speed > self._speed:
            return f"the end effector moves at {self._measured.speed:.2f} m/s (at most {self._speed:.2f})"
        return self.outside(place, "is at")

    def joint_fault(self) -> str:
        """Why a measured joint contradicts its range, or ""."""
        for i, value in enumerate(self._measured.joints):
            if not self._joint_lower[i] <= value <= self._joint_upper[i]:
                box = f"{self._joint_lower[i]:.3f}..{self._joint_upper[i]:.3f}"
                return f"{self._joints[i]} is measured at {value:.3f} rad, outside {box}"
        return ""


def angle_between(one: list[float], other: list[float]) -> float:
    """Angle of the rotation between two unit quaternions, rad; exact also for small angles."""
    sign = 1.0 if sum(a * b for a, b in zip(one, other, strict=True)) >= 0 else -1.0
    chord = math.dist(one, [sign * value for value in other])
    return 4 * math.asin(min(1.0, chord / 2))


def slerp(start: list[float], end: list[float], weight: float) -> list[float]:
    """From one unit quaternion to another the short way round, ``weight`` of the angle."""
    dot = sum(a * b for a, b in zip(start, end, strict=True))
    sign = 1.0 if dot >= 0 else -1.0
    half = angle_between(start, end) / 2
    if half < 1e-6:
        return list(end)
    before, after = math.sin((1 - weight) * half), sign * math.sin(weight * half)
    return [(before * a + after * b) / math.sin(half) for a, b in zip(start, end, strict=True)]
