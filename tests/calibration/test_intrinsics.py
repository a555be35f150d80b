"""Intrinsics against a known lens, their stated errors, and views that do not determine them."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from benchmarks._board_scene import looking_at
from benchmarks._calibration_cell import Cell
from world2act_core.calibration.board import CalibrationError
from world2act_core.calibration.detection import BoardDetector, View
from world2act_core.calibration.intrinsics import Intrinsics, calibrate_intrinsics
from world2act_core.calibration.poses import inverse


def ideal_views(cell: Cell, count: int, noise_px: float = 0.2, seed: int = 0) -> list[View]:
    rng = np.random.default_rng(seed)
    return [cell.corners(pose, rng, noise_px, f"{k}") for k, pose in enumerate(cell.views_of_board(count, seed))]


def assert_true(result: Intrinsics, cell: Cell) -> None:
    """Within 0.5 %: of the value for focal lengths and centre; for the distortion, of where the image's rim lies."""
    found, true = result.camera.parameters, cell.camera.parameters
    for name in ("fx", "fy", "cx", "cy"):
        assert abs(found[name] / true[name] - 1) < 0.005, (name, found[name], true[name])
    rim = np.array([[0.0, 0.0], [639.0, 0.0], [0.0, 479.0], [639.0, 479.0], [320.0, 0.0], [0.0, 240.0]])
    rays = cell.camera.rays(rim)
    off = result.camera.project(np.eye(4), np.column_stack([rays, np.ones(len(rays))])) - rim
    assert np.linalg.norm(off, axis=1).max() < 0.005 * 640


@pytest.fixture(scope="module")
def result(cell: Cell) -> Intrinsics:
    return calibrate_intrinsics(ideal_views(cell, 30))


def test_thirty_views_with_noise_give_the_lens(cell: Cell, result: Intrinsics) -> None:
    assert_true(result, cell)


def test_stated_deviations_hold_the_truth(cell: Cell, result: Intrinsics) -> None:
    for name, value in result.camera.parameters.items():
        off = abs(value - cell.camera.parameters[name]) / result.deviations[name]
        assert off < 4, f"{name} is {off:.1f} standard deviations off"
    assert result.noise_px == pytest.approx(0.2, rel=0.1)


def test_errors_tell_the_noise(result: Intrinsics) -> None:
    assert result.error_px == pytest.approx(0.2 * np.sqrt(2), rel=0.15)
    assert result.error_px < result.held_out_px < 2 * result.error_px
    assert len(result.used) == 30 and not result.rejected


def test_the_covariance_is_opencvs(cell: Cell) -> None:
    views = ideal_views(cell, 12)
    ours = calibrate_intrinsics(views)
    points = [view.points.astype(np.float32) for view in views]
    pixels = [view.pixels.astype(np.float32) for view in views]
    theirs = cv2.calibrateCameraExtended(points, pixels, cell.lens.size, None, None)[5]  # type: ignore[call-overload]
    np.testing.assert_allclose(list(ours.deviations.values()), np.ravel(theirs)[:9], rtol=0.02)


def test_a_view_that_does_not_fit_is_left_out_with_its_reason(cell: Cell) -> None:
    views = ideal_views(cell, 20)
    bent = views[4].pixels + 3.0 * np.sin(views[4].points[:, :2] * 60)
    views[4] = replace(views[4], pixels=bent)
    result = calibrate_intrinsics(views)
    assert [entry.name for entry in result.rejected] == ["4"]
    assert "from where they should" in result.rejected[0].reason
    assert_true(result, cell)


def test_two_views_are_refused(cell: Cell) -> None:
    with pytest.raises(CalibrationError, match="2 views of the board are not enough, at least 8"):
        calibrate_intrinsics(ideal_views(cell, 2))


def test_a_board_that_is_never_tilted_is_refused(cell: Cell, rng: np.random.Generator) -> None:
    eyes = [cell.middle + [*rng.uniform(-0.05, 0.05, 2), -d] for d in np.linspace(0.3, 0.5, 12)]
    flat = [cell.corners(inverse(looking_at(eye, eye + [0, 0, 1])), rng, 0.2) for eye in eyes]
    with pytest.raises(CalibrationError, match="has the same tilt in all 12 views"):
        calibrate_intrinsics(flat)


def test_images_of_two_sizes_are_refused(cell: Cell) -> None:
    views = ideal_views(cell, 10)
    views[3] = replace(views[3], size=(1280, 720))
    with pytest.raises(CalibrationError, match="different sizes, 640x480 and 1280x720"):
        calibrate_intrinsics(views)


def test_a_rational_lens_can_be_asked_for(cell: Cell) -> None:
    result = calibrate_intrinsics(ideal_views(cell, 30), "rational_polynomial")
    assert list(result.camera.parameters)[-1] == "k6" and result.error_px < 0.35


@pytest.mark.slow
def test_rendered_images_give_the_lens(cell: Cell) -> None:
    detector = BoardDetector(cell.board)
    found = [detector.detect(cell.image(pose), "") for pose in cell.views_of_board(30, 3)]
    result = calibrate_intrinsics([view for view in found if isinstance(view, View)])
    assert_true(result, cell)
    assert result.held_out_px < 0.2
