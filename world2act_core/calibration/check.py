"""Whether a stored calibration still holds: pass, or what moved and by how much.

The stored numbers must explain what is seen now; a calibration of the new views says what changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from world2act_core.calibration.board import CalibrationError
from world2act_core.calibration.camera_info import StoredIntrinsics
from world2act_core.calibration.camera_model import CameraModel, rms
from world2act_core.calibration.detection import View
from world2act_core.calibration.hand_eye import EYE_IN_HAND, Sample, Stack, calibrate_hand_eye, moved
from world2act_core.calibration.intrinsics import calibrate_intrinsics, held_out_errors
from world2act_core.calibration.poses import difference, inverse, mean_pose
from world2act_core.calibration.store import StaticTransform
from world2act_core.errors import World2ActError
from world2act_core.types import Array

FEWEST_VIEWS, FEWEST_POSES = 3, 3
MOST_VIEWS = 40  # more take longer and say no more
WORSE, LEAST_PX = 2.5, 0.5  # of the error at calibration, and at least, for images of 640 pixels
FOCAL, CENTRE = 0.005, 4.0 / 640  # changes of focal length and of centre (of the width) that matter
SIGMAS = 5.0
MOVED_M, MOVED_DEG = 0.002, 0.3  # of a hand-eye calibration
HAND_EYE_PX = 1.5  # of images of 640 pixels: what an arm's own accuracy adds


@dataclass(frozen=True)
class Verdict:
    """One answer: ``what`` passed or not, measured against a limit (px), and what is known about why."""

    what: str
    passed: bool
    error_px: float
    limit_px: float
    said: str

    def __str__(self) -> str:
        said = f": {self.said}" if self.said else ""
        word = "pass" if self.passed else "FAIL"
        return f"{word}  {self.what}: {self.error_px:.2f} px (limit {self.limit_px:.2f}){said}"


def check_intrinsics(stored: StoredIntrinsics, views: Sequence[View]) -> Verdict:
    """Whether stored intrinsics explain views of a board: half of the corners place it, the others judge.

    Raises:
        CalibrationError: too few views, or images of another size.
    """
    if len(views) < FEWEST_VIEWS:
        raise CalibrationError(f"the board is seen in {len(views)} images, at least {FEWEST_VIEWS} are needed")
    if views[0].size != stored.camera.size:
        raise CalibrationError(
            f"the images are {views[0].size[0]}x{views[0].size[1]}, the calibration is of "
            f"{stored.camera.size[0]}x{stored.camera.size[1]}: give the same camera at the same size"
        )
    errors = [held_out_errors(stored.camera, view) for view in views]
    error = float(np.median([rms(e) for e in errors if len(e)]))
    limit = max(WORSE * stored.errors.get("held_out_px", 0.0), LEAST_PX * stored.camera.size[0] / 640)
    changed = _what_changed(stored, views)
    if error <= limit and not changed:
        return Verdict("intrinsics", True, error, limit, f"{len(views)} views")
    said = " and ".join(changed) or "the board is not flat or not the one of the file, or take more views to know more"
    return Verdict("intrinsics", False, error, limit, said)


def _what_changed(stored: StoredIntrinsics, views: Sequence[View]) -> list[str]:
    """What is another now, from a calibration of these views; the board's pose hides a small change of focal length."""
    try:
        now = calibrate_intrinsics(views, stored.camera.model)
    except World2ActError:
        return []  # too few or too like each other: then the error alone decides
    was = stored.camera.parameters
    changed = {name: value - was[name] for name, value in now.camera.parameters.items()}
    # Both calibrations are uncertain.
    unsure = {name: float(np.hypot(d, stored.deviations.get(name, d))) for name, d in now.deviations.items()}
    said = []
    if abs(changed["fx"]) > max(FOCAL * was["fx"], SIGMAS * unsure["fx"]):
        said.append(f"the focal length changed by {changed['fx'] / was['fx']:+.1%} (zoom, focus, or image size)")
    centre = float(np.hypot(changed["cx"], changed["cy"]))
    if centre > max(CENTRE * stored.camera.size[0], SIGMAS * float(np.hypot(unsure["cx"], unsure["cy"]))):
        said.append(f"the image's centre moved by {centre:.1f} px (lens loose, or cropped otherwise)")
    return said


def check_hand_eye(stored: StaticTransform, samples: Sequence[Sample], camera: CameraModel) -> Verdict:
    """Whether a stored hand-eye transform explains views; where the board stands now does not matter.

    Raises:
        CalibrationError: too few poses.
    """
    if len(samples) < FEWEST_POSES:
        raise CalibrationError(
            f"{len(samples)} poses of the arm with the board in sight are too few to check a hand-eye calibration, at "
            f"least {FEWEST_POSES} different ones are needed"
        )
    error, _ = _with_board_free(stored.pose, samples, camera, stored.kind)
    limit = max(WORSE * stored.errors.get("held_out_px", 0.0), HAND_EYE_PX * camera.size[0] / 640)
    if error <= limit:
        return Verdict("hand-eye", True, error, limit, f"{len(samples)} poses")
    try:
        now = calibrate_hand_eye(samples, camera, stored.kind)
    except World2ActError as unable:
        return Verdict("hand-eye", False, error, limit, f"something moved; what, these poses do not say ({unable})")
    metres, degrees = difference(stored.pose, now.camera_pose)
    if metres < MOVED_M and degrees < MOVED_DEG:
        said = "the camera is where it was: the board moved meanwhile, or the arm's poses are inaccurate"
    else:
        shift = 1000 * (now.camera_pose[:3, 3] - stored.pose[:3, 3])
        along = "xyz"[int(np.abs(shift).argmax())]
        said = (
            f"the camera moved by {1000 * metres:.1f} mm (mostly along {along} of {stored.parent_frame}: "
            f"{np.abs(shift).max() * np.sign(shift[np.abs(shift).argmax()]):+.1f} mm) and {degrees:.2f} degrees"
        )
    return Verdict("hand-eye", False, error, limit, said)


def _with_board_free(x: Array, samples: Sequence[Sample], camera: CameraModel, kind: str) -> tuple[float, Array]:
    boards = [camera.board_pose(s.view.points, s.view.pixels) for s in samples]
    arms = [s.arm if kind == EYE_IN_HAND else inverse(s.arm) for s in samples]
    start = mean_pose([arm @ x @ board for arm, board in zip(arms, boards, strict=True)])

    stack = Stack(samples, camera, kind)

    def errors(step: Array) -> Array:
        return stack.errors(x, moved(start, step))

    best = least_squares(lambda step: np.ravel(errors(step)), np.zeros(6), x_scale=0.01)
    return rms(errors(best.x)), moved(start, best.x)


def evenly(views: Sequence[View], most: int = MOST_VIEWS) -> list[View]:
    """At most ``most`` views, evenly over all."""
    return [views[k] for k in np.unique(np.linspace(0, len(views) - 1, min(most, len(views))).astype(int))]


def compare_with_factory(
    camera: CameraModel, rays: Callable[[Array], Array], factory: dict[str, float]
) -> tuple[float, float, str]:
    """How far a calibration and a factory's are apart over the image: mean and largest distance in px, and a sentence.

    Args:
        rays: the factory's model: pixels ``(N, 2)`` → directions ``(N, 2)`` x/z, y/z; whatever its kind of distortion.
        factory: ``fx fy cx cy`` of it.
    """
    width, height = camera.size
    grid = np.stack(np.meshgrid(np.linspace(0, width - 1, 17), np.linspace(0, height - 1, 13)), axis=-1).reshape(-1, 2)
    directions = rays(grid)
    points = np.column_stack([directions, np.ones(len(directions))])
    apart = np.linalg.norm(camera.project(np.eye(4), points) - grid, axis=1)
    ours = camera.parameters
    parts = ", ".join(f"{name} {ours[name]:.1f} against {factory[name]:.1f}" for name in ("fx", "fy", "cx", "cy"))
    mean, largest = float(apart.mean()), float(apart.max())
    said = f"factory: {mean:.2f} px apart on average, {largest:.2f} px at most ({parts})"
    return mean, largest, said
