"""Which action comes next: open-loop execution of action chunks, and a hold with a reason when there is none.

A hold is never an action. Zeros mean "stay" in one action layout and "slam into the zero pose" in another, so the
scheduler has no zeros to give: it answers with ``Track`` (execute these values) or ``Hold`` (stay, and this is why).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from world2act_core.embodiment import Embodiment
from world2act_core.errors import ContractError
from world2act_core.types import ActionChunk, Array

RANGE_TOLERANCE = 1e-5  # float32 rounding of a value on the limit is not a violation


@dataclass(frozen=True)
class Track:
    """Execute ``values``, ``(A,)`` float32: step ``step`` of chunk number ``chunk``."""

    chunk: int
    step: int
    values: Array


@dataclass(frozen=True)
class Hold:
    """Stay where you are, because of ``reason``."""

    reason: str


Command = Track | Hold


class ChunkScheduler:
    """Executes one chunk after the other, ``M`` steps open loop each.

    Every stamp is in seconds on the arm's clock: simulated time in lockstep, wall time on a robot.

    Args:
        embodiment: defines ``(M, A)`` and the range of every action dimension.
        max_age_s: a chunk that answers an older observation is refused.
        future_s: how far ahead of ``now`` a stamp may lie before the clocks are taken to disagree.
    """

    def __init__(self, embodiment: Embodiment, max_age_s: float = 2.0, future_s: float = 0.02) -> None:
        self._embodiment = embodiment
        self._max_age_s, self._future_s = max_age_s, future_s
        self._episode, self._start = "", 0.0
        self._idle_reason = "no episode is running"
        self._forget()

    def _forget(self) -> None:
        self._actions: Array | None = None
        self._sequence, self._stamp, self._next = 0, -np.inf, 0
        self._executed: list[float] = []  # when steps left, for skipping what was really executed
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

    def drop(self, reason: str) -> None:
        """Forget the chunk being executed but stay in the episode; only a newer observation's chunk is taken."""
        self._actions, self._next, self._refusal = None, 0, reason

    def accept(self, chunk: ActionChunk, sequence: int, episode_id: str, embodiment: str, now: float) -> str:
        """Take a chunk, or refuse the whole of it.

        Returns:
            "" if it was taken (or is the one already being executed), else why it was refused.
        """
        if self._is_current(chunk, sequence, episode_id):
            return ""
        refusal = self._refuse(chunk, sequence, episode_id, embodiment, now)
        skip = sum(1 for stamp in self._executed if stamp >= chunk.stamp - self._tolerance)
        if not refusal and skip >= chunk.horizon:
            refusal = f"chunk {sequence} came too late: all of its {skip} steps were executed while it was computed"
        if refusal:
            self._refusal = refusal
            return refusal
        self._actions = np.array(chunk.actions, np.float32)
        self._sequence, self._stamp, self._next, self._refusal = sequence, chunk.stamp, skip, ""
        return ""

    def next(self, now: float) -> Command:
        """The command for this control step; each call takes one action."""
        if not self._episode:
            return Hold(self._idle_reason)
        if self._actions is None:
            return Hold(self._refusal or f"waiting for the first action chunk of episode {self._episode}")
        if self._next >= len(self._actions):
            return Hold(self._refusal or f"chunk {self._sequence} is executed and no newer one has come")
        command = Track(self._sequence, self._next, self._actions[self._next])
        self._next += 1
        # Only as many as one chunk can hold: that is all a newer chunk may have to skip.
        self._executed = [*self._executed[-(len(self._actions) - 1) :], now]
        return command

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
            self._embodiment.check_chunk(chunk)
        except ContractError as error:
            return f"{name} was dropped: {error}"
        if chunk.stamp < self._start - self._tolerance:
            return f"{name} answers an observation from before the episode began"
        if chunk.stamp <= self._stamp + self._tolerance:
            return f"{name} answers an observation that is not newer than chunk {self._sequence}'s"
        if age > self._max_age_s:
            return f"{name} answers an observation that is {age:.2f} s old (at most {self._max_age_s:g} s)"
        if age < -self._future_s:
            return f"{name} is stamped {-age:.2f} s in the future: are the machines' clocks synchronised?"
        return self._out_of_range(chunk, name)

    def _out_of_range(self, chunk: ActionChunk, name: str) -> str:
        layout = self._embodiment.action
        low, high = layout.low - RANGE_TOLERANCE, layout.high + RANGE_TOLERANCE
        outside = np.argwhere((chunk.actions < low) | (chunk.actions > high))
        if not len(outside):
            return ""
        step, dim = outside[0]
        limits = f"{layout.low[dim]:g}..{layout.high[dim]:g}"
        value = chunk.actions[step, dim]
        return f"{name} was dropped: {layout.names[dim]} = {value:.4g} at step {step} lies outside {limits}"
