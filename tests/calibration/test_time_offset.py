"""The offset between a camera's stamps and the robot's clock, and motions that do not tell it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from benchmarks._calibration_cell import IN_HAND, TO_HAND, Cell, Truth, wave
from world2act_core.calibration.board import CalibrationError
from world2act_core.calibration.detection import View
from world2act_core.calibration.time_offset import calibrate_time
from world2act_core.calibration.track import ArmTrack
from world2act_core.types import Array

LATE_S = 0.037


def track_of(cell: Cell, stamps: Array, joints: Array) -> ArmTrack:
    return ArmTrack(stamps, np.stack([cell.hand(row) for row in joints]), "test")


def recording(
    cell: Cell,
    truth: Truth,
    seconds: float = 10.0,
    late_s: float = LATE_S,
    motion: Callable[[Array], Array] | None = None,
) -> tuple[list[View], ArmTrack]:
    """A camera at 15 Hz whose stamps are late, and an arm at 100 Hz."""
    rng = np.random.default_rng(2)
    if motion is None:
        stamps, joints = wave(cell.joints_for(truth, 8, 0), seconds, 1)
    else:
        stamps = np.arange(0.0, seconds, 0.01)
        joints = motion(stamps)
    views = []
    for taken in np.arange(0.013, seconds - 0.05, 1 / 15):
        now = np.array([np.interp(taken, stamps, joints[:, k]) for k in range(7)])
        seen = cell.seen(truth, now)
        if seen[2, 2] > 0.35:
            view = cell.corners(seen, rng, 0.2)
            if len(view.ids) >= 12:
                views.append(replace(view, stamp_s=float(taken + late_s)))
    return views, track_of(cell, stamps, joints)


@pytest.mark.parametrize("truth", [IN_HAND, TO_HAND], ids=lambda truth: truth.kind)
def test_late_stamps_are_found_within_two_milliseconds(cell: Cell, truth: Truth) -> None:
    views, track = recording(cell, truth)
    found = calibrate_time(views, track, cell.camera, truth.kind)
    assert abs(found.offset_s + LATE_S) < 0.002
    assert abs(found.offset_s + LATE_S) < max(0.0003, 5 * found.deviation_s)
    assert abs(found.coarse_s + LATE_S) < 0.01, "correlation alone is within 10 ms"
    assert found.error_px < 0.5 < found.without_px


def test_early_stamps_are_negative_lateness(cell: Cell) -> None:
    views, track = recording(cell, IN_HAND, late_s=-0.12)
    assert calibrate_time(views, track, cell.camera, IN_HAND.kind).offset_s == pytest.approx(0.12, abs=0.002)


def test_an_arm_that_stands_still_is_refused(cell: Cell) -> None:
    home = cell.joints_for(IN_HAND, 1, 0)[0]
    views, track = recording(cell, IN_HAND, motion=lambda t: np.tile(home, (len(t), 1)))
    with pytest.raises(CalibrationError, match="the hand hardly turns"):
        calibrate_time(views, track, cell.camera, IN_HAND.kind)


def test_a_motion_that_repeats_itself_is_refused(cell: Cell) -> None:
    home = cell.joints_for(IN_HAND, 1, 0)[0]

    def shake(stamps: Array) -> Array:
        joints = np.tile(home, (len(stamps), 1))
        joints[:, 6] += 0.2 * np.sin(2 * np.pi * 2.0 * stamps)
        return joints

    views, track = recording(cell, IN_HAND, motion=shake)
    with pytest.raises(CalibrationError, match="the motion repeats itself"):
        calibrate_time(views, track, cell.camera, IN_HAND.kind)


def test_poses_of_another_motion_are_refused(cell: Cell) -> None:
    views, _ = recording(cell, IN_HAND)
    stamps, joints = wave(cell.joints_for(IN_HAND, 8, 5), 10.0, 9)
    with pytest.raises(CalibrationError, match="the motion that the camera sees is not the arm's"):
        calibrate_time(views, track_of(cell, stamps, joints), cell.camera, IN_HAND.kind)


def test_a_recording_of_another_time_is_refused(cell: Cell) -> None:
    views, track = recording(cell, IN_HAND)
    later = [replace(view, stamp_s=(view.stamp_s or 0.0) + 100) for view in views]
    with pytest.raises(CalibrationError, match="0 views of the board while the arm's poses are known"):
        calibrate_time(later, track, cell.camera, IN_HAND.kind)


def test_a_track_knows_where_it_is_known_and_still(cell: Cell) -> None:
    home = cell.joints_for(IN_HAND, 1, 0)[0]
    stamps = np.concatenate([np.arange(0, 1, 0.01), np.arange(2, 3, 0.01)])
    joints = np.tile(home, (len(stamps), 1))
    joints[stamps > 2.5, 0] += stamps[stamps > 2.5] - 2.5
    track = track_of(cell, stamps, joints)
    assert track.covers(np.array([-0.1, 0.5, 1.5, 2.5, 3.5])).tolist() == [False, True, False, True, False]
    assert track.still(np.array([0.5, 1.5, 2.2, 2.7])).tolist() == [True, False, True, False]
    with pytest.raises(CalibrationError, match="not enough to tell its motion"):
        ArmTrack(stamps[:2], np.tile(np.eye(4), (2, 1, 1)), "short")
