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

from dataclasses import dataclass

import numpy as np

from world2act_core.types import Array


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
        slant: the direction of a retreat is known to so much (tangent of an angle): what lies behind by less than that
            may lie abreast.
        same_place_m: turns within this reach that undo each other are one visit, as when a hand backs off a drawer
            that it had swung round to.
    """

    line_m: float = 0.008
    approach_m: float = 0.05
    retreat_m: float = 0.04
    slant: float = 0.2
    same_place_m: float = 0.3


def find_visits(position: Array, settings: VisitSettings) -> list[Visit]:
    """Visits within a path ``(N, 3)`` in metres, in order."""
    corners = simplify(position, settings.line_m)
    visits: list[Visit] = []
    for number in range(1, len(corners) - 1):
        visit = _turning_back(position, corners, number, settings)
        if visit is None or (visits and visit.leave < visits[-1].retreat):
            continue
        if visits and _same_place(position, visits[-1], visit, settings):
            visit = Visit(visits.pop().begin, visit.leave, visit.retreat)
        visits.append(visit)
    return visits


def _turning_back(position: Array, corners: list[int], number: int, settings: VisitSettings) -> Visit | None:
    """The visit that ends at a corner, if the hand turns back there."""
    leave = corners[number]
    away = position - position[leave]
    distance = np.linalg.norm(away, axis=1)
    gone = distance[leave:] >= settings.retreat_m
    if not gone.any():
        return None
    retreat = leave + int(gone.argmax())
    back = away[retreat] / distance[retreat]
    if back[2] < -settings.slant:
        return None  # nothing hangs from above: it goes down to the next thing
    along = away @ back  # how far each point lies in the direction of the retreat
    begin = leave
    for corner in reversed(corners[:number]):
        if along[corner] < -settings.line_m - settings.slant * distance[corner]:
            return None  # it had been further in before: this is no turning point
        if along[corner] <= 2 * settings.line_m:
            begin = corner
        if along[corner] >= settings.approach_m:
            return Visit(begin, leave, retreat)
    return None


def _same_place(position: Array, first: Visit, second: Visit, settings: VisitSettings) -> bool:
    """Whether the hand turns back again where it has just done so: on its way to the thing, or for another push."""
    apart = position[second.leave] - position[first.leave]
    return second.begin <= first.retreat or float(np.linalg.norm(apart)) <= settings.same_place_m


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
