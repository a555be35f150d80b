"""When the policy is asked next."""

from __future__ import annotations

import math
from collections import deque

from world2act_core.embodiment import Embodiment
from world2act_core.errors import ContractError
from world2act_core.runtime.chunks import ENSEMBLE, OPEN_LOOP, check_mode
from world2act_core.runtime.freshness import FUTURE_S

DELAYS = 5  # answers that are remembered to know how long the next one may take


class ChunkTurns:
    """Says from which stamp on the next observation is wanted.

    In lockstep the answer is known: the observation exactly ``M`` steps after the last one. By the wall clock the
    command stream tells what the arm does, and the execution mode decides:

    - ``open_loop``: the first observation after the ``M``-th action left, so that a chunk answers what its predecessor
      led to;
    - ``ensemble``: the next one there is, a control step newer at least;
    - ``real_time``: early enough that the answer is there when the ``M``-th action leaves, if it takes as long as the
      slowest of the last few did (Black et al. 2025, algorithm 1).

    Args:
        embodiment: gives ``M`` and the control step.
        lockstep: the arm's clock advances only with its commands; the mode must be ``open_loop``.
        mode: the command process's execution mode.

    Raises:
        ContractError: no such mode, or not with this robot or clock.
    """

    def __init__(self, embodiment: Embodiment, lockstep: bool, mode: str = OPEN_LOOP) -> None:
        check_mode(mode, embodiment)
        if lockstep and mode != OPEN_LOOP:
            raise ContractError(f"execution mode {mode} needs clock:=wall: in lockstep the arm waits for the policy")
        self._length, self._step_s, self._mode = embodiment.chunk_length, embodiment.step_s, mode
        self.lockstep = lockstep
        self._delays: deque[int] = deque(maxlen=DELAYS)
        self._seen_an_episode = False
        self.stop()

    def stop(self) -> None:
        """No chunk is wanted."""
        self.due: float | None = math.inf
        self.asked = False
        self._sequence, self._sent_at = 0, math.inf

    @property
    def wanted(self) -> bool:
        """False while no chunk is wanted, whatever is observed."""
        return self.due is None or math.isfinite(self.due)

    def start(self, stamp: float) -> None:
        """An episode began at ``stamp``.

        A process that lives through its second episode insists on the observation at the very start, so that one left
        over from the episode before (simulated time begins anew at 0) cannot be answered. A fresh process has no such
        leftovers and may have been restarted in the middle: it takes whatever the arm shows.
        """
        self.stop()
        self.due = None if self.lockstep and not self._seen_an_episode else stamp
        self._seen_an_episode = True

    def ask(self, stamp: float) -> None:
        """Exactly one chunk is wanted, for the observation at ``stamp``; whoever asks says when the next one is."""
        self.stop()
        self.due, self.asked = stamp, True

    def sent(self, sequence: int, observation_stamp: float, now: float) -> None:
        """Chunk ``sequence`` was published at ``now``."""
        self._sequence, self._sent_at = sequence, now
        if self.asked:
            self.stop()
        elif self.lockstep:
            self.due = observation_stamp + self._length * self._step_s
        else:
            self._delays.append(math.ceil(max(0.0, now - observation_stamp) / self._step_s))
            self.due = observation_stamp + self._step_s if self._mode == ENSEMBLE else math.inf

    def track_seen(self, sequence: int, step: int, stamp: float) -> None:
        """The arm was sent step ``step`` of chunk ``sequence`` at ``stamp``."""
        if self.lockstep or sequence != self._sequence or self._mode == ENSEMBLE:
            return
        if self._mode == OPEN_LOOP:
            if step == self._length - 1:
                self.due = stamp + self._step_s
        elif not self.wanted and step >= self._length - 1 - max(self._delays, default=0):
            self.due = stamp

    def clock(self, now: float) -> None:
        """The arm's clock says ``now``. What is due long after it was planned by a clock that has gone back since."""
        if self.lockstep:
            return
        if self.due is not None and now + self._step_s + FUTURE_S < self.due < math.inf:
            self.due = now
        if now < self._sent_at < math.inf:
            self._sent_at = now

    def hold_seen(self, stamp: float) -> None:
        """The arm was told to hold. Well after a chunk was sent that means it was not taken: think again."""
        if not self.lockstep and stamp > self._sent_at + 2 * self._step_s:
            self.due = min(self.due if self.due is not None else stamp, stamp)


class LockstepStates:
    """Which state of a simulated arm is due for a command: one command a state, in order, none twice.

    Args:
        embodiment: gives the control step.
    """

    def __init__(self, embodiment: Embodiment) -> None:
        self._step_s = embodiment.step_s
        self._seen_an_episode = False
        self.stop()

    def stop(self) -> None:
        """No state is due."""
        self._due: float | None = math.inf

    def start(self, stamp: float) -> None:
        """The state at ``stamp`` is due first; a fresh process takes any, as ``ChunkTurns.start`` explains."""
        self._due = stamp if self._seen_an_episode else None
        self._seen_an_episode = True

    def is_due(self, stamp: float) -> bool:
        return self._due is None or abs(stamp - self._due) < 0.25 * self._step_s

    def answered(self, stamp: float) -> None:
        """A command for the state at ``stamp`` left."""
        self._due = stamp + self._step_s
