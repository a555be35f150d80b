"""What the command process decides: which command leaves when, in lockstep with a simulator or by the wall clock."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from world2act_core.embodiment import Embodiment
from world2act_core.episodes import fields
from world2act_core.runtime.chunks import OPEN_LOOP, ChunkScheduler, Command, Hold, Track
from world2act_core.runtime.freshness import FUTURE_S
from world2act_core.runtime.safety import SafetyFilter
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


AFTER_HOLD = "waiting for a chunk that answers an observation from after the hold"
CLOCK_WENT_BACK = "the clock went back by {:.2f} s: waiting for a chunk that answers an observation from after that"
AFTER_RESET = "the stop was reset: waiting for a chunk that answers an observation from after it"


class _Commander:
    """What both clocks share: the episode follows the skill prompt, and the safety filter has the last word."""

    def __init__(self, embodiment: Embodiment, safety: SafetyFilter, scheduler: ChunkScheduler) -> None:
        self._embodiment, self._safety, self._scheduler = embodiment, safety, scheduler
        self._arrival: Arrival | None = None

    def on_prompt(self, episode_id: str, skill: str, stamp: float) -> None:
        """A skill prompt: an empty skill stops, a new episode starts, a further skill of the same changes nothing."""
        if not skill:
            self._arrival = None
            self._scheduler.stop("no episode is running")
            self._stopped()
        elif episode_id != self._scheduler.episode_id:
            self._safety.begin()
            self._started(episode_id, stamp)

    def on_chunk(self, arrival: Arrival) -> None:
        """An action chunk; it is judged when a command is due, because prompt and state may arrive after it."""
        self._arrival = arrival

    def _judge(self, now: float) -> str:
        """Take or refuse the chunk that has come; returns why it was refused, or ""."""
        arrival, self._arrival = self._arrival, None
        if arrival is None:
            return ""
        return self._scheduler.accept(arrival.chunk, arrival.sequence, arrival.episode_id, arrival.embodiment, now)

    def _next(self, stamp: float, now: float | None, monotonic: float) -> Command:
        """What is planned for this step, if the safety filter lets it pass."""
        planned = self._scheduler.next(stamp)
        command = self._safety.check(planned, now, monotonic)
        if isinstance(planned, Track) and isinstance(command, Hold):
            self._scheduler.reject(command.reason, stamp)
        return command

    def _reset(self, after: float) -> None:
        """The operator released the stop: nothing that was planned or computed before may leave."""
        self._arrival = None
        self._safety.reset()
        self._safety.begin()
        if self._scheduler.episode_id:
            self._scheduler.drop(AFTER_RESET, after)

    def _started(self, episode_id: str, stamp: float) -> None:
        self._scheduler.start(episode_id, stamp)

    def _stopped(self) -> None: ...


class LockstepCommander(_Commander):
    """Answers each state of a simulated arm with exactly one TRACK; waits for the chunk that the state needs.

    Repeated states (the simulator repeats itself when nothing comes) get the same answer again, so a lost message
    costs time but changes nothing.

    Args:
        embodiment: the arm.
        safety: has the last word. Its ages must be unlimited: in lockstep the arm waits for the policy.
        hold_after_s: how long to wait for a chunk before saying HOLD, and between two HOLDs.
    """

    def __init__(self, embodiment: Embodiment, safety: SafetyFilter, hold_after_s: float = 1.0) -> None:
        # A chunk must answer exactly the state it begins at.
        step_s = embodiment.step_s
        scheduler = ChunkScheduler(embodiment, max_age_s=0.5 * step_s, future_s=0.25 * step_s)
        super().__init__(embodiment, safety, scheduler)
        self._states, self._hold_after_s = LockstepStates(embodiment), hold_after_s
        self._stopped()

    def _started(self, episode_id: str, stamp: float) -> None:
        super()._started(episode_id, stamp)
        self._states.start(stamp)
        self._last: Answer | None = None
        self._held_at = -math.inf

    def _stopped(self) -> None:
        self._states.stop()
        self._pending, self._since, self._repeated = math.nan, 0.0, False
        self._last, self._held_at = None, -math.inf

    def reset(self, now: float) -> None:
        """Release the stop. Time stands still meanwhile, so only the next episode has anything newer to go on with."""
        self._reset(after=math.inf)

    def on_state(self, topic: str, message: Any, monotonic: float) -> bool:
        """A message of a state topic; True if the arm's state at its stamp is complete now.

        Raises:
            ContractError: the message contradicts the contract.
        """
        if not self._safety.measured.add(topic, message, monotonic):
            return False
        stamp = fields.stamp_s(message.header.stamp)
        if stamp == self._pending:
            self._repeated = True
        else:
            self._pending, self._since, self._repeated = stamp, monotonic, False
        return True

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
        fault = self._safety.fault(None, monotonic)
        refusal = "" if fault or (patient and self._is_early(pending)) else self._judge(pending)
        command = Hold(fault) if fault else self._next(pending, None, monotonic)
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
        safety: has the last word.
        max_age_s: a chunk that answers an older observation is refused.
        mode: how chunks become actions, see ``chunks.plans``.
        since: the arm's clock now; no chunk that answers an older observation is ever taken.
    """

    def __init__(
        self,
        embodiment: Embodiment,
        safety: SafetyFilter,
        max_age_s: float = 2.0,
        mode: str = OPEN_LOOP,
        since: float = -math.inf,
    ) -> None:
        super().__init__(embodiment, safety, ChunkScheduler(embodiment, max_age_s=max_age_s, mode=mode))
        self._since, self._now = since, -math.inf
        safety.begin()

    def _started(self, episode_id: str, stamp: float) -> None:
        super()._started(episode_id, max(stamp, self._since))
        self._scheduler.drop("", after=self._since)  # to the letter: an episode's start forgives part of a step

    def reset(self, now: float) -> None:
        """Release the stop; a chunk must answer an observation from after ``now``, the arm's clock."""
        self._since = now
        self._reset(after=now)

    def on_state(self, topic: str, message: Any, monotonic: float) -> bool:
        """A message of a state topic; True if every topic has come with its stamp.

        Raises:
            ContractError: the message contradicts the contract.
        """
        return self._safety.measured.add(topic, message, monotonic)

    def tick(self, now: float, monotonic: float) -> Answer:
        """The command of this control period; ``now`` is the arm's clock."""
        if now < self._now - FUTURE_S:
            self._clock_went_back(now)
        self._now = now
        fault = self._safety.fault(now, monotonic)
        if fault:
            self._arrival = None  # what came in a gap is not executed after it, nor what was planned before
            self._safety.held()
            if self._scheduler.episode_id:
                self._scheduler.drop(f"{AFTER_HOLD} ({fault})", after=now)
            return Answer(now, Hold(fault))
        self._judge(now)
        return Answer(now, self._next(now, now, monotonic))

    def _clock_went_back(self, now: float) -> None:
        """Nothing from before may go on, and nothing may wait for the time that is now in the future."""
        self._arrival, self._since = None, min(self._since, now)
        self._safety.held()
        if self._scheduler.episode_id:
            self._scheduler.rebase(CLOCK_WENT_BACK.format(self._now - now), now)
