"""From separate streams to one observation: same instant, fresh, complete, or a stated reason why not.

A missing stream is never replaced by zeros, a stale one (``freshness``) is not used. Which samples belong together is
decided by ``episodes.synchronise``, the rule that bags are read with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from world2act_core.embodiment import Embodiment
from world2act_core.episodes import fields
from world2act_core.episodes.synchronise import NotSynchronised, Samples, latest_synchronised
from world2act_core.errors import ContractError
from world2act_core.runtime.freshness import why_stale
from world2act_core.types import Observation

DEPTH = 256  # samples kept a state stream: a quarter of a second at 1 kHz
IMAGE_DEPTH = 8


class Sample(NamedTuple):
    """One message of a stream: its header's stamp, its arrival (monotonic, seconds), and what it holds."""

    stamp_ns: int
    received: float
    value: Any


@dataclass(frozen=True)
class Complete:
    """An observation, and where its parts were when.

    Attributes:
        received: when the last part of it arrived (this machine's monotonic clock, seconds).
        images: camera → stamp of the image's header (nanoseconds), arrival (monotonic, seconds).
    """

    observation: Observation
    received: float
    images: dict[str, tuple[int, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Incomplete:
    """No observation now. ``fault`` tells a stream that fails from one whose next sample is simply not due yet."""

    reason: str
    fault: bool


class ObservationBuffer:
    """Takes messages as they come and gives the newest observation they make.

    Args:
        embodiment: names the streams, their topics and the allowed skew.
        cameras: whose images an observation must hold.
        max_age_s: a stream is stale when its newest sample is older, by header or by reception.
        late_s: a sample that is stamped before its predecessor by less than this came too late and is left out; by
            more, the clock began anew. In lockstep, where an episode may begin anew at any time, 0.
    """

    def __init__(self, embodiment: Embodiment, cameras: Sequence[str], max_age_s: float, late_s: float = 0.0) -> None:
        unknown = [name for name in cameras if name not in embodiment.cameras]
        if unknown:
            raise ContractError(f"{embodiment.name} has no camera {unknown[0]!r}, only {', '.join(embodiment.cameras)}")
        self._embodiment, self._max_age_s = embodiment, max_age_s
        self._late_ns = fields.seconds_to_ns(late_s)
        self._states = {name: Samples(name, stream.topic) for name, stream in embodiment.state.items()}
        self._images = {name: Samples(f"camera {name}", embodiment.cameras[name].topic) for name in cameras}
        self._received: dict[str, float] = {}
        self._early: tuple[float, list[int]] = (0.0, [])  # what was due when these images came before it

    def add_image(self, camera: str, message: Any, monotonic: float) -> None:
        """A sensor_msgs/Image; it is decoded only if it is picked."""
        self._add(self._images[camera], fields.stamp_ns(message.header.stamp), message, monotonic, IMAGE_DEPTH)

    def add_state(self, topic: str, message: Any, monotonic: float) -> None:
        """A message of a state topic: a row for every stream that reads from it.

        Raises:
            ContractError: the message contradicts the contract; none of it is taken.
        """
        streams = [stream for stream in self._embodiment.state.values() if stream.topic == topic]
        rows = [(s.name, fields.state_value(message, s)) for s in streams if fields.carries(message, s)]
        for name, row in rows:
            self._add(self._states[name], fields.stamp_ns(message.header.stamp), row, monotonic, DEPTH)

    def _add(self, samples: Samples, stamp: int, value: Any, monotonic: float, depth: int) -> None:
        if samples.stamps and stamp < samples.stamps[-1]:
            if samples.stamps[-1] - stamp < self._late_ns:
                return  # out of order
            samples.clear()  # the clock began anew (a simulator was reset): what came before is another time
        samples.add(stamp, Sample(stamp, monotonic, value))
        del samples.stamps[:-depth], samples.values[:-depth]
        self._received[samples.name] = monotonic

    def clear(self) -> None:
        """Forget everything."""
        for samples in (*self._states.values(), *self._images.values()):
            samples.clear()

    def pick(
        self, monotonic: float, now: float | None, due: float | None = None, exact: bool = False
    ) -> Complete | Incomplete:
        """The newest observation.

        Args:
            monotonic: this machine's monotonic clock, seconds.
            now: the robot's clock, or None where it only advances with the arm (lockstep).
            due: one stamped earlier than this is not wanted yet.
            exact: only the one stamped ``due`` to within half a skew is wanted; a later one is left over from before
                the clock began anew.

        Raises:
            ContractError: an image contradicts the contract.
        """
        streams = (*self._states.values(), *self._images.values())
        fault = next((why for samples in streams if (why := self._fault(samples, monotonic, now))), "")
        if fault:
            return Incomplete(fault, fault=True)
        found = latest_synchronised(self._embodiment, self._states, self._named_images())
        if isinstance(found, NotSynchronised):
            return Incomplete(found.reason, fault=True)
        # Nothing from before it is due: an action that left meanwhile would be unknown to whoever answers.
        tolerance = 0.5 * self._embodiment.max_skew_s if exact else 1e-6
        if due is not None and (found.stamp < due - tolerance or (exact and found.stamp > due + tolerance)):
            self._early = (due, _images(found))
            return Incomplete("the next observation has not come yet", fault=False)
        # The same images beside the next state, because one camera is a frame ahead by now, are no newer observation.
        if due is not None and not exact and found.images and self._early == (due, _images(found)):
            return Incomplete("the next observation has not come yet", fault=False)
        return self._complete(found)

    def _complete(self, found: Observation) -> Complete:
        """``found`` holds samples instead of values."""
        shown: Mapping[str, Any] = found.images
        measured: Mapping[str, Any] = found.state
        cameras = self._embodiment.cameras
        images = {name: fields.decode_image(sample.value, cameras[name]) for name, sample in shown.items()}
        state = {name: sample.value for name, sample in measured.items()}
        received = max(sample.received for sample in (*shown.values(), *measured.values()))
        times = {name: (sample.stamp_ns, sample.received) for name, sample in shown.items()}
        return Complete(Observation(found.stamp, images, state), received, times)

    def _named_images(self) -> dict[str, Samples]:
        """As ``latest_synchronised`` wants them: named as the contract names the camera."""
        return {name: Samples(name, s.topic, s.stamps, s.values) for name, s in self._images.items()}

    def _fault(self, samples: Samples, monotonic: float, now: float | None) -> str:
        where = samples.label
        if not samples.stamps:
            return f"{where}: nothing has been received"
        stamp = fields.ns_to_seconds(samples.stamps[-1])
        why = why_stale(stamp, self._received[samples.name], now, monotonic, self._max_age_s)
        return f"{where}: {why}" if why else ""


def _images(found: Observation) -> list[int]:
    """Stamps of the images of an observation that still holds samples."""
    shown: Mapping[str, Any] = found.images
    return [sample.stamp_ns for sample in shown.values()]
