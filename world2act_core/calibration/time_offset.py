"""How late a camera's stamps are on the robot's clock, from a recording in which the arm moves.

The speed at which the hand turns is the same seen by the camera and told by the joints, wherever the camera sits: its
correlation gives the offset to a few milliseconds. Reprojection error, with the offset as one more unknown, gives it
more exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares
from scipy.signal import find_peaks
from scipy.spatial.transform import Rotation

from world2act_core.calibration.board import CalibrationError
from world2act_core.calibration.camera_model import CameraModel, rms
from world2act_core.calibration.detection import View
from world2act_core.calibration.hand_eye import EYE_IN_HAND, LARGEST_ERROR, Sample, Stack, moved, refine, solutions_of
from world2act_core.calibration.motion import check_motion
from world2act_core.calibration.poses import inverse
from world2act_core.calibration.track import ArmTrack
from world2act_core.types import Array

LARGEST_OFFSET_S = 0.5
STEP_S = 0.005
FEWEST_VIEWS = 25
LONGEST_STEP_S = 0.3  # between two views of which a speed is taken
LEAST_SPEED_DEG_S = 4.0  # how much the speed of turning must vary
LEAST_CORRELATION = 0.7
AS_GOOD = 0.97  # of the best correlation, at an offset of its own
REFINED_VIEWS = 60


@dataclass(frozen=True)
class TimeOffset:
    """The result.

    Attributes:
        offset_s: to be added to an image's stamp to get the moment of exposure on the robot's clock; negative where
            stamps are late, as they nearly always are.
        deviation_s: its standard deviation.
        correlation: of the two speeds of turning at the offset, at most 1.
        coarse_s: the offset by correlation alone.
        error_px: reprojection error with the offset.
        without_px: the same if the stamps were believed.
        views: how many were used.
    """

    offset_s: float
    deviation_s: float
    correlation: float
    coarse_s: float
    error_px: float
    without_px: float
    views: int


def calibrate_time(
    views: Sequence[View],
    track: ArmTrack,
    camera: CameraModel,
    kind: str,
    say: Callable[[str], None] = lambda _: None,
) -> TimeOffset:
    """The offset between a camera's stamps and the robot's clock.

    Args:
        views: of the board while the arm moves, with stamps, at 5 Hz or more.
        track: the arm's poses meanwhile.
        kind: ``eye_in_hand`` or ``eye_to_hand``.

    Raises:
        CalibrationError: too few views, too little motion, or motion that repeats itself; says what to do.
    """
    stamps = np.array([view.stamp_s for view in views], np.float64)
    reach = (stamps > track.stamps[0] + LARGEST_OFFSET_S) & (stamps < track.stamps[-1] - LARGEST_OFFSET_S)
    kept = [view for view, inside in zip(views, reach, strict=True) if inside]
    if len(kept) < FEWEST_VIEWS:
        raise CalibrationError(
            f"{len(kept)} views of the board while the arm's poses are known ({track.stamps[0]:.1f} to "
            f"{track.stamps[-1]:.1f} s) are not enough, at least {FEWEST_VIEWS} are needed: record 10 s in which the "
            "arm moves and the board stays in sight"
        )
    say(f"correlating the motion of {len(kept)} views")
    coarse, correlation = _by_correlation(kept, track, camera)
    say("refining by reprojection error")
    return _refined(kept, track, camera, kind, coarse, correlation)


def _by_correlation(views: Sequence[View], track: ArmTrack, camera: CameraModel) -> tuple[float, float]:
    stamps = np.array([view.stamp_s for view in views], np.float64)
    boards = Rotation.from_matrix(np.stack([camera.board_pose(v.points, v.pixels)[:3, :3] for v in views]))
    begin, end = stamps[:-1], stamps[1:]
    near = (end - begin > 1e-4) & (end - begin < LONGEST_STEP_S)
    if near.sum() < FEWEST_VIEWS - 1:
        raise CalibrationError(
            f"only {near.sum()} pairs of views are less than {LONGEST_STEP_S:g} s apart: record at 5 Hz or more, and "
            "keep the board in sight"
        )
    seen = ((boards[:-1].inv() * boards[1:]).magnitude() / (end - begin))[near]
    varies = np.degrees(seen.std())
    if varies < LEAST_SPEED_DEG_S:
        raise CalibrationError(
            f"the hand hardly turns: its speed varies by {varies:.1f} degrees/s, at least {LEAST_SPEED_DEG_S:g} are "
            "needed; turn it to and fro, quickly and irregularly"
        )
    offsets = np.arange(-LARGEST_OFFSET_S, LARGEST_OFFSET_S + STEP_S / 2, STEP_S)
    scores = np.empty(len(offsets))
    for k, offset in enumerate(offsets):
        turned = track.rotations(begin[near] + offset).inv() * track.rotations(end[near] + offset)
        told = turned.magnitude() / (end - begin)[near]
        scores[k] = np.corrcoef(seen, told)[0, 1] if told.std() > 0 else 0.0
    return _peak(offsets, scores)


def _peak(offsets: Array, scores: Array) -> tuple[float, float]:
    best = int(scores.argmax())
    if scores[best] < LEAST_CORRELATION:
        raise CalibrationError(
            f"the motion that the camera sees is not the arm's (correlation {scores[best]:.2f}, at least "
            f"{LEAST_CORRELATION:g}): another arm's poses, a clock more than {LARGEST_OFFSET_S:g} s off, or a board "
            "that moved by itself"
        )
    peaks = find_peaks(scores)[0]
    rivals = [k for k in peaks if abs(k - best) > 2 and scores[k] > AS_GOOD * scores[best]]
    if rivals:
        raise CalibrationError(
            f"the motion repeats itself, so {offsets[best]:+.2f} s and {offsets[rivals[0]]:+.2f} s fit alike: move the "
            "arm irregularly"
        )
    if not 0 < best < len(scores) - 1:
        raise CalibrationError(f"the clocks are {LARGEST_OFFSET_S:g} s or more apart: synchronise them (chrony, PTP)")
    before, here, after = scores[best - 1 : best + 2]
    return float(offsets[best] + STEP_S * 0.5 * (before - after) / (before - 2 * here + after)), float(here)


def _refined(
    views: Sequence[View], track: ArmTrack, camera: CameraModel, kind: str, coarse: float, correlation: float
) -> TimeOffset:
    chosen = [views[k] for k in np.unique(np.linspace(0, len(views) - 1, REFINED_VIEWS).astype(int))]
    stamps = np.array([view.stamp_s for view in chosen], np.float64)
    arms = track.at(stamps + coarse)
    check_motion(list(arms))
    samples = [Sample(view, arm) for view, arm in zip(chosen, arms, strict=True)]
    solutions = solutions_of(samples, camera, kind)
    if not solutions:
        raise CalibrationError("none of OpenCV's hand-eye solvers finds a solution: turn the hand further")
    x, z = refine(samples, camera, kind, *min(solutions.values(), key=lambda found: found[0])[1:], robust=True)

    stack = Stack(samples, camera, kind)

    def errors(step: Array) -> Array:
        arms = track.at(stamps + coarse + step[12])
        across = inverse(arms) if kind == EYE_IN_HAND else arms
        return stack.errors(moved(x, step[:6]), moved(z, step[6:12]), arms=across)

    best = least_squares(lambda step: np.ravel(errors(step)), np.zeros(13), x_scale=0.01, loss="soft_l1", f_scale=1.0)
    error = rms(errors(best.x))
    if error > LARGEST_ERROR * camera.size[0]:
        raise CalibrationError(
            f"no offset explains the images, the best is {error:.1f} px off: check the kind of the camera "
            f"({kind} was said), the link whose pose is taken, and that the board stood still"
        )
    freedom = max(1, len(best.fun) - 13)
    variance = (best.fun**2).sum() / freedom * np.linalg.pinv(best.jac.T @ best.jac)[12, 12]
    believed = best.x.copy()
    believed[12] = -coarse
    return TimeOffset(
        offset_s=float(coarse + best.x[12]),
        deviation_s=float(np.sqrt(variance)),
        correlation=correlation,
        coarse_s=coarse,
        error_px=error,
        without_px=rms(errors(believed)),
        views=len(chosen),
    )
