"""Visits: the hand goes somewhere, works there without holding anything, and comes back. Seen in its path alone.

Whoever pushes, turns or presses has to go to the thing and to leave it again: down to a plate and up, towards a drawer
and back. Whoever only reaches for the next object does not turn round on the way. So a visit ends where the hand turns
back: where it begins to retreat in a direction from which it had come before.

The path is first drawn as a few straight lines (Ramer 1972; Douglas and Peucker 1973), which takes out trembling,
pauses and speed. What it says nothing about is force. That was tried: in simulation a drawer or a plate slows the arm
by less than its controller's own error, so the commands tell a push from a motion through the air only where something
does not give way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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
        line_m: the path may lie so far beside its lines: trembling hands, noise.
        approach_m, retreat_m: so far it must have come towards the place, and go away from it.
        cut_m: so far it must have gone away when the recording ends.
        lift: a retreat that climbs so much (sine of an angle) is one upwards: a pushing hand that is lifted swings on.
        slant: the direction of a retreat is known to so much (tangent of an angle): what lies behind by less than that
            may lie abreast.
        same_place_m: turns within this reach that undo each other are one visit, as when a hand backs off a drawer
            that it had swung round to.
    """

    line_m: float = 0.008
    approach_m: float = 0.08
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
        turn = _turning_back(position, corners[: number + 1], settings, cut_m)
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


def _turning_back(position: Array, corners: list[int], settings: VisitSettings, cut_m: float) -> _Turn | None:
    """The visit that ends at the last of these corners, if the hand turns back there: the way it goes, or upwards."""
    leave = corners[-1]
    away = position - position[leave]
    distance = np.linalg.norm(away, axis=1)
    for progress in (distance, away[:, 2]):
        retreat = leave + _reaches(progress[leave:], settings.retreat_m, cut_m)
        if retreat == leave:
            return None
        back = away[retreat] / distance[retreat] if progress is distance else UP
        # Nothing hangs from above: a hand that goes down goes to the next thing.
        if progress is distance and (back[2] > settings.lift or away[retreat, 2] < -settings.line_m / 2):
            continue
        along = away @ back
        if progress is distance:
            aside, enough = np.abs(away[:, 2]) > settings.retreat_m, settings.retreat_m
        else:
            aside, enough = np.zeros(len(away), bool), settings.approach_m
        begin = _arrival(along, distance, aside, enough, corners, settings)
        if begin is not None:
            return _Turn(Visit(begin, _last_near(along, leave, retreat, settings.line_m / 2), retreat), back)
    return None


def _reaches(progress: Array, enough: float, at_end: float) -> int:
    """First step at which a retreat is long enough; the last one if it is at least ``at_end`` long there; else 0."""
    gone = progress >= enough
    if gone.any():
        return int(gone.argmax())
    return len(progress) - 1 if progress[-1] >= at_end else 0


def _arrival(
    along: Array, distance: Array, aside: Array, enough: float, corners: list[int], settings: VisitSettings
) -> int | None:
    """The corner at which the hand arrived at the place of the last one, if it came from where it retreats to.

    Args:
        along: ``(N,)`` metres that each point lies in the direction of the retreat.
        distance: ``(N,)`` metres between each point and the place.
        aside: ``(N,)`` whether it lies at another height, so that coming from there is no way back.
    """
    begin = corners[-1]
    for corner in reversed(corners[:-1]):
        if aside[corner] or along[corner] < -settings.line_m - settings.slant * distance[corner]:
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
