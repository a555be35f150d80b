"""From holds to cycles: attempts that failed and objects that were dropped belong to the cycle that got it done.

A *hold* is a time in which the fingers are closed around something, or on nothing. A *cycle* is all that it took to
get one object from where it was to where it should be: usually one hold; more if the hand had to grasp again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from world2act_core.skills.types import Event, EventKind, Streams


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
        same_place_m: an object lies so near to where it was let go when it is fetched again, for it falls below the
            hand and may roll or tip. In 143 pairs of holds in LIBERO, dropped objects lay within 5 cm and the next
            object 18 cm away or more.
        same_width_m: held again, it keeps the fingers as far apart as before, give or take another spot on it: a mug
            by its handle or its rim, 2 cm.
    """

    carried_m: float = 0.025
    turned_rad: float = 0.2
    same_place_m: float = 0.10
    same_width_m: float = 0.03


def group_holds(holds: Sequence[Hold], streams: Streams, settings: CycleSettings) -> tuple[list[Cycle], Counter[str]]:
    """Cycles in order, and what was overruled on the way.

    Notes: ``regrasp`` an attempt that got nothing off its place, before one at the same place that did; ``drop`` an
    object let go on the way and fetched again, ``slip`` one lost with the fingers closed; ``empty`` fingers closed on
    nothing, ``idle`` on something that was let go at once, both without another attempt.
    """
    notes: Counter[str] = Counter()
    cycles: list[Cycle] = []
    attempts: list[Hold] = []
    for hold in holds:
        if hold.empty or not (hold.cut or _did_something(hold, streams, settings)):
            attempts.append(hold)
            continue
        failed = [each for each in attempts if _apart(streams, each.grasp, hold.grasp) <= settings.same_place_m]
        notes["regrasp"] += len(failed)
        notes += _without_sequel([each for each in attempts if each not in failed])
        attempts = []
        first = failed[0].begin if failed else hold.begin
        if cycles and _same_object(cycles[-1].hold, hold, streams, settings):
            lost = cycles.pop()
            notes["slip" if lost.hold.slipped else "drop"] += 1
            first = lost.first
        cycles.append(Cycle(first, hold))
    return cycles, notes + _without_sequel(attempts)


def _without_sequel(attempts: Sequence[Hold]) -> Counter[str]:
    return Counter("empty" if each.empty else "idle" for each in attempts)


def _same_object(before: Hold, after: Hold, streams: Streams, settings: CycleSettings) -> bool:
    """Whether the hand has fetched again what it had let go."""
    near = _across(streams, before.release, after.grasp) <= settings.same_place_m
    return near and (before.slipped or abs(before.width - after.width) <= settings.same_width_m)


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
