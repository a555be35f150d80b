"""w_0 and Delta of the skill segmentation (World2Act, section 3.1) from a recording of the gripper.

w_0 is the width at which the gripper comes to rest when it opens. Delta, from which on the hand is in contact, must lie
above what the open gripper trembles by and below what the widest object leaves: with an object in the recording it is
half of that, without one it is the paper's share of the stroke (0.05 m of the 0.08 m of a Panda's hand).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from world2act_core.calibration.board import CalibrationError
from world2act_core.skills.gripper import DELTA_M
from world2act_core.types import Array

PAPERS_STROKE_M = 0.08
LEAST_STROKE_M, LARGEST_STROKE_M = 0.005, 0.5
REST_S = 0.3
REST_SPEED = 0.03  # of the stroke, a second
SAME_REST = 0.06  # of the stroke
FEWEST_OPENINGS = 2


@dataclass(frozen=True)
class GripperWidth:
    """The result, m.

    Attributes:
        fully_open_m: w_0.
        repeats_m: how far its openings lie from each other at most.
        closed_m: the narrowest width at which it rested.
        noise_m: standard deviation while it rests.
        delta_m: Delta.
        held_m: widths at which it rested between open and closed: objects.
        scale, offset_m: width = offset + scale * position, for a driver that does not report metres; else 1 and 0.
        openings: how often it rested open.
    """

    fully_open_m: float
    repeats_m: float
    closed_m: float
    noise_m: float
    delta_m: float
    held_m: tuple[float, ...]
    openings: int
    scale: float = 1.0
    offset_m: float = 0.0


def position_to_width(measured: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """``(scale, offset)`` from pairs of (position as the driver reports it, width in m by a calliper).

    Raises:
        CalibrationError: fewer than two different positions, widths that cannot be metres, or not on a line.
    """
    positions, widths = np.array(measured, np.float64).reshape(-1, 2).T
    if len(np.unique(positions)) < 2:
        raise CalibrationError("two widths measured at different positions are needed, such as fully open and closed")
    if widths.max() > LARGEST_STROKE_M or widths.min() < 0:
        raise CalibrationError(
            f"a width of {widths.max():g} m was measured: give metres" if widths.max() > 0 else "a width is below 0"
        )
    scale, offset = np.polyfit(positions, widths, 1)
    off = float(np.abs(offset + scale * positions - widths).max())
    if off > 0.002:
        raise CalibrationError(
            f"the measured widths lie up to {1000 * off:.1f} mm from a line: measure again, or give only the range used"
        )
    return float(scale), float(offset)


def calibrate_gripper(stamps: Array, widths: Array) -> GripperWidth:
    """w_0 and Delta.

    Args:
        stamps: ``(N,)`` s.
        widths: ``(N,)`` m between the fingers; open and closed at least twice, resting each time for 0.5 s.

    Raises:
        CalibrationError: the gripper did not move or rest enough, or the widths are not metres; says what to do.
    """
    order = np.argsort(stamps, kind="stable")
    stamps, widths = np.asarray(stamps, np.float64)[order], np.asarray(widths, np.float64)[order]
    if not np.isfinite(widths).all():
        raise CalibrationError("a width of the gripper is not finite: repair the recording")
    stroke = float(np.ptp(widths)) if len(widths) else 0.0
    if stroke > LARGEST_STROKE_M:
        raise CalibrationError(f"the gripper's width varies by {stroke:g} m: give metres, not millimetres")
    if stroke < LEAST_STROKE_M:
        raise CalibrationError(
            f"the gripper moved by {1000 * stroke:.1f} mm: open and close it fully at least {FEWEST_OPENINGS} times"
        )
    rests = _rests(stamps, widths, REST_SPEED * stroke)
    levels = np.array([np.median(widths[rest]) for rest in rests])
    near = SAME_REST * stroke
    # The widest and narrowest at which it came to rest; an overshoot while moving does not count.
    opened = [k for k, level in enumerate(levels) if level > levels.max() - near]
    closed = [k for k, level in enumerate(levels) if level < levels.min() + near]
    if len(opened) < FEWEST_OPENINGS or set(opened) & set(closed):
        raise CalibrationError(
            f"the gripper rested open {len(opened) if len(rests) else 0} times: open and close it fully at least "
            f"{FEWEST_OPENINGS} times and rest {2 * REST_S:g} s each time"
        )
    full, narrow = float(np.median(levels[opened])), float(np.median(levels[closed]))
    held = tuple(float(level) for k, level in enumerate(levels) if k not in opened and k not in closed)
    noise = float(np.median([widths[rest].std() for rest in rests]))
    repeats = float(np.ptp(levels[opened]))
    delta = 0.5 * (full - max(held)) if held else DELTA_M / PAPERS_STROKE_M * (full - narrow)
    trembles = max(5 * noise, 2 * repeats)
    if delta <= trembles:
        raise CalibrationError(
            f"the widest object leaves {1000 * 2 * delta:.1f} mm, which the open gripper's own "
            f"{1000 * trembles:.1f} mm of noise and play hide: leave it out, or mend the gripper's sensor"
        )
    return GripperWidth(full, repeats, narrow, noise, float(delta), held, len(opened))


def _rests(stamps: Array, widths: Array, speed: float) -> list[slice]:
    """Stretches of at least REST_S in which the width changes by less than ``speed`` m/s."""
    found: list[slice] = []
    begin = 0
    for k in range(1, len(widths) + 1):
        moves = k == len(widths) or abs(widths[k] - np.median(widths[begin : min(k, begin + 30)])) > speed * REST_S
        if moves:
            if stamps[k - 1] - stamps[begin] >= REST_S:
                found.append(slice(begin, k))
            begin = k
    return found
