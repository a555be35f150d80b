"""Events of any kind of skill, from the fingers and from the path of the hand (ours; the paper uses the gripper only).

Grasps and releases are where the fingers come to rest on something and where they leave it (``fingers``), however wide
or thin that is; holds that failed are joined to those that did not (``cycles``). Between the cycles the hand may have
pushed, turned or pressed something: that shows in where it turns back (``visits``).

What it cannot see: whether a hand that turns back in the air meant to touch something; when a thing that slides on by
itself was left; that a paper-thin object (``FingerSettings.empty_m``) is held.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from world2act_core.skills.cycles import Cycle, CycleSettings, group_holds
from world2act_core.skills.fingers import FingerSettings, find_holds, steps_in
from world2act_core.skills.streams import check_streams
from world2act_core.skills.types import Event, EventKind, Segmentation, Streams
from world2act_core.skills.visits import VisitSettings, find_visits
from world2act_core.types import Array


@dataclass(frozen=True)
class ContactSettings:
    """Settings of the parts, and what counts as having done something at all.

    Attributes:
        idle_m: a hand that stayed within so much of where it began has done nothing.
        rest_s: a hand that stood still for so long when the recording ended had finished.
    """

    fingers: FingerSettings = field(default_factory=FingerSettings)
    cycles: CycleSettings = field(default_factory=CycleSettings)
    visits: VisitSettings = field(default_factory=VisitSettings)
    idle_m: float = 0.03
    rest_s: float = 0.5


class ContactSegmenter:
    """The default. Needs states only; commands of the gripper, if there are any, can overrule its fingers."""

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
        if cycles:
            contacts = [event for span in _between(cycles, streams.steps) for event in self._contacts(streams, span)]
        else:
            contacts = self._only_contacts(streams)
        events = [event for cycle in cycles for event in cycle.events] + contacts
        return Segmentation(tuple(sorted(events, key=lambda event: event.step)), dict(notes))

    def _contacts(self, streams: Streams, span: tuple[int, int]) -> Iterator[Event]:
        """What was done without holding anything in ``[begin, end]``, before, between or after cycles."""
        (begin, end), settings = span, self.settings.visits
        path, ends = streams.position[begin : end + 1], end == streams.steps
        visits = find_visits(path, settings, settings.cut_m if ends else np.inf)
        if not ends:  # a hand that turns back where it then grasps corrects its aim
            visits = [visit for visit in visits if _apart(path, visit.leave, -1) > self.settings.cycles.same_place_m]
        arrival = self._unfinished(path, visits[-1].leave if visits else 0) if ends and begin > 0 else None
        if arrival is not None and visits and _apart(path, visits[-1].leave, -1) <= settings.same_place_m:
            arrival = visits.pop().begin  # it is still at the same thing
        for visit in visits:
            yield Event(EventKind.CONTACT, begin + visit.leave, begin + visit.begin)
        if arrival is not None:
            yield self._until_rest(streams, begin + arrival)

    def _unfinished(self, path: Array, since: int) -> int | None:
        """Since when the hand has been going to something that it had not left when the recording ended."""
        settings = self.settings.visits
        away = path[since:] - path[since]
        withdrawn = np.linalg.norm(away, axis=1) >= settings.retreat_m
        if not withdrawn.any():
            return None
        out = away[int(withdrawn.argmax())]
        along = away @ (out / np.linalg.norm(out))
        furthest = int(along.argmax())
        return since + furthest if along[furthest] - along[-1] >= settings.retreat_m else None

    def _only_contacts(self, streams: Streams) -> list[Event]:
        """An episode in which nothing was held: unless the hand stood still, it has done something.

        On a base that drives about, a hand that is only carried along stands still.
        """
        if streams.reach is not None and not self._moved(streams.reach).any():
            return []
        visits = find_visits(streams.position, self.settings.visits, self.settings.visits.line_m)
        if visits:
            return [Event(EventKind.CONTACT, visit.leave, visit.begin) for visit in visits]
        moved = self._moved(streams.position)
        return [self._until_rest(streams, int(moved.argmax()))] if moved.any() else []

    def _moved(self, path: Array) -> Array:
        """At which steps a hand is away from where it began."""
        return np.asarray(np.linalg.norm(path - path[0], axis=1) > self.settings.idle_m)

    def _until_rest(self, streams: Streams, begin: int) -> Event:
        """A contact that is over when the hand comes to rest for good, or else is cut by the end of the recording."""
        from_end = np.linalg.norm(streams.position - streams.position[-1], axis=1)
        rest = int(np.flatnonzero(np.append(1.0, from_end) > self.settings.visits.line_m)[-1])
        if streams.steps - rest < steps_in(self.settings.rest_s, streams.step_s):
            return Event(EventKind.CONTACT, streams.steps, begin, cut=True)
        return Event(EventKind.CONTACT, rest, min(begin, rest))


def _apart(path: Array, step: int, other: int) -> float:
    return float(np.linalg.norm(path[step] - path[other]))


def _between(cycles: Sequence[Cycle], steps: int) -> list[tuple[int, int]]:
    """Control steps before, between and behind the cycles."""
    begins = [0, *(cycle.hold.release for cycle in cycles)]
    ends = [*(cycle.first for cycle in cycles), steps]
    return list(zip(begins, ends, strict=True))
