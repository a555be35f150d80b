"""What the command process decides: which command leaves when, in lockstep with a simulator or by the wall clock."""

from __future__ import annotations

import math
from dataclasses import dataclass

from world2act_core.embodiment import Embodiment
from world2act_core.runtime.chunks import ChunkScheduler, Command, Hold, Track
from world2act_core.runtime.turns import LockstepStates
from world2act_core.types import ActionChunk


@dataclass(frozen=True)
class Arrival:
    """An action chunk as it came in, with what it claims to be."""

    chunk: ActionChunk
    sequence: int
    episode_id: str
    embodiment: str


@dataclass(frozen=True)
class Answer:
    """A command and the stamp it carries, seconds on the arm's clock."""

    stamp: float
    command: Command


class _Commander:
    """What both clocks share: the episode follows the skill prompt."""

    def __init__(self, embodiment: Embodiment, scheduler: ChunkScheduler) -> None:
        self._embodiment, self._scheduler = embodiment, scheduler
        self._arrival: Arrival | None = None

    def on_prompt(self, episode_id: str, skill: str, stamp: float) -> None:
        """A skill prompt: an empty skill stops, a new episode starts, a further skill of the same changes nothing."""
        if not skill:
            self._arrival = None
            self._scheduler.stop("no episode is running")
            self._stopped()
        elif episode_id != self._scheduler.episode_id:
            self._scheduler.start(episode_id, stamp)
            self._started(stamp)

    def on_chunk(self, arrival: Arrival) -> None:
        """An action chunk; it is judged when a command is due, because prompt and state may arrive after it."""
        self._arrival = arrival

    def _judge(self, now: float) -> str:
        """Take or refuse the chunk that has come; returns why it was refused, or ""."""
        arrival, self._arrival = self._arrival, None
        if arrival is None:
            return ""
        return self._scheduler.accept(arrival.chunk, arrival.sequence, arrival.episode_id, arrival.embodiment, now)

    def _started(self, stamp: float) -> None: ...

    def _stopped(self) -> None: ...


class LockstepCommander(_Commander):
    """Answers each state of a simulated arm with exactly one TRACK; waits for the chunk that the state needs.

    Repeated states (the simulator repeats itself when nothing comes) get the same answer again, so a lost message
    costs time but changes nothing.

    Args:
        embodiment: the arm.
        hold_after_s: how long to wait for a chunk before saying HOLD, and between two HOLDs.
    """

    def __init__(self, embodiment: Embodiment, hold_after_s: float = 1.0) -> None:
        # A chunk must answer exactly the state it begins at.
        step_s = embodiment.step_s
        super().__init__(embodiment, ChunkScheduler(embodiment, max_age_s=0.5 * step_s, future_s=0.25 * step_s))
        self._states, self._hold_after_s = LockstepStates(embodiment), hold_after_s
        self._stopped()

    def _started(self, stamp: float) -> None:
        self._states.start(stamp)
        self._last: Answer | None = None
        self._held_at = -math.inf

    def _stopped(self) -> None:
        self._states.stop()
        self._pending, self._since, self._repeated = math.nan, 0.0, False
        self._last, self._held_at = None, -math.inf

    def on_state(self, stamp: float, monotonic: float) -> None:
        """The arm is in the state at ``stamp``."""
        if stamp == self._pending:
            self._repeated = True
        else:
            self._pending, self._since, self._repeated = stamp, monotonic, False

    def poll(self, monotonic: float) -> Answer | None:
        """The command that is due now, if one is."""
        pending = self._pending
        if math.isnan(pending) or not self._scheduler.episode_id:
            return None
        if self._last is not None and self._last.stamp == pending:
            repeated, self._repeated = self._repeated, False
            return self._last if repeated else None
        if not self._states.is_due(pending):
            return None
        patient = monotonic - self._since < self._hold_after_s
        refusal = "" if patient and self._is_early(pending) else self._judge(pending)
        command = self._scheduler.next(pending)
        if isinstance(command, Track):
            self._states.answered(pending)
            self._last = Answer(pending, command)
            return self._last
        if not refusal and (patient or monotonic - self._held_at < self._hold_after_s):
            return None
        self._held_at = monotonic
        return Answer(pending, command)

    def _is_early(self, pending: float) -> bool:
        """The chunk overtook its prompt or its state: judge it when they are here."""
        arrival = self._arrival
        if arrival is None:
            return False
        other = arrival.episode_id != self._scheduler.episode_id
        return other or arrival.chunk.stamp > pending + 0.25 * self._embodiment.step_s


class WallCommander(_Commander):
    """One command a control period by the clock, whatever comes or does not come.

    Args:
        embodiment: the arm.
        state_timeout_s: without a measured state for this long the arm holds and the chunk is dropped.
        max_age_s: a chunk that answers an older observation is refused.
    """

    def __init__(self, embodiment: Embodiment, state_timeout_s: float = 0.5, max_age_s: float = 2.0) -> None:
        super().__init__(embodiment, ChunkScheduler(embodiment, max_age_s=max_age_s))
        self._state_timeout_s = state_timeout_s
        self._state_at: float | None = None

    def on_state(self, stamp: float, monotonic: float) -> None:
        """A measured state was received."""
        self._state_at = monotonic

    def tick(self, now: float, monotonic: float) -> Answer:
        """The command of this control period; ``now`` is the arm's clock."""
        state_fault = self._state_fault(monotonic)
        if state_fault:
            if self._scheduler.episode_id:
                self._scheduler.drop(state_fault)  # what was planned before the gap is not resumed after it
            self._arrival = None  # nor a chunk that arrived in it
            return Answer(now, Hold(state_fault))
        self._judge(now)
        return Answer(now, self._scheduler.next(now))

    def _state_fault(self, monotonic: float) -> str:
        if self._state_at is None:
            return "the arm's state has never been received"
        age = monotonic - self._state_at
        return f"the arm's state was last received {age:.1f} s ago" if age > self._state_timeout_s else ""
