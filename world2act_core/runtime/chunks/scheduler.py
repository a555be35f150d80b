"""Which chunks are taken, and from which step on."""

from __future__ import annotations

from collections import deque

import numpy as np

from world2act_core.embodiment import Embodiment
from world2act_core.errors import ContractError
from world2act_core.runtime.chunks.commands import Command, Hold
from world2act_core.runtime.chunks.plans import OPEN_LOOP, make_plan
from world2act_core.runtime.freshness import FUTURE_S
from world2act_core.types import LONGEST_CHUNK as LONGEST
from world2act_core.types import ActionChunk, Array

RANGE_TOLERANCE = 1e-5  # float32 rounding of a value on the limit is not a violation


class ChunkScheduler:
    """Takes or refuses whole chunks, and gives one command a control step.

    Every stamp is in seconds on the arm's clock: simulated time in lockstep, wall time on a robot.

    Args:
        embodiment: defines ``(M, A)`` and the range of every action dimension.
        max_age_s: a chunk that answers an older observation is refused.
        future_s: how far ahead of ``now`` a stamp may lie before the clocks are taken to disagree.
        mode: how chunks become actions, see ``plans``.

    Raises:
        ContractError: the mode does not exist, or not for this robot.
    """

    def __init__(
        self, embodiment: Embodiment, max_age_s: float = 2.0, future_s: float = FUTURE_S, mode: str = OPEN_LOOP
    ) -> None:
        self._embodiment = embodiment
        self._max_age_s, self._future_s = max_age_s, future_s
        self._plan = make_plan(mode, embodiment)
        self._low, self._high = embodiment.action.low - RANGE_TOLERANCE, embodiment.action.high + RANGE_TOLERANCE
        self._episode, self._start = "", 0.0
        self._idle_reason = "no episode is running"
        self._forget()

    def _forget(self) -> None:
        self._plan.clear()
        self._sequence, self._stamp, self._after = 0, -np.inf, -np.inf
        # When steps left, for skipping what was really executed: no chunk can skip more of them.
        self._executed: deque[float] = deque(maxlen=LONGEST)
        self._refusal = ""

    @property
    def episode_id(self) -> str:
        """The running episode, or ""."""
        return self._episode

    def start(self, episode_id: str, stamp: float) -> None:
        """Begin an episode; nothing of an earlier one survives."""
        self._forget()
        self._episode, self._start = episode_id, stamp

    def stop(self, reason: str) -> None:
        """End the episode: what is left of its chunk is dropped, so that resuming cannot replay it."""
        self._forget()
        self._episode, self._idle_reason = "", reason

    def drop(self, reason: str, after: float = -np.inf) -> None:
        """Forget what was planned but stay in the episode.

        Args:
            reason: what the holds until the next chunk say.
            after: only a chunk that answers an observation newer than this is taken from now on.
        """
        self._plan.clear()
        self._after, self._refusal = max(self._after, after), reason

    def rebase(self, reason: str, now: float) -> None:
        """The clock has gone back to ``now``: what was planned, executed and answered by the later time is void, and an
        episode that began in it began now.
        """
        self._executed.clear()
        self._start, self._stamp = min(self._start, now), min(self._stamp, now)
        self._plan.clear()
        self._after, self._refusal = now, reason

    def reject(self, reason: str, now: float) -> None:
        """The command that ``next(now)`` gave did not leave: it counts as not executed, and its plan is dropped."""
        if self._executed and self._executed[-1] == now:
            self._executed.pop()
        self.drop(reason, after=now)

    def accept(self, chunk: ActionChunk, sequence: int, episode_id: str, embodiment: str, now: float) -> str:
        """Take a chunk, or refuse the whole of it.

        Returns:
            "" if it was taken (or is the one already being executed), else why it was refused.
        """
        if self._is_current(chunk, sequence, episode_id):
            return ""
        refusal = self._refuse(chunk, sequence, episode_id, embodiment, now)
        skip = sum(1 for stamp in self._executed if stamp >= chunk.stamp - self._tolerance)
        if not refusal and skip >= self._plan.steps(chunk.horizon):
            refusal = f"chunk {sequence} came too late: all of its {skip} steps were executed while it was computed"
        if refusal:
            self._refusal = refusal
            return refusal
        self._plan.take(sequence, chunk.stamp, np.array(chunk.actions, np.float32), skip)
        self._sequence, self._stamp, self._refusal = sequence, chunk.stamp, ""
        return ""

    def next(self, now: float) -> Command:
        """The command for this control step; each call takes one action."""
        if not self._episode:
            return Hold(self._idle_reason)
        command = self._plan.next()
        if command is not None:
            self._executed.append(now)
            return command
        if self._refusal:
            return Hold(self._refusal)
        if not self._sequence:
            return Hold(f"waiting for the first action chunk of episode {self._episode}")
        return Hold(f"chunk {self._sequence} is executed and no newer one has come")

    @property
    def _tolerance(self) -> float:
        return 0.25 * self._embodiment.step_s

    def _is_current(self, chunk: ActionChunk, sequence: int, episode_id: str) -> bool:
        same_stamp = abs(chunk.stamp - self._stamp) < self._tolerance
        return bool(self._episode) and (episode_id, sequence) == (self._episode, self._sequence) and same_stamp

    def _refuse(self, chunk: ActionChunk, sequence: int, episode_id: str, embodiment: str, now: float) -> str:
        """Why this chunk must not be executed, or ""."""
        name, age = f"chunk {sequence}", now - chunk.stamp
        if not self._episode:
            return f"{name} for episode {episode_id} came while {self._idle_reason}"
        if episode_id != self._episode:
            return f"{name} is for episode {episode_id}, but {self._episode} is running"
        if embodiment != self._embodiment.name:
            return f"{name} is for a {embodiment}, but this arm is a {self._embodiment.name}"
        try:
            self._embodiment.check_chunk(chunk, longest=LONGEST)
        except ContractError as error:
            return f"{name} was dropped: {error}"
        if age > self._max_age_s:
            return f"{name} answers an observation that is {age:.2f} s old (at most {self._max_age_s:g} s)"
        if age < -self._future_s:
            return f"{name} is stamped {-age:.2f} s in the future: are the machines' clocks synchronised?"
        if chunk.stamp < self._start - self._tolerance:
            return f"{name} answers an observation from before the episode began"
        self._after = min(self._after, now)  # a clock that jumped ahead and came back must not bar chunks for ever
        if chunk.stamp <= self._after:
            return f"{name} answers an observation from before the last hold, stop or reset"
        if chunk.stamp <= self._stamp + self._tolerance:
            return f"{name} answers an observation that is not newer than chunk {self._sequence}'s"
        return self._out_of_range(chunk.actions, name)

    def _out_of_range(self, actions: Array, name: str) -> str:
        outside = np.argwhere((actions < self._low) | (actions > self._high))
        if not len(outside):
            return ""
        layout, (step, dim) = self._embodiment.action, outside[0]
        limits, value = f"{layout.low[dim]:g}..{layout.high[dim]:g}", actions[step, dim]
        return f"{name} was dropped: {layout.names[dim]} = {value:.4g} at step {step} lies outside {limits}"
