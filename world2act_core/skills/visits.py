"""Visits: the hand goes somewhere, works there without holding anything, and comes back. Seen in its path alone.

Whoever pushes, turns or presses has to go to the thing and to leave it again: down to a plate and up, towards a drawer
and back. Whoever only reaches for the next object does not turn round on the way. So a visit ends where the hand turns
back: where it begins to retreat, upwards or sideways, to where it had come from.

The path is first drawn as a few straight lines (Ramer 1972; Douglas and Peucker 1973), which takes out trembling,
pauses and speed; its corners are where the hand may have turned.

Why not force: few arms log it. Why not how far the motion falls short of the commands: measured in LIBERO
(displacement a step, less what a linear filter of the last six commands predicts that was fitted to motions in the
air) that is 0.8 mm in the air, 10 mm at a knob, 3 mm at a plate, but 0.9 mm at a drawer, which gives way. And a video
has no commands.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import takewhile
from typing import NamedTuple

import numpy as np

from world2act_core.types import Array

UP = np.array([0.0, 0.0, 1.0])
"""In the frame of the hand's positions: robots stand upright."""


@dataclass(frozen=True)
class Visit:
    """One turning back of the hand. All are control steps.

    Attributes:
        begin: it arrives: the approach is over.
        leave: it begins to retreat.
        retreat: it has retreated.
    """

    begin: int
    leave: int
    retreat: int


@dataclass(frozen=True)
class VisitSettings:
    """What counts as turning back.

    Attributes:
        line_m: the path may lie so far beside its lines: trembling hands, exploration noise.
        descent_m: so far the hand must have come down to a place that it leaves upwards: more than it goes up and down
            while it looks for its way.
        retreat_m: so far it must go away; and so far it must have come, at the same height, if it retreats sideways.
        cut_m: so far it must have gone away when the recording ends.
        lift: a retreat that climbs more (sine of an angle) is one upwards: a pushing hand that is lifted swings on.
        slant: a retreat's direction is known to so much (tangent of an angle): what lies behind by less lies abreast.
        same_place_m: within this reach several turns are one visit: the hand swings round to the thing, or pushes it
            again. So two things that stand so near, and are pushed one after the other, count once.
    """

    line_m: float = 0.008
    descent_m: float = 0.08
    retreat_m: float = 0.05
    cut_m: float = 0.016
    lift: float = 0.3
    slant: float = 0.2
    same_place_m: float = 0.3


def find_visits(position: Array, settings: VisitSettings, cut_m: float = np.inf) -> list[Visit]:
    """Visits within a path ``(N, 3)`` in metres, in order.

    Args:
        cut_m: a retreat of which no more than this was recorded counts as well, because the recording ended.
    """
    corners = simplify(position, settings.line_m)
    turns: list[_Turn] = []
    for number in range(1, len(corners) - 1):
        until = corners[: number + 1]
        turn = _sideways(position, until, settings, cut_m) or _upwards(position, until, settings, cut_m)
        if turn is None:
            continue
        if turns and _same_place(position, turns[-1], turn, settings):
            if _further_out(position, turns[-1], turn, settings):
                continue
            turn = _Turn(replace(turn.visit, begin=turns.pop().visit.begin), turn.back)
        turns.append(turn)
    return [turn.visit for turn in turns]


class _Turn(NamedTuple):
    """A visit and the direction of its retreat, a unit vector ``(3,)``."""

    visit: Visit
    back: Array


def _upwards(position: Array, corners: list[int], settings: VisitSettings, cut_m: float) -> _Turn | None:
    """The visit that ends at the last of these corners, if the hand had come down to it and rises from it."""
    leave = corners[-1]
    above = position[:, 2] - position[leave, 2]
    retreat = leave + _reaches(above[leave:], settings.retreat_m, cut_m)
    distance = np.linalg.norm(position - position[leave], axis=1)
    begin = _arrival(above, distance, corners, settings.descent_m, settings)
    if retreat == leave or begin is None:
        return None
    return _Turn(Visit(begin, _last_near(above, leave, retreat, settings.line_m / 2), retreat), UP)


def _sideways(position: Array, corners: list[int], settings: VisitSettings, cut_m: float) -> _Turn | None:
    """The visit that ends at the last of these corners, if the hand goes back the way it had come at this height."""
    leave = corners[-1]
    away = position - position[leave]
    distance = np.linalg.norm(away, axis=1)
    retreat = leave + _reaches(distance[leave:], settings.retreat_m, cut_m)
    if retreat == leave:
        return None
    back = away[retreat] / distance[retreat]
    if back[2] > settings.lift or away[retreat, 2] < -settings.line_m / 2:
        return None  # it goes up, or down to the next thing: nothing hangs from above
    level = list(takewhile(lambda corner: abs(away[corner, 2]) <= settings.retreat_m, reversed(corners)))[::-1]
    along = away @ back
    begin = _arrival(along, distance, level, settings.retreat_m, settings)
    if begin is None:
        return None
    return _Turn(Visit(begin, _last_near(along, leave, retreat, settings.line_m / 2), retreat), back)


def _reaches(progress: Array, enough: float, at_end: float) -> int:
    """First step at which a retreat is long enough; the last one if it is at least ``at_end`` long there; else 0."""
    gone = progress >= enough
    if gone.any():
        return int(gone.argmax())
    return len(progress) - 1 if progress[-1] >= at_end else 0


def _arrival(along: Array, distance: Array, corners: list[int], enough: float, settings: VisitSettings) -> int | None:
    """The corner at which the hand arrived at the place of the last one; None if it had not come from far enough.

    Args:
        along: ``(N,)`` metres that each point lies in the direction of the retreat.
        distance: ``(N,)`` metres between each point and the place.
        enough: metres that it must have come.
    """
    begin = corners[-1]
    for corner in reversed(corners[:-1]):
        if along[corner] < -settings.line_m - settings.slant * distance[corner]:
            return None  # it had been further in before: this is no turning point
        if along[corner] <= 2 * settings.line_m:
            begin = corner
        if along[corner] >= enough:
            return begin
    return None


def _last_near(along: Array, leave: int, retreat: int, tolerance: float) -> int:
    """The last step before a retreat at which the hand is as far in as it gets."""
    near = along[leave : retreat + 1]
    return leave + int(np.flatnonzero(near <= near.min() + tolerance)[-1])


def _same_place(position: Array, first: _Turn, second: _Turn, settings: VisitSettings) -> bool:
    """Whether the hand turns back again where it has just done so: on its way to the thing, or for another push."""
    apart = position[second.visit.leave] - position[first.visit.leave]
    return second.visit.begin <= first.visit.retreat or float(np.linalg.norm(apart)) <= settings.same_place_m


def _further_out(position: Array, first: _Turn, second: _Turn, settings: VisitSettings) -> bool:
    """Whether the second turn is only a bend in the retreat of the first one: in the air, or in the same direction.

    Otherwise what looked like a retreat was the push: a hand that swings round to a thing turns back to push it.
    """
    on = position[second.visit.leave] - position[first.visit.leave]
    outwards = on @ first.back > max(settings.line_m, np.linalg.norm(on) / 2)
    return bool(outwards and (first.back[2] > settings.lift or second.back @ first.back > settings.slant))


def simplify(path: Array, tolerance: float) -> list[int]:
    """Indices of the corners of a polygon that no point of a path ``(N, 3)`` is further from than the tolerance."""
    corners, open_ends = [0], [len(path) - 1]
    while open_ends:
        a, b = corners[-1], open_ends[-1]
        distance = _distance_to_line(path[a : b + 1])
        furthest = int(distance.argmax())
        if distance[furthest] > tolerance:
            open_ends.append(a + furthest)
        else:
            corners.append(open_ends.pop())
    return corners


def _distance_to_line(path: Array) -> Array:
    """Of each point ``(N, 3)`` to the stretch from the first to the last, ``(N,)``."""
    offset, along = path - path[0], path[-1] - path[0]
    length = float(along @ along)
    fraction = np.clip(offset @ along / length, 0, 1) if length > 0 else np.zeros(len(path))
    return np.asarray(np.linalg.norm(offset - fraction[:, None] * along, axis=1))
