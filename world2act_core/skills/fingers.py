"""Holds seen in the fingers: they close, and stop on something.

The fingers' travel, not their width, tells a grasp: around a soup can they come to rest 6 cm apart, around the rim of a
bowl at 4 mm, on nothing at 1 mm. So a closing is a fall of the width below the widest it was, an opening a rise above
the narrowest, and between the two the fingers hold something if they came to rest short of closed.

Where commands were logged they have a veto: fingers that are pushed apart or together from outside (a fist that leans
on a drawer opens by up to 1 cm in simulation) were not told to move.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from world2act_core.skills.cycles import Hold
from world2act_core.skills.types import Streams
from world2act_core.types import Array


@dataclass(frozen=True)
class FingerSettings:
    """What a closing and an opening look like.

    Attributes:
        median_s: spikes of the width up to half as long are removed.
        fall_m: fingers that have come so much nearer are closing: above a noise of 1 mm and the play of a gripper,
            below the 14 mm that they travel to a soup can.
        rise: of the way to fully open; fingers that have gone so far apart again have opened.
        rise_m: so much is an opening in any case.
        slack_m: fingers within so much of where they came to rest have not left it: noise, a yielding object.
        stop: of the fastest closing; fingers slower than this have stopped on something.
        empty_m: fingers nearer than this hold nothing. They come to rest at 1 mm in simulation, a bowl's rim at 3.5.
        settle_s: fingers that have not closed entirely after so long are held apart by something.
        lag_s: a command shows in the fingers no later.
    """

    median_s: float = 0.15
    fall_m: float = 0.005
    rise: float = 0.3
    rise_m: float = 0.016
    slack_m: float = 0.0015
    stop: float = 0.3
    empty_m: float = 0.002
    settle_s: float = 1.0
    lag_s: float = 0.6


def find_holds(streams: Streams, settings: FingerSettings) -> list[Hold]:
    """Every closing in order, also those on nothing."""
    width = smooth(streams.width, settings.median_s, streams.step_s).tolist()
    lag = steps_in(settings.lag_s, streams.step_s)
    told_to_close, told_to_open = _told(streams, lag)
    return [
        _hold(width, enter, leave, streams.step_s, settings)
        for enter, leave in _closures(width, streams.fully_open, told_to_close, told_to_open, settings)
    ]


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


def _closures(
    width: list[float], fully_open: float, told_to_close: list[bool], told_to_open: list[bool], settings: FingerSettings
) -> Iterator[tuple[int, int | None]]:
    """Steps at which a closing and the opening after it are certain; None if the recording ended before.

    The fingers count as open in the beginning, wherever they are: what they may hold was not taken in this episode.
    """
    entered, extreme = None, width[0]
    for step, now in enumerate(width):
        if entered is None:
            extreme = max(extreme, now)
            if extreme - now > settings.fall_m and told_to_close[step]:
                entered, extreme = step, now
        else:
            extreme = min(extreme, now)
            if now - extreme > _rise(extreme, fully_open, settings) and told_to_open[step]:
                yield entered, step
                entered, extreme = None, now
    if entered is not None:
        yield entered, None


def _rise(narrowest: float, fully_open: float, settings: FingerSettings) -> float:
    """How far apart the fingers must go to have opened."""
    return max(settings.fall_m, min(settings.rise_m, settings.rise * (fully_open - narrowest)))


def _hold(width: list[float], enter: int, leave: int | None, step_s: float, settings: FingerSettings) -> Hold:
    last, settled = len(width) - 1, steps_in(settings.settle_s, step_s)
    begin = enter
    widest = max(width[max(0, enter - settled) : enter + 1])
    while width[begin] < widest - settings.slack_m:
        begin -= 1
    end = last if leave is None else leave
    grasp = _stop(width, enter, end, settings.stop)
    opening = end
    if leave is not None:
        opening = _start(width, grasp, end, settings)
    closed = next((step for step in range(grasp, opening) if max(width[step : step + 2]) <= settings.empty_m), None)
    apart = float(np.median(width[grasp : opening + 1]))
    if closed is None:
        return Hold(begin, grasp, opening, opening, apart, cut=leave is None)
    if closed - grasp <= settled:
        return Hold(begin, grasp, opening, opening, apart, empty=True, cut=leave is None)
    lost = closed
    while lost > grasp and width[lost - 1] > width[lost] + settings.slack_m / 3:
        lost -= 1
    return Hold(begin, grasp, lost, lost, float(np.median(width[grasp : lost + 1])), slipped=True)


def _stop(width: list[float], enter: int, end: int, fraction: float) -> int:
    """Where the fingers stop: the first step of the closing from which they go on much slower than before."""
    fastest, step = 0.0, max(enter - 1, 0)
    while step < end:
        speed = width[step] - width[step + 1]
        fastest = max(fastest, speed)
        if step >= enter and speed < fraction * fastest:
            break
        step += 1
    return step


def _start(width: list[float], grasp: int, leave: int, settings: FingerSettings) -> int:
    """Where the fingers start: the last step before an opening at which they had hardly moved yet.

    What lets go is their speed, not their place: a bowl that is set down can lever them apart by several millimetres.
    """
    fastest, step = width[leave] - width[leave - 1], leave
    while step > grasp and width[step] - width[step - 1] >= settings.stop * fastest:
        fastest = max(fastest, width[step] - width[step - 1])
        step -= 1
    return step
