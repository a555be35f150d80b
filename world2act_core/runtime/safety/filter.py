"""The safety filter: the last word on every command, before the arm.

It gets the next command, the measured state and the clocks, and answers with a command or with a hold and its reason.
Limits refuse: a command is never bent to fit, but where the contract says so. By ``ramp_s`` the first commands after a
rest are led in from the measured pose; by ``follow`` joint targets are followed no faster than the joints may move.
"""

from __future__ import annotations

import math

import numpy as np

from world2act_core.embodiment import Embodiment
from world2act_core.runtime.chunks import Command, Hold, Track
from world2act_core.runtime.freshness import FUTURE_S
from world2act_core.runtime.safety.measured import Measured
from world2act_core.runtime.safety.motion import ROUNDING, make_motion

REST_S = 1.0  # steps from the measured pose need a new ramp only after a hold this long
RESET_HINT = "call ~/reset to go on"


class SafetyFilter:
    """One for the life of a command process, so that a latched stop survives everything but ``reset``.

    Args:
        embodiment: names the limits.
        state_timeout_s: oldest measured state, by its stamp and by its reception.
        chunk_timeout_s: oldest observation that a command may still answer.
        dead_man_s: ``dead_man`` must be pressed anew this often; 0: only if the contract asks for it. The shorter of
            the two counts: a parameter cannot relax a contract.

    Raises:
        ContractError: the contract does not say enough to judge its actions.

    Attributes:
        measured: to be fed with the arm's state.
        ramping: the last command that left was being led in from the measured pose.
    """

    def __init__(
        self,
        embodiment: Embodiment,
        state_timeout_s: float = 0.5,
        chunk_timeout_s: float = 2.0,
        dead_man_s: float = 0.0,
    ) -> None:
        self.measured = Measured(embodiment)
        self._motion = make_motion(embodiment, self.measured)
        self._state_timeout_s, self._chunk_timeout_s = state_timeout_s, chunk_timeout_s
        self._names = embodiment.action.names
        self._low = (embodiment.action.low - 10 * ROUNDING).tolist()
        self._high = (embodiment.action.high + 10 * ROUNDING).tolist()
        self._step_s = embodiment.step_s
        self._follows = embodiment.limits.follow
        self._ramp_steps = self._lead = math.ceil(embodiment.limits.ramp_s / embodiment.step_s)
        self._chunk_length = embodiment.chunk_length
        asked = [seconds for seconds in (dead_man_s, embodiment.limits.dead_man_s) if seconds > 0]
        self._dead_man_s = min(asked, default=0.0)
        self._pressed_at, self._pressed = -math.inf, False
        self._stopped = ""
        self._left_at = -math.inf  # when the last command left, monotonic
        self._moving, self._ramped, self.ramping = False, 0, False
        self._gap = False  # the hold under way only separates two chunks

    @property
    def wants_dead_man(self) -> bool:
        """A dead-man is asked for by the contract or by a parameter."""
        return self._dead_man_s > 0

    @property
    def stopped(self) -> str:
        """Why the stop is latched, or ""."""
        return self._stopped

    def stop(self, reason: str) -> None:
        """Latch: nothing leaves until ``reset``."""
        self._stopped = self._stopped or reason

    def reset(self) -> None:
        """Release the latch. Whoever calls this drops what was planned before."""
        self._stopped = ""

    def press(self, pressed: bool, monotonic: float) -> None:
        """The dead-man's switch says that it is held, or that it was let go."""
        self._pressed, self._pressed_at = pressed, monotonic

    def begin(self) -> None:
        """Whatever moved before, the next command is the first."""
        self._left_at = -math.inf
        self.held()

    def held(self) -> None:
        """No command left in this control step, because of a fault."""
        self._moving = self.ramping = self._gap = False

    def fault(self, now: float | None, monotonic: float) -> str:
        """Why nothing may leave now, whatever is planned, or "".

        Args:
            now: the arm's clock, or None where it only advances with the arm (lockstep).
            monotonic: this machine's monotonic clock, seconds.
        """
        if self._stopped:
            return f"stopped by {self._stopped}; {RESET_HINT}"
        if self._dead_man_s:
            if not self._pressed:
                return "the dead-man is not pressed"
            age = monotonic - self._pressed_at
            if age > self._dead_man_s:
                return f"the dead-man was last pressed {age:.1f} s ago (at most {self._dead_man_s:g} s)"
        return self.measured.fault(now, monotonic, self._state_timeout_s)

    def check(self, command: Command, now: float | None, monotonic: float) -> Command:
        """The command as it may leave, or a hold that says why it may not.

        Args:
            command: what is planned for this control step.
            now: the arm's clock, or None in lockstep.
            monotonic: this machine's monotonic clock, seconds.
        """
        reason = self.fault(now, monotonic)
        if reason:
            self.held()
            return Hold(reason)
        if isinstance(command, Hold):
            self._moving = self.ramping = False
            return command
        action = command.values.tolist()
        reason = self._wrong_values(action) or self._wrong_age(command, now)
        if not reason:
            if not self._moving:
                self._rested(monotonic - self._left_at)
            weight = smoothstep((self._ramped + 1) / self._lead) if self._ramped < self._lead else 1.0
            reason = self._motion.judge(action, weight)
        if reason:
            self.held()
            return Hold(f"chunk {command.chunk}, step {command.step}: {reason}")
        self._left_at, self._moving, self._gap = monotonic, True, True
        self.ramping = weight < 1
        self._ramped += self.ramping
        if not self.ramping and not self._follows:
            return command
        return Track(command.chunk, command.step, np.array(action, np.float32), command.stamp)

    def _rested(self, seconds: float) -> None:
        """The arm starts anew. A lead-in is as long as the contract says, but after a gap between two chunks no longer
        than a chunk: else an arm in open loop would begin one lead-in after the other and arrive nowhere.
        """
        self._motion.rest()
        if self._motion.absolute or seconds > REST_S:
            brief = self._gap and seconds <= REST_S
            self._ramped, self._lead = 0, min(self._ramp_steps, self._chunk_length) if brief else self._ramp_steps

    def _wrong_values(self, action: list[float]) -> str:
        if len(action) != len(self._names):
            return f"{len(action)} values, the embodiment's action has {len(self._names)}"
        for i, value in enumerate(action):
            if not self._low[i] <= value <= self._high[i]:  # also false for NaN
                return f"{self._names[i]} = {value:.4g} lies outside {self._low[i]:.4g}..{self._high[i]:.4g}"
        return ""

    def _wrong_age(self, command: Track, now: float | None) -> str:
        if now is None:
            return ""
        age = now - command.stamp
        if age > self._chunk_timeout_s:
            return f"it answers an observation that is {age:.2f} s old (at most {self._chunk_timeout_s:g} s)"
        if age < -FUTURE_S:
            return f"it is stamped {-age:.2f} s in the future: are the machines' clocks synchronised?"
        return ""


def smoothstep(x: float) -> float:
    """From 0 to 1 with no speed at either end, ``x`` in 0..1."""
    return x * x * (3 - 2 * x)
