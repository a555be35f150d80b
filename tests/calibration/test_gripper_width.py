"""w_0 and Delta from a gripper's recording, in the skill segmentation's own terms."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from world2act_core.calibration.board import CalibrationError
from world2act_core.calibration.gripper_width import calibrate_gripper, position_to_width
from world2act_core.calibration.store import measured_gripper, write_gripper
from world2act_core.skills.gripper import GripperSegmenter
from world2act_core.skills.types import Streams
from world2act_core.types import Array


def recorded(levels: list[float], rest_s: float = 1.0, noise_m: float = 5e-5) -> tuple[Array, Array]:
    """A gripper at 100 Hz that rests at widths (m) and needs 0.4 s between two."""
    rng = np.random.default_rng(0)
    parts = [np.full(round(100 * rest_s), levels[0])]
    for before, after in itertools.pairwise(levels):
        parts += [np.linspace(before, after, 40), np.full(round(100 * rest_s), after)]
    widths = np.concatenate(parts)
    return np.arange(len(widths)) / 100, widths + rng.normal(0, noise_m, len(widths))


def test_open_and_closed_are_found(tmp_path: Path) -> None:
    result = calibrate_gripper(*recorded([0.0787, 0.0012, 0.0789, 0.0012, 0.0787]))
    assert result.fully_open_m == pytest.approx(0.0787, abs=1e-4)
    assert result.closed_m == pytest.approx(0.0012, abs=1e-4)
    assert result.openings == 3 and result.held_m == ()
    assert result.repeats_m == pytest.approx(0.0002, abs=1e-4)
    assert result.delta_m == pytest.approx(0.05 / 0.08 * 0.0775, abs=2e-4)


def test_the_widest_object_decides_delta_and_is_then_seen_by_the_segmenter(tmp_path: Path) -> None:
    """A can of 60 mm, which the paper's 50 mm cannot see in an 80 mm hand."""
    stamps, widths = recorded([0.079, 0.001, 0.079, 0.06, 0.079])
    result = calibrate_gripper(stamps, widths)
    assert result.held_m == (pytest.approx(0.06, abs=2e-4),)
    assert result.delta_m == pytest.approx(0.0095, abs=2e-4)
    write_gripper(tmp_path, result, date="2026-01-01T00:00:00+00:00")
    gripper = measured_gripper(tmp_path)
    assert gripper.fully_open_m == pytest.approx(0.079, abs=2e-4) and gripper.scale == 1.0
    every = widths[::5]
    streams = Streams(
        width=every,
        fully_open=gripper.fully_open_m,
        position=np.column_stack([0.01 * np.arange(len(every)), np.zeros((len(every), 2))]),  # it carries things
        orientation=np.tile([0.0, 0, 0, 1], (len(every), 1)),
        step_s=0.05,
        commands=None,
        gripper_command=None,
    )
    assert len(GripperSegmenter(gripper.delta_m).segment(streams).events) == 4, (
        "the fist and the can: two grasps, two releases"
    )
    assert len(GripperSegmenter().segment(streams).events) == 2


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        ([0.08, 0.0799], "the gripper moved by"),
        ([0.08, 0.0], "rested open 1 times"),
        ([80.0, 0.0, 80.0], "give metres, not millimetres"),
        ([0.08, 0.0, 0.077, 0.0725, 0.08], "of noise and play hide"),
    ],
)
def test_recordings_that_do_not_tell_are_refused(levels: list[float], said: str) -> None:
    with pytest.raises(CalibrationError, match=said):
        calibrate_gripper(*recorded(levels))


def test_a_gripper_that_never_rests_is_refused() -> None:
    with pytest.raises(CalibrationError, match="rested open"):
        calibrate_gripper(*recorded([0.08, 0.0, 0.08, 0.0, 0.08], rest_s=0.1))


def test_a_driver_that_reports_no_metres_is_measured_with_a_calliper() -> None:
    scale, offset = position_to_width([(0.0, 0.085), (0.4, 0.0425), (0.8, 0.0)])
    assert offset + scale * 0.2 == pytest.approx(0.06375)
    with pytest.raises(CalibrationError, match="up to 6.7 mm from a line"):
        position_to_width([(0.0, 0.085), (0.4, 0.0525), (0.8, 0.0)])
    with pytest.raises(CalibrationError, match="at different positions"):
        position_to_width([(0.1, 0.085)])
    with pytest.raises(CalibrationError, match="give metres"):
        position_to_width([(0.0, 85.0), (0.8, 0.0)])
