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
        self._leap = [LEAP_S * value for value in self._velocity]
        self._target, self._next_target = [0.0] * len(dims), [0.0] * len(dims)

    def rest(self, measured: list[float]) -> None:
        """The arm stands; whatever comes next is the first target."""
        self._target[:] = measured

    def refusal(self, i: int, target: float, last: float, measured: float) -> str:
        """Why joint ``i`` may not be led to a target at all, or "": rad, last where it was commanded."""
        if not self._lower[i] <= target <= self._upper[i]:
            return f"would go to {target:.3f} rad, outside {self._lower[i]:.3f}..{self._upper[i]:.3f}"
        most = self._leap[i]
        if -most <= target - last <= most and -most <= target - measured <= most:
            return ""
        leap = max(abs(target - last), abs(target - measured))
        return f"would leap {leap:.3f} rad (at most {most:.3f})"

    def place(self, i: int, target: float, last: float, speed: float, weight: float) -> float:
        """Where joint ``i`` is led in this step: along with its target, and what it is behind is made up for at a speed
        from which it can still stop. A lead-in (``weight`` below 1) takes that share of the full speed."""
        step_s, before = self._step_s, self._target[i]
        self._next_target[i] = target
        behind = before - last
        change = self._acceleration[i] * step_s
        wanted = (target - last) / step_s
        if not -change <= behind / step_s <= change:  # what is less can be made up for in one step
            catching_up = min(self._stoppable(i, abs(behind)), abs(behind) / step_s)
            wanted = (target - before) / step_s + math.copysign(catching_up, behind)
        most = weight * self._velocity[i]
        if not -most <= wanted <= most:
            wanted = math.copysign(most, wanted)
        if wanted > 0:
            wanted = self._capped(i, wanted, min(self._upper[i], target + BEYOND) - last)
        elif wanted < 0:
            wanted = -self._capped(i, -wanted, last - max(self._lower[i], target - BEYOND))
        if not speed - change <= wanted <= speed + change:
            wanted = speed + math.copysign(change, wanted - speed)
        return last + wanted * step_s

    def accepted(self) -> None:
        """All joints go where they were led."""
        self._target, self._next_target = self._next_target, self._target

    def _capped(self, i: int, wanted: float, distance: float) -> float:
        """A speed above 0, or the highest from which the joint can still stop within a distance."""
        acceleration, step_s = self._acceleration[i], self._step_s
        half = acceleration * step_s / 2
        if wanted * (wanted + 2 * half) / (2 * acceleration) + half * step_s / 4 <= distance:
            return wanted  # in continuous time, with room for what steps may add: nearly always, and without a root
        return min(wanted, self._stoppable(i, distance))

    def _stoppable(self, i: int, distance: float) -> float:
        """The speed at which a joint may begin a step and still stop within a distance: after it ``k`` steps of full
        braking and a remainder, all of which add up to that."""
        change = self._acceleration[i] * self._step_s
        steps = max(distance, 0.0) / (change * self._step_s)
        k = math.floor((math.sqrt(1 + 8 * steps) - 1) / 2)
        return change * (k + (steps - k * (k + 1) / 2) / (k + 1))
