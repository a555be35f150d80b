"""When the policy is asked next: open loop, one chunk after the other."""

from __future__ import annotations

import math

from world2act_core.embodiment import Embodiment


class ChunkTurns:
    """Says from which stamp on the next observation is wanted, so that a chunk answers what its predecessor led to.

    In lockstep the answer is known: the observation exactly ``M`` steps after the last one. By the wall clock it is the
    first observation after the last action of the chunk left, as seen in the arm's command stream.

    Args:
        embodiment: gives ``M`` and the control step.
        lockstep: the arm's clock advances only with its commands.
    """

    def __init__(self, embodiment: Embodiment, lockstep: bool) -> None:
        self._length, self._step_s = embodiment.chunk_length, embodiment.step_s
        self.lockstep = lockstep
        self._seen_an_episode = False
        self.stop()

    def stop(self) -> None:
        """No chunk is wanted."""
        self.due: float | None = math.inf
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

    def sent(self, sequence: int, observation_stamp: float, now: float) -> None:
        """Chunk ``sequence`` was published at ``now``."""
        self._sequence, self._sent_at = sequence, now
        self.due = observation_stamp + self._length * self._step_s if self.lockstep else math.inf

    def track_seen(self, sequence: int, step: int, stamp: float) -> None:
        """The arm was sent step ``step`` of chunk ``sequence`` at ``stamp``."""
        if not self.lockstep and sequence == self._sequence and step == self._length - 1:
            self.due = stamp + self._step_s

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
