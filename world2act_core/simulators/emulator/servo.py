"""MoveIt Servo as its clients see it: twists in, joint motion out, and a halt when they stop coming.

Facts: moveit2 (Jazzy), ``moveit_servo``: parameters with their defaults, and what the node does with a twist. Emulated:
``speed_units``, staleness by the twist's stamp, the expected frame, speed and joint-velocity scaling, joint margins,
singularities. Not emulated: collision checking and ``switch_command_type`` (twists are taken from the start).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from world2act_core.embodiment import JointLimits
from world2act_core.types import Array

Jacobian = Callable[[Array], Array]  # (J,) rad → (6, J)


@dataclass(frozen=True)
class ServoSettings:
    """Servo's parameters; the scales as docs/arms.md sets them, the others Servo's defaults."""

    incoming_command_timeout: float = 0.1
    publish_period: float = 0.01
    linear: float = 0.5  # m/s
    rotational: float = 2.0  # rad/s
    joint_limit_margin: float = 0.1  # rad
    lower_singularity_threshold: float = 17.0
    hard_stop_singularity_threshold: float = 30.0
    smoothing: float = 0.2  # share of the last joint velocity that is kept a period


STOPPED_RAD_S = 1e-4


class TwistServo:
    """Turns the newest twist into joint positions every ``publish_period``.

    Args:
        frame_id: the only frame in which twists are taken.
        limits: of the joints.
        jacobian: of the end effector in ``frame_id``.
    """

    def __init__(
        self, frame_id: str, limits: JointLimits, jacobian: Jacobian, settings: ServoSettings | None = None
    ) -> None:
        self._frame_id, self._limits, self._jacobian = frame_id, limits, jacobian
        self.settings = settings or ServoSettings()
        self._twist, self._stamp = np.zeros(6), -np.inf
        self._velocity: Array | None = None  # None: halted
        self._position: Array | None = None
        self.status = "waiting for a twist"

    @property
    def halted(self) -> bool:
        return self._velocity is None

    def accept(self, frame_id: str, twist: Array, stamp: float) -> str:
        """Take a twist ``(6,)`` m/s, rad/s; returns why it was refused, or ""."""
        if frame_id != self._frame_id:
            return f"the twist is in frame {frame_id!r}, expected {self._frame_id!r}"
        if not np.isfinite(twist).all():
            return "the twist holds a value that is not finite"
        self._twist, self._stamp = np.array(twist, np.float64), stamp
        return ""

    def step(self, now: float, measured: Array) -> Array | None:
        """One period; returns the joint positions ``(J,)`` for its end, or None when nothing is to be sent."""
        stale = now - self._stamp >= self.settings.incoming_command_timeout
        if stale and self.halted:
            return None
        if self._velocity is None or self._position is None:
            self._velocity, self._position = np.zeros_like(measured), np.array(measured, np.float64)
        if stale:
            target = np.zeros_like(measured)
            self.status = f"halted: no twist for {self.settings.incoming_command_timeout:g} s"
        else:
            target = self._joint_velocity(self._position)
        self._velocity = self.settings.smoothing * self._velocity + (1 - self.settings.smoothing) * target
        if stale and np.abs(self._velocity).max() < STOPPED_RAD_S:
            self._velocity = None
            return self._position
        self._position = self._position + self._velocity * self.settings.publish_period
        return self._position

    def _joint_velocity(self, position: Array) -> Array:
        """``(J,)`` rad/s for the newest twist, scaled down wherever Servo scales."""
        self.status = "moving" if self._twist.any() else "stopped: zero twist"
        twist = self._twist.copy()
        for part, limit in ((slice(0, 3), self.settings.linear), (slice(3, 6), self.settings.rotational)):
            twist[part] /= max(1.0, float(np.linalg.norm(twist[part])) / limit)
        jacobian = self._jacobian(position)
        inverse = np.linalg.pinv(jacobian)
        velocity: Array = inverse @ twist * self._singularity_scale(position, jacobian, inverse, twist)
        velocity /= max(1.0, float((np.abs(velocity) / self._limits.velocity).max()))
        ahead = position + velocity * self.settings.publish_period
        margin = self.settings.joint_limit_margin
        low = (velocity < 0) & (ahead < self._limits.lower + margin)
        high = (velocity > 0) & (ahead > self._limits.upper - margin)
        if (low | high).any():
            self.status = f"halted: joint {int(np.flatnonzero(low | high)[0]) + 1} is close to its limit"
            return np.zeros_like(velocity)
        return velocity

    def _singularity_scale(self, position: Array, jacobian: Array, inverse: Array, twist: Array) -> float:
        """Slower the closer to a singularity, but only on the way towards it."""
        left, values, _ = np.linalg.svd(jacobian)
        condition = float(values[0] / max(values[-1], 1e-12))
        lower, stop = self.settings.lower_singularity_threshold, self.settings.hard_stop_singularity_threshold
        if condition <= lower:
            return 1.0
        towards = left[:, -1]
        ahead = np.linalg.svd(self._jacobian(position + inverse @ towards * 0.01), compute_uv=False)
        if ahead[0] / max(ahead[-1], 1e-12) < condition:
            towards = -towards
        if towards @ twist <= 0:
            return 1.0
        self.status = "slowed down: close to a singularity"
        return float(np.clip(1.0 - (condition - lower) / (stop - lower), 0.0, 1.0))
