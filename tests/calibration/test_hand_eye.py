"""Hand-eye calibration against a known place of the camera, and motions that do not determine it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from benchmarks._calibration_cell import IN_HAND, TO_HAND, Cell, Truth
from world2act_core.calibration.board import CalibrationError
from world2act_core.calibration.detection import BoardDetector, View
from world2act_core.calibration.hand_eye import SOLVERS, WORLD_SOLVERS, HandEye, Sample, calibrate_hand_eye
from world2act_core.calibration.poses import difference

TRUTHS = pytest.mark.parametrize("truth", [IN_HAND, TO_HAND], ids=lambda truth: truth.kind)


def samples(cell: Cell, truth: Truth, count: int, noise_px: float = 0.2, seed: int = 0) -> list[Sample]:
    rng = np.random.default_rng(seed)
    made = []
    for k, joints in enumerate(cell.joints_for(truth, count, seed)):
        made.append(Sample(cell.corners(cell.seen(truth, joints), rng, noise_px, f"{k}"), cell.hand(joints)))
    return made


def turned(cell: Cell, about: Sequence[Sequence[float]], degrees: float, count: int = 12) -> list[Sample]:
    """Poses of the hand that differ by rotations about given axes of the hand."""
    rng = np.random.default_rng(1)
    home = cell.hand(cell.joints_for(IN_HAND, 1, 0)[0])
    made = []
    for k in range(count):
        arm = home.copy()
        turn = sum(np.radians(rng.uniform(-degrees, degrees)) * np.asarray(axis) for axis in about)
        arm[:3, :3] = home[:3, :3] @ Rotation.from_rotvec(turn).as_matrix()
        arm[:3, 3] += rng.uniform(-0.03, 0.03, 3)
        board = np.linalg.inv(arm @ IN_HAND.camera) @ IN_HAND.board
        made.append(Sample(cell.corners(board, rng, 0.2, f"{k}"), arm))
    return made


@pytest.fixture(scope="module")
def results(cell: Cell) -> dict[str, HandEye]:
    """Thirty poses with 0.2 px of noise, of both kinds."""
    made = {}
    for truth in (IN_HAND, TO_HAND):
        made[truth.kind] = calibrate_hand_eye(samples(cell, truth, 30), cell.camera, truth.kind)
    return made


@TRUTHS
def test_thirty_poses_with_noise_find_the_camera(results: dict[str, HandEye], truth: Truth) -> None:
    metres, degrees = difference(results[truth.kind].camera_pose, truth.camera)
    assert metres < 0.001 and degrees < 0.1
    board_m, board_deg = difference(results[truth.kind].board_pose, truth.board)
    assert board_m < 0.001 and board_deg < 0.1


@TRUTHS
def test_stated_deviations_hold_the_truth(results: dict[str, HandEye], truth: Truth) -> None:
    result = results[truth.kind]
    off_mm = 1000 * np.abs(result.camera_pose[:3, 3] - truth.camera[:3, 3])
    assert (off_mm < 4 * result.translation_mm).all()
    turn = Rotation.from_matrix(truth.camera[:3, :3].T @ result.camera_pose[:3, :3]).as_rotvec(degrees=True)
    assert (np.abs(turn) < 4 * result.rotation_deg).all()


@TRUTHS
def test_refinement_beats_every_solver(results: dict[str, HandEye], truth: Truth) -> None:
    result = results[truth.kind]
    assert set(result.solvers) == {*SOLVERS, *WORLD_SOLVERS}
    assert result.error_px < min(result.solvers.values())
    assert result.error_px == pytest.approx(0.2 * np.sqrt(2), rel=0.1)
    assert result.error_px * 0.95 < result.held_out_px < 1.2 * result.error_px


def test_a_pose_of_another_moment_is_left_out(cell: Cell) -> None:
    given = samples(cell, IN_HAND, 15)
    arm = given[3].arm.copy()
    arm[:3, 3] += [0.02, -0.01, 0.0]
    given[3] = Sample(given[3].view, arm)
    result = calibrate_hand_eye(given, cell.camera, IN_HAND.kind)
    assert [entry.name for entry in result.rejected] == ["3"] and "from where the arm says" in result.rejected[0].reason
    assert difference(result.camera_pose, IN_HAND.camera)[0] < 0.001


def test_a_board_of_another_size_is_noticed(cell: Cell) -> None:
    """Printed at 97 %: every distance is wrong, and only the arm knows."""
    printed = [Sample(replace(s.view, points=s.view.points / 0.97), s.arm) for s in samples(cell, IN_HAND, 20)]
    result = calibrate_hand_eye(printed, cell.camera, IN_HAND.kind)
    assert result.board_scale[0] == pytest.approx(0.97, abs=0.003)
    assert "-3.0 %" in result.warning


def test_a_true_board_gives_no_warning(results: dict[str, HandEye]) -> None:
    assert all(result.warning == "" for result in results.values())


def test_two_poses_are_refused(cell: Cell) -> None:
    with pytest.raises(CalibrationError, match="2 different poses of the arm are not enough: at least 6"):
        calibrate_hand_eye(samples(cell, IN_HAND, 2), cell.camera, IN_HAND.kind)


def test_repetitions_do_not_count_as_poses(cell: Cell) -> None:
    with pytest.raises(CalibrationError, match="3 different poses"):
        calibrate_hand_eye(samples(cell, IN_HAND, 3) * 5, cell.camera, IN_HAND.kind)


def test_rotations_about_one_axis_are_refused_with_the_missing_ones(cell: Cell) -> None:
    with pytest.raises(CalibrationError, match=r"about one axis, \(.*1\.00\) of the hand.*about its x and y axis too"):
        calibrate_hand_eye(turned(cell, [[0, 0, 1]], 40), cell.camera, IN_HAND.kind)
    both = calibrate_hand_eye(turned(cell, [[0, 0, 1], [1, 0, 0]], 25, 20), cell.camera, IN_HAND.kind)
    assert difference(both.camera_pose, IN_HAND.camera)[0] < 0.005, "a second axis is enough"


def test_a_hand_that_does_not_turn_is_refused(cell: Cell) -> None:
    with pytest.raises(CalibrationError, match="the hand turned by at most"):
        calibrate_hand_eye(turned(cell, np.eye(3).tolist(), 4), cell.camera, IN_HAND.kind)


def test_poses_in_millimetres_are_refused(cell: Cell) -> None:
    given = []
    for sample in samples(cell, IN_HAND, 8):
        arm = sample.arm.copy()
        arm[:3, 3] *= 1000
        given.append(Sample(sample.view, arm))
    with pytest.raises(CalibrationError, match="they seem to be in millimetres"):
        calibrate_hand_eye(given, cell.camera, IN_HAND.kind)


@TRUTHS
def test_the_wrong_kind_is_refused(cell: Cell, truth: Truth) -> None:
    other = TO_HAND.kind if truth is IN_HAND else IN_HAND.kind
    with pytest.raises(CalibrationError, match=f"is the camera {truth.kind} instead"):
        calibrate_hand_eye(samples(cell, truth, 12), cell.camera, other)


@pytest.mark.slow
@TRUTHS
def test_rendered_images_with_noise_find_the_camera(cell: Cell, truth: Truth, rng: np.random.Generator) -> None:
    """Images as a camera gives them, and 0.2 px more noise on every corner."""
    detector, made = BoardDetector(cell.board), []
    for joints in cell.joints_for(truth, 30, 4):
        found = detector.detect(cell.image(cell.seen(truth, joints)), "")
        if isinstance(found, View):
            pixels = found.pixels + rng.normal(0.0, 0.2, found.pixels.shape)
            made.append(Sample(replace(found, pixels=pixels), cell.hand(joints)))
    assert len(made) >= 25
    result = calibrate_hand_eye(made, cell.camera, truth.kind)
    metres, degrees = difference(result.camera_pose, truth.camera)
    assert metres < 0.001 and degrees < 0.1
