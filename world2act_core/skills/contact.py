"""Events of any kind of skill, from the fingers and from the path of the hand (ours; the paper uses the gripper only).

Grasps and releases are where the fingers come to rest on something and where they leave it (``fingers``), however wide
or thin that is; holds that failed are joined to those that did not (``cycles``). Between the cycles the hand may have
pushed, turned or pressed something: that shows in where it turns back (``visits``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from world2act_core.skills.cycles import Cycle, CycleSettings, group_holds
from world2act_core.skills.fingers import FingerSettings, find_holds
from world2act_core.skills.streams import check_streams
from world2act_core.skills.types import Event, EventKind, Segmentation, Streams
from world2act_core.skills.visits import Visit, VisitSettings, find_visits
from world2act_core.types import Array


@dataclass(frozen=True)
class ContactSettings:
    """Settings of the parts, and what counts as having done something at all.

    Attributes:
        idle_m: a hand that stayed within so much of where it began has done nothing.
    """

    fingers: FingerSettings = field(default_factory=FingerSettings)
    cycles: CycleSettings = field(default_factory=CycleSettings)
    visits: VisitSettings = field(default_factory=VisitSettings)
    idle_m: float = 0.03


class ContactSegmenter:
    """The default. Needs states only; commands make it surer."""

    name = "contact"

    def __init__(self, settings: ContactSettings = ContactSettings()) -> None:
        self.settings = settings

    def segment(self, streams: Streams) -> Segmentation:
        """The events of an episode.

        Raises:
            ContractError: a stream holds a number that is not finite.
        """
        check_streams(streams)
        cycles, notes = group_holds(find_holds(streams, self.settings.fingers), streams, self.settings.cycles)
        contacts = [event for span in _between(cycles, streams.steps) for event in self._contacts(streams, span)]
        if not cycles and not contacts:
            contacts = self._something(streams)
        events = [event for cycle in cycles for event in cycle.events] + contacts
        return Segmentation(tuple(sorted(events, key=lambda event: event.step)), dict(notes))

    def _contacts(self, streams: Streams, span: tuple[int, int]) -> Iterator[Event]:
        """What was done without holding anything in ``[begin, end]``, before, between or after cycles."""
        begin, end = span
        path = streams.position[begin : end + 1]
        visits = find_visits(path, self.settings.visits, ends=end == streams.steps)
        for visit in visits:
            yield Event(EventKind.CONTACT, begin + visit.leave, begin + visit.begin)
        if begin > 0 and end == streams.steps:
            yield from self._unfinished(path, begin, visits)

    def _unfinished(self, path: Array, begin: int, visits: Sequence[Visit]) -> Iterator[Event]:
        """What the hand has gone to after the last cycle and not left before the recording ended."""
        settings, since = self.settings.visits, visits[-1].leave if visits else 0
        away = path[since:] - path[since]
        withdrawn = np.linalg.norm(away, axis=1) >= settings.retreat_m
        if not withdrawn.any():
            return
        out = away[int(withdrawn.argmax())]
        along = away @ (out / np.linalg.norm(out))
        furthest = int(along.argmax())
        if along[furthest] - along[-1] >= settings.approach_m:
            last = begin + len(path) - 1
            yield Event(EventKind.CONTACT, last, begin + since + furthest, cut=True)

    def _something(self, streams: Streams) -> list[Event]:
        """An episode without any event, in which the hand moved: whatever it did ended with the recording."""
        moved = np.linalg.norm(streams.position - streams.position[0], axis=1)
        if moved.max() <= self.settings.idle_m:
            return []
        return [Event(EventKind.CONTACT, streams.steps, int((moved > self.settings.idle_m).argmax()), cut=True)]


def _between(cycles: Sequence[Cycle], steps: int) -> list[tuple[int, int]]:
    """Control steps before, between and behind the cycles."""
    begins = [0, *(cycle.hold.release for cycle in cycles)]
    ends = [*(cycle.first for cycle in cycles), steps]
    return list(zip(begins, ends, strict=True))
