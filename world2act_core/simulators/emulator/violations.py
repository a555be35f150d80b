"""Counts the commands that should never have left: beyond a joint's range, too fast, a leap, not a number."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from world2act_core.embodiment import Limits
from world2act_core.types import Array

KINDS = ("joint_limit", "velocity", "jump", "not_finite", "refused")
TOLERANCE_RAD = 1e-3  # float32 on its way
SPEED_TOLERANCE = 0.05  # a share: the arm lags a little behind what it was told before
JUMP = 5.0  # this many times the speed limit is no fast motion but a leap
SOONEST_S = 0.002  # a point that is due at once is due after one period of the controller


@dataclass
class Violations:
    """What the arm was asked for and should not have been; ``last`` says the newest in words.

    A message counts at most once a kind.
    """

    limits: Limits
    joints: tuple[str, ...]
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    last: str = ""

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def add(self, kind: str, what: str) -> None:
        self.counts[kind] += 1
        self.last = what

    def refused(self, reason: str) -> None:
        """A controller refused a message."""
        self.add("not_finite" if "not finite" in reason else "refused", reason)

    def trajectory(self, points: Array, times: Array, measured: Array) -> None:
        """Judge a trajectory that was accepted: ``points`` ``(N, J)`` rad at ``times`` ``(N,)`` s from now."""
        joints = self.limits.joints
        beyond = np.maximum(joints.lower - points, points - joints.upper).max(0)
        worst = int(beyond.argmax())
        if beyond[worst] > TOLERANCE_RAD:
            self.add("joint_limit", f"{self.joints[worst]} was sent {beyond[worst]:.3f} rad beyond its range")
        spans = np.maximum(np.diff(times, prepend=0.0), SOONEST_S)[:, None]
        ratio = (np.abs(np.diff(points, axis=0, prepend=measured[None])) / spans / joints.velocity).max(0)
        worst = int(ratio.argmax())
        if ratio[worst] > JUMP:
            self.add("jump", f"{self.joints[worst]} was sent a leap, {ratio[worst]:.1f} times its speed limit")
        elif ratio[worst] > 1 + SPEED_TOLERANCE:
            self.add("velocity", f"{self.joints[worst]} was sent {ratio[worst]:.2f} times its speed limit")

    def twist(self, twist: Array) -> None:
        """Judge an accepted twist ``(6,)``."""
        speed = float(np.linalg.norm(twist[:3]))
        if speed > (1 + SPEED_TOLERANCE) * self.limits.eef_speed:
            self.add("velocity", f"the end effector was sent {speed:.2f} m/s, its limit is {self.limits.eef_speed:g}")
