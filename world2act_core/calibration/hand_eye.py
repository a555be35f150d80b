"""Hand-eye calibration: OpenCV's solvers compared, the best refined by minimising reprojection error.

One equation serves both arrangements. With B the pose of the end effector in the base's frame, the board is seen at
``inv(X) A Z``. Eye-in-hand: A = inv(B), X is the camera on the hand, Z the board in the base's frame. Eye-to-hand:
A = B, X is the camera in the base's frame, Z the board on the hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from world2act_core.calibration.board import CalibrationError
from world2act_core.calibration.camera_model import CameraModel, rms
from world2act_core.calibration.detection import Rejected, View
from world2act_core.calibration.files import EYE_IN_HAND, EYE_TO_HAND, KINDS
from world2act_core.calibration.motion import FEWEST_POSES, check_motion, check_reach, distinct
from world2act_core.calibration.poses import inverse, mean_pose
from world2act_core.types import Array

SOLVERS = {
    "tsai": cv2.CALIB_HAND_EYE_TSAI,
    "park": cv2.CALIB_HAND_EYE_PARK,
    "horaud": cv2.CALIB_HAND_EYE_HORAUD,
    "andreff": cv2.CALIB_HAND_EYE_ANDREFF,
    "daniilidis": cv2.CALIB_HAND_EYE_DANIILIDIS,
}
WORLD_SOLVERS = {"shah": cv2.CALIB_ROBOT_WORLD_HAND_EYE_SHAH, "li": cv2.CALIB_ROBOT_WORLD_HAND_EYE_LI}
OUTLIER, OUTLIER_PX = 3.0, 1.0  # of the median, and at least
FOLDS = 5
LARGEST_ERROR = 6.0 / 640  # of the image's width; above, the data contradict themselves


@dataclass(frozen=True)
class Sample:
    """A view of the board, and where the end effector was: ``arm`` ``(4, 4)`` in the base's frame."""

    view: View
    arm: Array


@dataclass(frozen=True)
class HandEye:
    """A hand-eye calibration with its errors.

    Attributes:
        kind: of KINDS.
        camera_pose: X, ``(4, 4)``: the camera's optical frame on the hand or in the base's frame, m.
        board_pose: Z, ``(4, 4)``.
        translation_mm, rotation_deg: standard deviations ``(3,)`` of X, along the parent's axes and about the camera's.
        error_px: reprojection error, root of the mean squared length.
        held_out_px: the same on poses that were not used.
        solvers: reprojection error of each of OpenCV's solvers before refinement, px.
        board_scale: size of the board by the arm's motion over its size by its file, and the standard deviation.
        used, rejected: names of the views, and those left out with reasons.
    """

    kind: str
    camera_pose: Array
    board_pose: Array
    translation_mm: Array
    rotation_deg: Array
    error_px: float
    held_out_px: float
    solvers: dict[str, float]
    board_scale: tuple[float, float]
    used: tuple[str, ...]
    rejected: tuple[Rejected, ...]

    @property
    def warning(self) -> str:
        """What is odd about it, "" if nothing."""
        scale, deviation = self.board_scale
        if abs(scale - 1.0) > max(0.01, 4 * deviation):
            return (
                f"the arm's motion says that the board is {100 * (scale - 1):+.1f} % of what its file says: "
                "measure its squares, and check the focal length"
            )
        return ""


def calibrate_hand_eye(
    samples: Sequence[Sample], camera: CameraModel, kind: str, say: Callable[[str], None] = lambda _: None
) -> HandEye:
    """Where the camera is.

    Args:
        samples: at least 6 different poses, better 20 to 30, turned about two axes by 30 degrees and more.
        camera: the intrinsics of the images.
        kind: ``eye_in_hand`` or ``eye_to_hand``.
        say: is told how far it is.

    Raises:
        CalibrationError: the motion is degenerate, or the poses and images contradict each other; says what is missing.
    """
    if kind not in KINDS:
        raise CalibrationError(f"the camera is {kind!r}, which is not one of {', '.join(KINDS)}")
    check_reach([sample.arm for sample in samples])
    different = set(distinct([sample.arm for sample in samples]))
    used = [sample for k, sample in enumerate(samples) if k in different]
    again = [sample for k, sample in enumerate(samples) if k not in different]
    rejected = [Rejected(sample.view.name, "the arm's pose is one that was there") for sample in again]
    say(f"solving with {len(used)} poses, {len(rejected)} are repetitions")
    check_motion([sample.arm for sample in used])
    solutions = solutions_of(used, camera, kind)
    if not solutions:
        raise CalibrationError("none of OpenCV's hand-eye solvers finds a solution: take poses with larger rotations")
    start = min(solutions.values(), key=lambda found: found[0])[1:]
    say("refining by reprojection error")
    x, z, used, more = _refine_without_outliers(used, camera, kind, *start)
    _check_fit(used, camera, kind, x, z, more)
    translation, rotation = _deviations(used, camera, kind, x, z)
    say(f"measuring the held-out error in {FOLDS} parts")
    return HandEye(
        kind=kind,
        camera_pose=x,
        board_pose=z,
        translation_mm=1000 * translation,
        rotation_deg=np.degrees(rotation),
        error_px=rms(_errors(used, camera, kind, x, z)),
        held_out_px=_held_out(used, camera, kind, x, z),
        solvers={name: found[0] for name, found in solutions.items()},
        board_scale=_board_scale(used, camera, kind, x, z),
        used=tuple(sample.view.name for sample in used),
        rejected=(*rejected, *more),
    )


def carried(arm: Array, kind: str) -> Array:
    """A of the equation, from the pose of the end effector."""
    return inverse(arm) if kind == EYE_IN_HAND else arm


def seen_at(x: Array, arm: Array, z: Array, kind: str) -> Array:
    """Where the camera sees the board: ``inv(X) A Z``."""
    return np.asarray(inverse(x) @ carried(arm, kind) @ z)


def solutions_of(samples: Sequence[Sample], camera: CameraModel, kind: str) -> dict[str, tuple[float, Array, Array]]:
    """Solver → (reprojection error px, X, Z), of those that find one."""
    boards = [camera.board_pose(sample.view.points, sample.view.pixels) for sample in samples]
    arms = [inverse(carried(sample.arm, kind)) for sample in samples]  # what OpenCV calls gripper to base
    found: dict[str, tuple[float, Array, Array]] = {}
    for name, number in (*SOLVERS.items(), *WORLD_SOLVERS.items()):
        try:
            x = _opencv(arms, boards, number, world=name in WORLD_SOLVERS)
        except cv2.error:
            continue  # a solver that cannot; the others are compared
        if not np.isfinite(x).all() or abs(np.linalg.det(x[:3, :3]) - 1) > 1e-3:
            continue
        z = mean_pose([arm @ x @ board for arm, board in zip(arms, boards, strict=True)])
        found[name] = (rms(_errors(samples, camera, kind, x, z)), x, z)
    return found


def _opencv(arms: Sequence[Array], boards: Sequence[Array], number: int, world: bool) -> Array:
    turns, places = [board[:3, :3] for board in boards], [board[:3, 3] for board in boards]
    x = np.eye(4)
    if world:
        back = [inverse(arm) for arm in arms]
        *_, rotation, translation = cv2.calibrateRobotWorldHandEye(
            turns, places, [b[:3, :3] for b in back], [b[:3, 3] for b in back], method=number
        )
        x[:3, :3], x[:3, 3] = rotation, np.ravel(translation)  # from the hand to the camera
        return inverse(x)
    rotation, translation = cv2.calibrateHandEye(
        [arm[:3, :3] for arm in arms], [arm[:3, 3] for arm in arms], turns, places, method=number
    )
    x[:3, :3], x[:3, 3] = rotation, np.ravel(translation)
    return x


class Stack:
    """Samples as arrays, so that a fit projects all corners at once."""

    def __init__(self, samples: Sequence[Sample], camera: CameraModel, kind: str) -> None:
        self._camera = camera
        self._arms = np.stack([carried(sample.arm, kind) for sample in samples])
        self._points = np.concatenate([sample.view.points for sample in samples])
        self._pixels = np.concatenate([sample.view.pixels for sample in samples])
        self._of = np.repeat(np.arange(len(samples)), [len(sample.view.ids) for sample in samples])

    def errors(self, x: Array, z: Array, scale: float = 1.0, arms: Array | None = None) -> Array:
        """Reprojection errors ``(N, 2)`` px of all corners; ``arms`` ``(S, 4, 4)``: other A than the samples'."""
        boards = inverse(x) @ (self._arms if arms is None else arms) @ z
        seen = np.einsum("nij,nj->ni", boards[self._of, :3, :3], scale * self._points) + boards[self._of, :3, 3]
        return np.asarray(self._camera.project_seen(seen) - self._pixels)


def _errors(samples: Sequence[Sample], camera: CameraModel, kind: str, x: Array, z: Array) -> Array:
    return Stack(samples, camera, kind).errors(x, z)


def moved(pose: Array, step: Array) -> Array:
    """A pose turned about its own axes by ``step[:3]`` rad and shifted along its parent's by ``step[3:]`` m."""
    new = pose.copy()
    new[:3, :3] = pose[:3, :3] @ Rotation.from_rotvec(step[:3]).as_matrix()
    new[:3, 3] += step[3:]
    return new


def refine(
    samples: Sequence[Sample], camera: CameraModel, kind: str, x: Array, z: Array, robust: bool = False
) -> tuple[Array, Array]:
    stack = Stack(samples, camera, kind)

    def residuals(step: Array) -> Array:
        return np.ravel(stack.errors(moved(x, step[:6]), moved(z, step[6:12])))

    # An arm that moved during one image must not pull the others along.
    best = least_squares(residuals, np.zeros(12), x_scale=0.01, loss="soft_l1" if robust else "linear", f_scale=0.5).x
    return moved(x, best[:6]), moved(z, best[6:])


def _refine_without_outliers(
    samples: list[Sample], camera: CameraModel, kind: str, x: Array, z: Array
) -> tuple[Array, Array, list[Sample], list[Rejected]]:
    x, z = refine(samples, camera, kind, x, z, robust=True)
    errors = np.array([rms(_errors([sample], camera, kind, x, z)) for sample in samples])
    limit = max(OUTLIER * float(np.median(errors)), OUTLIER_PX)
    used = [sample for sample, error in zip(samples, errors, strict=True) if error <= limit]
    rejected = [
        Rejected(sample.view.name, f"it lies {error:.1f} px from where the arm says, the median is "
                 f"{np.median(errors):.2f} px: the arm or the board moved, or the pose is of another moment")
        for sample, error in zip(samples, errors, strict=True) if error > limit
    ]  # fmt: skip
    if rejected:
        check_motion([sample.arm for sample in used])
    return *refine(used, camera, kind, x, z), used, rejected


def _check_fit(
    samples: Sequence[Sample], camera: CameraModel, kind: str, x: Array, z: Array, rejected: Sequence[Rejected]
) -> None:
    error = rms(_errors(samples, camera, kind, x, z))
    other = EYE_TO_HAND if kind == EYE_IN_HAND else EYE_IN_HAND
    if error > LARGEST_ERROR * camera.size[0] or len(rejected) > len(samples):
        raise CalibrationError(
            f"no place of the camera explains the images: the best is {error:.1f} px off, {len(rejected)} of "
            f"{len(rejected) + len(samples)} poses do not fit; is the camera {other} instead, the pose that of another "
            "link, the board's file another's, or did the board move?"
        )


def _covariance(residuals: Callable[[Array], Array], count: int) -> Array:
    """``(count, count)`` of the parameters of a fit at its minimum, which is at zero."""
    solved = least_squares(residuals, np.zeros(count), x_scale=0.01, max_nfev=2)
    freedom = max(1, len(solved.fun) - count)
    return np.asarray(2 * solved.cost / freedom * np.linalg.pinv(solved.jac.T @ solved.jac))


def _deviations(samples: Sequence[Sample], camera: CameraModel, kind: str, x: Array, z: Array) -> tuple[Array, Array]:
    """Of X: ``(3,)`` m and ``(3,)`` rad."""
    stack = Stack(samples, camera, kind)
    covariance = _covariance(lambda step: np.ravel(stack.errors(moved(x, step[:6]), moved(z, step[6:]))), 12)
    deviations = np.sqrt(np.diag(covariance))
    return deviations[3:6], deviations[:3]


def _board_scale(samples: Sequence[Sample], camera: CameraModel, kind: str, x: Array, z: Array) -> tuple[float, float]:
    stack = Stack(samples, camera, kind)

    def residuals(step: Array) -> Array:
        return np.ravel(stack.errors(moved(x, step[:6]), moved(z, step[6:12]), float(np.exp(step[12]))))

    best = least_squares(residuals, np.zeros(13), x_scale=0.01)
    freedom = max(1, len(best.fun) - 13)
    variance = 2 * best.cost / freedom * np.linalg.pinv(best.jac.T @ best.jac)[12, 12]
    return float(np.exp(best.x[12])), float(np.sqrt(variance))


def _held_out(samples: Sequence[Sample], camera: CameraModel, kind: str, x: Array, z: Array) -> float:
    errors = []
    for fold in range(min(FOLDS, len(samples))):
        kept = [sample for k, sample in enumerate(samples) if k % FOLDS != fold]
        if len(kept) < FEWEST_POSES - 1:
            return float("nan")
        errors.append(_errors(samples[fold::FOLDS], camera, kind, *refine(kept, camera, kind, x, z)))
    return rms(np.concatenate(errors))
