"""Holds seen in the fingers: they close, and stop on something.

The fingers' travel, not their width, tells a grasp: around a soup can they come to rest 6 cm apart, around the rim of a
bowl at 4 mm, on nothing at 1 mm. So a closing is a fall of the width below the widest it was, an opening a rise above
the narrowest, and between the two the fingers hold something if they came to rest short of closed.

Where commands were logged they have a veto: fingers that are pushed apart or together from outside (a fist that leans
on a drawer opens by up to 1 cm in simulation) were not told to move.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from world2act_core.skills.cycles import Hold
from world2act_core.skills.types import Streams
from world2act_core.types import Array


@dataclass(frozen=True)
class FingerSettings:
    """What a closing and an opening look like.

    Attributes:
        median_s: spikes of the width up to half as long are removed.
        fall_m: fingers that have come so much nearer when told so are closing: above a noise of 1 mm and the play of a
            gripper.
        fall_untold_m: the same where commands are unknown: fingers that push something are often squeezed by more
            than that; to a soup can they travel 17 mm. Squeezed further (in LIBERO's plate by up to 24 mm) they pass
            for a grasp.
        rise: of the way to fully open; fingers that have gone so far apart again have opened.
        rise_m: so much is an opening in any case.
        slack_m: fingers within so much of where they came to rest have not left it: noise, a yielding object.
        stop: of the fastest closing; fingers slower than this have stopped on something.
        empty_m: fingers nearer than this hold nothing. They come to rest at 1 mm in simulation, a bowl's rim at 3.5.
        settle_s: fingers that have not closed entirely after so long are held apart by something.
        lag_s: a command shows in the fingers no later.
        stale_s: a gripper that reports more rarely than the control loop runs stands still for so long between reports.
    """

    median_s: float = 0.15
    fall_m: float = 0.005
    fall_untold_m: float = 0.009
    rise: float = 0.3
    rise_m: float = 0.016
    slack_m: float = 0.0015
    stop: float = 0.3
    empty_m: float = 0.002
    settle_s: float = 1.0
    lag_s: float = 0.6
    stale_s: float = 0.1


def find_holds(streams: Streams, settings: FingerSettings) -> list[Hold]:
    """Every closing in order, also those on nothing."""
    width = smooth(streams.width, settings.median_s, streams.step_s).tolist()
    return [_hold(width, closure, streams.step_s, settings) for closure in _closures(width, streams, settings)]


def steps_in(seconds: float, step_s: float) -> int:
    """The nearest number of control steps, at least one."""
    return max(1, round(seconds / step_s))


def smooth(values: Array, seconds: float, step_s: float) -> Array:
    """Running median ``(N,)`` over an odd number of steps: takes out spikes, moves no edge."""
    reach = steps_in(seconds, step_s) // 2
    if not reach or len(values) < 2:
        return values
    padded = np.pad(values, reach, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)
    return np.asarray(np.median(windows, axis=1))


def _told(streams: Streams, lag: int) -> tuple[list[bool], list[bool]]:
    """At each state: whether the gripper was told to close, or to open, within the last ``lag`` steps."""
    length = len(streams.width)
    if streams.gripper_command is None or not len(streams.gripper_command):
        return [True] * length, [True] * length
    closing = np.asarray(streams.gripper_command, bool)
    return _recent(closing, lag).tolist(), _recent(~closing, lag).tolist()


def _recent(flags: Array, lag: int) -> Array:
    """``(T,)`` per command → ``(T + 1,)`` per state: set up to ``lag`` commands before it, or at its own."""
    since = np.convolve(np.concatenate([flags, flags[-1:]]), np.ones(lag + 1))[: len(flags) + 1]
    return np.asarray(since > 0.5)


class _Closure(NamedTuple):
    """Steps: the widest before it, a closing is certain, so is the opening after it (None: the recording ended)."""

    widest: int
    sure: int
    opened: int | None


def _closures(width: list[float], streams: Streams, settings: FingerSettings) -> Iterator[_Closure]:
    """Closings by hysteresis.

    The fingers count as open in the beginning, wherever they are: what they may hold was not taken in this episode.
    """
    told_to_close, told_to_open = _told(streams, steps_in(settings.lag_s, streams.step_s))
    fall = settings.fall_untold_m if streams.gripper_command is None else settings.fall_m
    widest, narrowest, sure = 0, width[0], None
    for step, now in enumerate(width):
        if sure is None:
            if now > width[widest]:
                widest = step
            if width[widest] - now > fall and told_to_close[step]:
                sure, narrowest = step, now
        else:
            narrowest = min(narrowest, now)
            rise = max(fall, min(settings.rise_m, settings.rise * (streams.fully_open - narrowest)))
            if now - narrowest > rise and told_to_open[step]:
                yield _Closure(widest, sure, step)
                widest, sure = step, None
    if sure is not None:
        yield _Closure(widest, sure, None)


def _hold(width: list[float], closure: _Closure, step_s: float, settings: FingerSettings) -> Hold:
    begin = closure.sure
    while begin > closure.widest and width[begin] < width[closure.widest] - settings.slack_m:
        begin -= 1
    stale, end = steps_in(settings.stale_s, step_s), closure.opened or len(width) - 1
    grasp = _stop(width, closure.sure, end, stale, settings.stop)
    opening = _start(width, grasp, end, stale, settings.stop) if closure.opened else end
    hold = Hold(begin, grasp, opening, opening, _typical(width, grasp, opening), cut=closure.opened is None)
    closed = next((step for step in range(grasp, opening) if max(width[step : step + 2]) <= settings.empty_m), None)
    if closed is None:
        return hold
    if closed - grasp <= steps_in(settings.settle_s, step_s):
        return replace(hold, empty=True)
    lost = closed
    while lost > grasp and width[lost - 1] > width[lost] + settings.slack_m / 3:
        lost -= 1
    return Hold(begin, grasp, lost, lost, _typical(width, grasp, lost), slipped=True)


def _typical(width: list[float], begin: int, end: int) -> float:
    return sorted(width[begin : end + 1])[(end - begin) // 2]


def _stop(width: list[float], sure: int, end: int, stale: int, fraction: float) -> int:
    """Where the fingers stop: the first step of the closing from which they go on much slower than before."""
    fastest = max(0.0, width[max(sure - 1, 0)] - width[sure])
    for step in range(sure, end):
        speed, later = width[step] - width[step + 1], min(step + stale, end)
        fastest = max(fastest, speed)
        if speed < fraction * fastest and width[step] - width[later] < fraction * fastest * (later - step):
            return step
    return end


def _start(width: list[float], grasp: int, opened: int, stale: int, fraction: float) -> int:
    """Where the fingers start: the last step before an opening at which they had hardly moved yet.

    What lets go is their speed, not their place: a bowl that is set down can lever them apart by several millimetres.
    """
    fastest = 0.0
    for step in range(opened, grasp, -1):
        speed, before = width[step] - width[step - 1], max(step - stale, grasp)
        fastest = max(fastest, speed)
        if speed < fraction * fastest and width[step] - width[before] < fraction * fastest * (step - before):
            return step
    return grasp
