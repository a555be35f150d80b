"""Whether a stored calibration still holds: pass, or what moved."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from benchmarks._calibration_cell import IN_HAND, LENS, TO_HAND, Cell, Truth
from tests.calibration.test_hand_eye import samples
from tests.calibration.test_intrinsics import ideal_views
from world2act_core.calibration.board import CalibrationError
from world2act_core.calibration.camera_info import StoredIntrinsics
from world2act_core.calibration.check import check_hand_eye, check_intrinsics, compare_with_factory
from world2act_core.calibration.hand_eye import Sample
from world2act_core.calibration.store import StaticTransform
from world2act_core.types import Array

ERRORS = {"held_out_px": 0.3}


def intrinsics(cell: Cell) -> StoredIntrinsics:
    return StoredIntrinsics("wrist", cell.camera, errors=ERRORS)


def transform(truth: Truth) -> StaticTransform:
    return StaticTransform("wrist", truth.kind, "hand", "wrist_optical", truth.camera, "", "", "", ERRORS)


def test_an_unchanged_camera_passes(cell: Cell) -> None:
    verdict = check_intrinsics(intrinsics(cell), ideal_views(cell, 12, seed=9))
    assert verdict.passed and str(verdict).startswith("pass  intrinsics: 0.")


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        ([[630.0, 0, 322.3], [0, 628.5, 238.1], [0, 0, 1]], r"the focal length changed by \+(2\.[6-9]|3\.[0-2])%"),
        ([[612.0, 0, 337.3], [0, 610.5, 231.1], [0, 0, 1]], "the image's centre moved by 1[67]"),
    ],
)
def test_a_lens_that_was_touched_fails_and_says_how(matrix: list[list[float]], said: str) -> None:
    touched = Cell(lens=replace(LENS, matrix=np.array(matrix)))
    verdict = check_intrinsics(intrinsics(Cell()), ideal_views(touched, 20))
    assert not verdict.passed and "FAIL" in str(verdict)
    assert re.search(said, verdict.said), verdict.said


def test_too_few_views_or_another_size_are_refused(cell: Cell) -> None:
    with pytest.raises(CalibrationError, match="the board is seen in 2 images, at least 3"):
        check_intrinsics(intrinsics(cell), ideal_views(cell, 2))
    other = [replace(view, size=(1280, 960)) for view in ideal_views(cell, 4)]
    with pytest.raises(CalibrationError, match="the images are 1280x960, the calibration is of 640x480"):
        check_intrinsics(intrinsics(cell), other)


@pytest.mark.parametrize("truth", [IN_HAND, TO_HAND], ids=lambda truth: truth.kind)
def test_a_camera_that_stayed_passes_wherever_the_board_is(cell: Cell, truth: Truth) -> None:
    shifted = truth.board.copy()
    shifted[:3, 3] += [0.01, -0.02, 0.0]
    verdict = check_hand_eye(transform(truth), samples(cell, replace(truth, board=shifted), 6), cell.camera)
    assert verdict.passed, str(verdict)


def test_a_camera_that_was_knocked_fails_and_says_how_far(cell: Cell) -> None:
    knocked = IN_HAND.camera.copy()
    knocked[:3, 3] += [0.012, 0.0, 0.001]
    knocked[:3, :3] = knocked[:3, :3] @ Rotation.from_rotvec([0, 0.02, 0]).as_matrix()
    verdict = check_hand_eye(transform(IN_HAND), samples(cell, replace(IN_HAND, camera=knocked), 15), cell.camera)
    assert not verdict.passed
    assert "the camera moved by 12." in verdict.said and "along x of hand: +12.0 mm" in verdict.said
    assert "1.1" in verdict.said.rpartition(" and ")[2]


def test_a_board_that_slipped_during_the_check_is_not_blamed_on_the_camera(cell: Cell) -> None:
    slipped = IN_HAND.board.copy()
    slipped[:3, 3] += [0.02, 0.0, 0.0]
    given: list[Sample] = samples(cell, IN_HAND, 12) + samples(cell, replace(IN_HAND, board=slipped), 6, seed=3)
    verdict = check_hand_eye(transform(IN_HAND), given, cell.camera)
    assert not verdict.passed and "the board moved" in verdict.said


def test_two_poses_are_too_few_to_check(cell: Cell) -> None:
    with pytest.raises(CalibrationError, match="2 poses of the arm with the board in sight are too few"):
        check_hand_eye(transform(IN_HAND), samples(cell, IN_HAND, 2), cell.camera)


def test_a_factory_calibration_is_compared_over_the_image(cell: Cell) -> None:
    def factory(pixels: Array) -> Array:
        """The same lens with a focal length 1 % shorter."""
        matrix = cell.camera.matrix.copy()
        matrix[0, 0] *= 0.99
        matrix[1, 1] *= 0.99
        return replace(cell.camera, matrix=matrix).rays(pixels)

    mean, largest, said = compare_with_factory(
        cell.camera, factory, {"fx": 605.9, "fy": 604.4, "cx": 322.3, "cy": 238.1}
    )
    assert 1.0 < mean < largest < 6.0 and "fx 612.0 against 605.9" in said
    mean, largest, _ = compare_with_factory(cell.camera, cell.camera.rays, cell.camera.parameters)
    assert largest < 0.01
