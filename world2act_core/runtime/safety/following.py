"""Joint targets followed no faster than the joints may move, as a trajectory controller would (``limits.follow``).

A learned chunk begins where it likes: the step from one chunk to the next is an acceleration that no arm should be
asked for, and a filter that only refuses holds at every other chunk.
"""

from __future__ import annotations

import math

from world2act_core.embodiment import Embodiment

LEAP_S = 0.2
"""A target further off than the joint goes in this time at full speed is a leap, however long chunks are."""
BEYOND = 0.05
"""rad: a joint goes along with its target no faster than that it can stop so far behind it, should the target stop."""


class Follower:
    """Where each joint is led, given where its target is; see ``motion.JointMotion``, which judges the result.

    Args:
        embodiment: whose actions are joint positions.
        dims: dimension of each joint of stream ``joint_positions``.
    """

    def __init__(self, embodiment: Embodiment, dims: list[int]) -> None:
        joints, layout = embodiment.limits.joints, embodiment.action
        self._step_s = embodiment.step_s
        low, high = (layout.low * layout.scale)[dims].tolist(), (layout.high * layout.scale)[dims].tolist()
        self._lower = [max(pair) for pair in zip(joints.lower.tolist(), low, strict=True)]
        self._upper = [min(pair) for pair in zip(joints.upper.tolist(), high, strict=True)]
        self._velocity, self._acceleration = joints.velocity.tolist(), joints.acceleration.tolist()
        self._target, self._next_target = [0.0] * len(dims), [0.0] * len(dims)

    def rest(self, measured: list[float]) -> None:
        """The arm stands; whatever comes next is the first target."""
        self._target[:] = measured

    def refusal(self, i: int, target: float, last: float, measured: float) -> str:
        """Why joint ``i`` may not be led to a target at all, or "": rad, last where it was commanded."""
        if not self._lower[i] <= target <= self._upper[i]:
            return f"would go to {target:.3f} rad, outside {self._lower[i]:.3f}..{self._upper[i]:.3f}"
        leap = max(abs(target - last), abs(target - measured))
        if leap > LEAP_S * self._velocity[i]:
            return f"would leap {leap:.3f} rad (at most {LEAP_S * self._velocity[i]:.3f})"
        return ""

    def place(self, i: int, target: float, last: float, speed: float, weight: float) -> float:
        """Where joint ``i`` is led in this step: along with its target, and what it is behind is made up for at a speed
        from which it can still stop. A lead-in (``weight`` below 1) takes that share of the full speed."""
        step_s, before = self._step_s, self._target[i]
        self._next_target[i] = target
        behind = before - last
        wanted = (target - before) / step_s
        wanted += math.copysign(min(self._stoppable(i, abs(behind)), abs(behind) / step_s), behind)
        most, change = weight * self._velocity[i], self._acceleration[i] * step_s
        up = self._stoppable(i, min(self._upper[i], target + BEYOND) - last)
        down = self._stoppable(i, last - max(self._lower[i], target - BEYOND))
        wanted = min(max(wanted, -down, -most), up, most)
        return last + min(max(wanted, speed - change), speed + change) * step_s

    def accepted(self) -> None:
        """All joints go where they were led."""
        self._target, self._next_target = self._next_target, self._target

    def _stoppable(self, i: int, distance: float) -> float:
        """The speed at which a joint may begin a step and still stop within a distance: after it ``k`` steps of full
        braking and a remainder, all of which add up to that."""
        change = self._acceleration[i] * self._step_s
        steps = max(distance, 0.0) / (change * self._step_s)
        k = math.floor((math.sqrt(1 + 8 * steps) - 1) / 2)
        return change * (k + (steps - k * (k + 1) / 2) / (k + 1))
