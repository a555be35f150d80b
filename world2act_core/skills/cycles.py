"""From holds to cycles: attempts that failed and objects that were dropped belong to the cycle that got it done.

A *hold* is a time in which the fingers are closed around something, or on nothing. A *cycle* is all that it took to
get one object from where it was to where it should be: usually one hold; more if the hand had to grasp again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from world2act_core.skills.types import Event, EventKind, Streams
from world2act_core.types import Array


@dataclass(frozen=True)
class Hold:
    """One closing of the fingers until they open again. All are control steps.

    Attributes:
        begin: the fingers begin to close.
        grasp: they have stopped.
        opening: they begin to open.
        release: what they held is free: nothing touches it any more, or it has slipped out.
        width: metres between the fingers while it is held.
        empty: they closed on nothing.
        slipped: what was held was lost with the fingers told to hold it.
        cut: the recording ended before they opened.
    """

    begin: int
    grasp: int
    opening: int
    release: int
    width: float
    empty: bool = False
    slipped: bool = False
    cut: bool = False


@dataclass(frozen=True)
class Cycle:
    """The hold that succeeded, and where the first attempt began."""

    first: int
    hold: Hold

    @property
    def events(self) -> tuple[Event, Event]:
        hold = self.hold
        return (
            Event(EventKind.GRASP, hold.grasp, hold.begin),
            Event(EventKind.RELEASE, hold.release, hold.opening, cut=hold.cut),
        )


@dataclass(frozen=True)
class CycleSettings:
    """When two holds are one cycle, and when one is none.

    Attributes:
        carried_m: a hand that went less far while closed has moved nothing: more than the give of a grip and the
            drift of an arm that holds still, less than the smallest deed.
        turned_rad: or that has turned less (a knob is turned on the spot).
        same_place_m: an object lies so near to where it was let go when it is fetched again: fingers that open on the
            way let it fall below the hand, where it may roll or tip by its own size.
        same_width_m: held again, it keeps the fingers as far apart as before, give or take another spot on it.
    """

    carried_m: float = 0.025
    turned_rad: float = 0.2
    same_place_m: float = 0.10
    same_width_m: float = 0.015


def group_holds(holds: Sequence[Hold], streams: Streams, settings: CycleSettings) -> tuple[list[Cycle], Counter[str]]:
    """Cycles in order, and what was overruled on the way: ``empty``, ``regrasp``, ``drop``, ``slip``, ``idle``."""
    notes: Counter[str] = Counter()
    cycles: list[Cycle] = []
    missed: Hold | None = None
    for hold in holds:
        if hold.empty:
            notes["empty"] += 1
            missed = missed or hold
            continue
        first = hold.begin
        if missed is not None and _apart(streams, missed.grasp, hold.grasp) <= settings.same_place_m:
            first = missed.begin
        missed = None
        again = _same_object(cycles[-1].hold, hold, streams, settings) if cycles else ""
        if again:
            notes[again] += 1
            first = cycles.pop().first
        cycles.append(Cycle(first, hold))
    done = [cycle for cycle in cycles if cycle.hold.cut or _did_something(cycle.hold, streams, settings)]
    notes["idle"] = len(cycles) - len(done)
    return done, +notes


def _same_object(before: Hold, after: Hold, streams: Streams, settings: CycleSettings) -> str:
    """Why two holds are of one object: the note's name; "" if they are not."""
    if _across(streams, before.release, after.grasp) > settings.same_place_m:
        return ""
    if not _did_something(before, streams, settings):
        return "regrasp"
    if before.slipped:
        return "slip"
    alike = abs(before.width - after.width) <= settings.same_width_m
    return "drop" if alike else ""


def _did_something(hold: Hold, streams: Streams, settings: CycleSettings) -> bool:
    """Whether what was held was carried or turned."""
    here, there = hold.grasp, hold.release + 1
    moved = np.linalg.norm(streams.position[here:there] - streams.position[here], axis=1)
    alike = np.abs(streams.orientation[here:there] @ streams.orientation[here])
    turned = 2 * np.arccos(np.clip(alike, 0, 1))
    return bool(moved.max() > settings.carried_m or turned.max() > settings.turned_rad)


def _apart(streams: Streams, step: int, other: int) -> float:
    return float(np.linalg.norm(streams.position[step] - streams.position[other]))


def _across(streams: Streams, step: int, other: int) -> float:
    """Metres between the hand's places at two steps, seen from above."""
    return float(np.linalg.norm((streams.position[step] - streams.position[other])[:2]))
