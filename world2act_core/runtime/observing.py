"""From separate streams to one observation: same instant, fresh, complete, or a stated reason why not.

A missing stream is never replaced by zeros. Freshness is judged twice: by the stamp in the header (the robot's clock)
and by the age since reception (this machine's monotonic clock), because either can lie alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sample:
    """One message of a stream: ``stamp`` on the robot's clock, ``received`` on this machine's monotonic clock."""

    stamp: float
    received: float
    payload: Any


@dataclass(frozen=True)
class Complete:
    """One sample of every stream, within the allowed skew of ``stamp``."""

    stamp: float
    samples: Mapping[str, Sample]

    @property
    def received(self) -> float:
        """When the last part arrived, monotonic seconds."""
        return max(sample.received for sample in self.samples.values())


@dataclass(frozen=True)
class Incomplete:
    """No observation now. ``fault`` tells a stream that fails from one whose next sample is simply not due yet."""

    reason: str
    fault: bool


Assembled = Complete | Incomplete


class ObservationBuffer:
    """Keeps the newest samples of every stream and picks one of each for the same instant.

    Args:
        streams: names used in reasons, e.g. ``camera wrist``, ``joint_states``.
        max_skew_s: samples further apart than this do not belong to one observation.
        max_age_s: a stream is stale when its newest sample is older, by header or by reception.
        depth: samples kept a stream; must cover the skew at the fastest stream's rate.
    """

    def __init__(
        self, streams: Sequence[str], max_skew_s: float, max_age_s: float, depth: int = 64, future_s: float = 0.02
    ) -> None:
        self._buffers: dict[str, deque[Sample]] = {name: deque(maxlen=depth) for name in streams}
        self._max_skew_s, self._max_age_s, self._future_s = max_skew_s, max_age_s, future_s

    def add(self, stream: str, stamp: float, payload: Any, received: float) -> None:
        buffer = self._buffers[stream]
        if buffer and stamp < buffer[-1].stamp:
            buffer.clear()  # the clock jumped back (a simulator began anew): what came before is another time
        buffer.append(Sample(stamp, received, payload))

    def clear(self) -> None:
        for buffer in self._buffers.values():
            buffer.clear()

    def pick(self, monotonic: float, now: float | None, due: float | None = None, exact: bool = False) -> Assembled:
        """One sample of every stream for the same instant.

        Args:
            monotonic: this machine's monotonic clock, seconds.
            now: the robot's clock, or None where it only advances with the arm (lockstep).
            due: an observation earlier than this is not wanted yet.
            exact: the observation must be the one at ``due``, not merely a later one.
        """
        fault = next((why for name in self._buffers if (why := self._fault(name, monotonic, now))), "")
        if fault:
            return Incomplete(fault, fault=True)
        stamp = due if exact and due is not None else min(buffer[-1].stamp for buffer in self._buffers.values())
        if due is not None and stamp < due - 1e-6:
            return Incomplete("the next observation is not due yet", fault=False)
        picked = {name: min(buffer, key=lambda s: abs(s.stamp - stamp)) for name, buffer in self._buffers.items()}
        for name, sample in picked.items():
            apart = sample.stamp - stamp
            if abs(apart) > self._max_skew_s:
                side = "after" if apart > 0 else "before"
                reason = f"{name}: nearest sample lies {abs(apart):.3f} s {side} the others"
                return Incomplete(f"{reason} (at most {self._max_skew_s:g} s)", fault=True)
        return Complete(stamp, picked)

    def _fault(self, name: str, monotonic: float, now: float | None) -> str:
        buffer = self._buffers[name]
        if not buffer:
            return f"{name}: nothing has been received"
        newest = buffer[-1]
        if monotonic - newest.received > self._max_age_s:
            return f"{name}: nothing received for {monotonic - newest.received:.1f} s"
        if now is None:
            return ""
        if newest.stamp > now + self._future_s:
            ahead = newest.stamp - now
            return f"{name}: stamped {ahead:.2f} s in the future: are the machines' clocks synchronised?"
        if now - newest.stamp > self._max_age_s:
            return f"{name}: stamped {now - newest.stamp:.1f} s ago"
        return ""
