"""Intrinsics from views of a board: OpenCV's calibration, with views that do not fit left out and its errors told.

Zhang, "A flexible new technique for camera calibration" (2000), as in ``cv2.calibrateCamera``. The covariance is that
of least squares, with the poses of the board eliminated; the held-out error is measured on views that the calibration
has not seen, on other corners than those from which the board's pose was found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from world2act_core.calibration.board import CalibrationError
from world2act_core.calibration.camera_model import LENS, MODELS, CameraModel, rms
from world2act_core.calibration.coverage import rough_pose
from world2act_core.calibration.detection import Rejected, View, spread
from world2act_core.types import Array

FEWEST_VIEWS = 8
FOLDS = 5
OUTLIER, OUTLIER_PX = 3.0, 0.3  # of the median, and at least
UNCERTAIN = 0.01  # of the focal length; above, the views do not determine it
LEAST_TILT_DEG = 10.0


@dataclass(frozen=True)
class Intrinsics:
    """A calibration with its errors.

    Attributes:
        camera: the result.
        covariance: ``(P, P)`` of ``camera.parameters``, in their order.
        noise_px: standard deviation of one coordinate of a corner, as the residuals tell.
        error_px: reprojection error of the views used, root of the mean squared length.
        held_out_px: the same on views and corners that were not used.
        used: names of the views.
        rejected: views that were left out, with reasons.
    """

    camera: CameraModel
    covariance: Array
    noise_px: float
    error_px: float
    held_out_px: float
    used: tuple[str, ...]
    rejected: tuple[Rejected, ...]

    @property
    def deviations(self) -> dict[str, float]:
        """Standard deviation of every parameter."""
        return dict(zip(self.camera.parameters, map(float, np.sqrt(np.diag(self.covariance))), strict=True))


def calibrate_intrinsics(
    views: Sequence[View], model: str = "plumb_bob", say: Callable[[str], None] = lambda _: None
) -> Intrinsics:
    """Calibrate a camera.

    Args:
        views: of one board through one camera.
        say: is told how far it is.

    Raises:
        CalibrationError: too few views, of different sizes, or of poses that do not determine the camera.
    """
    _check(views)
    say(f"calibrating with {len(views)} views")
    used, rejected = list(views), list[Rejected]()
    camera, poses = _solve(used, model)
    for _ in range(4):
        errors = np.array([rms(_errors(camera, pose, view)) for pose, view in zip(poses, used, strict=True)])
        limit = max(OUTLIER * float(np.median(errors)), OUTLIER_PX)
        out = errors > limit
        if not out.any():
            break
        rejected += [
            Rejected(view.name, f"its corners lie {error:.2f} px from where they should, the median is "
                     f"{np.median(errors):.2f} px: something moved, or the board is not flat")
            for view, error in zip(used, errors, strict=True) if error > limit
        ]  # fmt: skip
        used = [view for view, bad in zip(used, out, strict=True) if not bad]
        _check(used, f" ({len(rejected)} were left out: {rejected[0].name}: {rejected[0].reason})")
        camera, poses = _solve(used, model)
    covariance, noise = _covariance(camera, poses, used)
    focal = camera.matrix[0, 0]
    if not np.isfinite(covariance).all() or np.sqrt(covariance[0, 0]) > UNCERTAIN * focal:
        raise CalibrationError(
            f"the focal length is known only to {np.sqrt(abs(covariance[0, 0])) / focal:.1%}: take views of the board "
            "tilted by 30 degrees to each side, near and far"
        )
    say(f"measuring the held-out error in {FOLDS} parts")
    fit = np.concatenate([_errors(camera, pose, view) for pose, view in zip(poses, used, strict=True)])
    names = tuple(view.name for view in used)
    return Intrinsics(camera, covariance, noise, rms(fit), _held_out(used, model), names, tuple(rejected))


def _check(views: Sequence[View], more: str = "") -> None:
    if len(views) < FEWEST_VIEWS:
        raise CalibrationError(
            f"{len(views)} views of the board are not enough, at least {FEWEST_VIEWS} are needed{more}"
        )
    sizes = {view.size for view in views}
    if len(sizes) > 1:
        listed = " and ".join(f"{width}x{height}" for width, height in sorted(sizes))
        raise CalibrationError(f"the images are of different sizes, {listed}: calibrate each size by itself")
    normals = np.array([rough_pose(view)[:3, 2] for view in views])
    tilt = np.degrees(np.arccos(np.clip(normals @ normals.T, -1, 1)))
    if tilt.max() < LEAST_TILT_DEG:
        raise CalibrationError(
            f"the board has the same tilt in all {len(views)} views (within {tilt.max():.0f} degrees), so focal length "
            "and distance cannot be told apart: tilt it by 30 degrees to each side"
        )


def _solve(views: Sequence[View], model: str) -> tuple[CameraModel, list[Array]]:
    names, flags = MODELS[model]
    points = [view.points.astype(np.float32).reshape(-1, 1, 3) for view in views]
    pixels = [view.pixels.astype(np.float32).reshape(-1, 1, 2) for view in views]
    until = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-9)
    width, height = views[0].size
    start = np.array([[width, 0, (width - 1) / 2], [0, width, (height - 1) / 2], [0, 0, 1]], np.float64)
    try:
        _, matrix, distortion, rotations, translations = cv2.calibrateCamera(
            points, pixels, views[0].size, start, None, None, None, flags | cv2.CALIB_USE_INTRINSIC_GUESS, until
        )
    except cv2.error as error:
        raise CalibrationError(f"OpenCV finds no camera for these {len(views)} views: {_one_line(error)}") from error
    poses = []
    for rotation, translation in zip(rotations, translations, strict=True):
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = cv2.Rodrigues(rotation)[0], np.ravel(translation)
        poses.append(pose)
    return CameraModel(views[0].size, matrix, model, np.ravel(distortion)[: len(names)].astype(np.float64)), poses


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _errors(camera: CameraModel, pose: Array, view: View) -> Array:
    return camera.project(pose, view.points) - view.pixels


def _covariance(camera: CameraModel, poses: Sequence[Array], views: Sequence[View]) -> tuple[Array, float]:
    """Of the parameters with the poses eliminated (Schur complement), and the noise of one coordinate, px."""
    count = len(LENS) + len(camera.distortion)
    normal, squares, coordinates = np.zeros((count, count)), 0.0, 0
    for pose, view in zip(poses, views, strict=True):
        rotation = cv2.Rodrigues(pose[:3, :3])[0]
        pixels, jacobian = cv2.projectPoints(view.points, rotation, pose[:3, 3], camera.matrix, camera.distortion)
        moves, lens = jacobian[:, :6], jacobian[:, 6 : 6 + count]
        cross = moves.T @ lens
        normal += lens.T @ lens - cross.T @ np.linalg.solve(moves.T @ moves, cross)
        squares += float(((pixels.reshape(-1, 2) - view.pixels) ** 2).sum())
        coordinates += 2 * len(view.pixels)
    noise = np.sqrt(squares / max(1, coordinates - 6 * len(views) - count))
    scale = np.sqrt(np.diag(normal))  # its units differ by many powers of ten
    inverse = np.linalg.pinv(normal / np.outer(scale, scale), hermitian=True)
    return np.asarray(noise**2 * inverse / np.outer(scale, scale)), float(noise)


def _held_out(views: Sequence[View], model: str) -> float:
    """Every view is left out once; its board's pose comes from half of the corners, the error from the others."""
    errors = []
    for fold in range(FOLDS):
        camera, _ = _solve([view for k, view in enumerate(views) if k % FOLDS != fold], model)
        errors += [held_out_errors(camera, view) for view in views[fold::FOLDS]]
    return rms(np.concatenate(errors))


def held_out_errors(camera: CameraModel, view: View) -> Array:
    """Errors ``(N, 2)`` px of half of a view's corners when the other half says where the board is."""
    order = np.random.default_rng(0).permutation(len(view.ids))  # a fixed half that is spread over the board
    placing, judged = np.sort(order[: (len(order) + 1) // 2]), np.sort(order[(len(order) + 1) // 2 :])
    if not spread(view.points[placing]):
        return np.zeros((0, 2))
    pose = camera.board_pose(view.points[placing], view.pixels[placing])
    return np.asarray(camera.project(pose, view.points[judged]) - view.pixels[judged])
