"""Whether the poses of an arm determine a hand-eye calibration, and what is missing if they do not.

Two rotations about axes that are not parallel are the least (Tsai and Lenz, 1989); with rotations about one axis only,
the translation along it is free.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from world2act_core.calibration.board import CalibrationError
from world2act_core.calibration.poses import difference
from world2act_core.types import Array

FEWEST_POSES = 6
LARGEST_REACH_M = 10.0  # a larger number is in millimetres
LEAST_TURN_DEG = 20.0
ONE_AXIS = 0.12  # of the largest rotation: the second axis turns by less
SAME_M, SAME_DEG = 0.002, 0.3


def distinct(poses: Sequence[Array]) -> list[int]:
    """Indices of poses that are not the same as one before, within 2 mm and 0.3 degrees."""
    kept: list[int] = []
    for k, pose in enumerate(poses):
        apart = (difference(pose, poses[other]) for other in kept)
        if all(metres > SAME_M or degrees > SAME_DEG for metres, degrees in apart):
            kept.append(k)
    return kept


def check_reach(poses: Sequence[Array]) -> None:
    """Refuse poses that cannot be metres."""
    reach = max((float(np.linalg.norm(pose[:3, 3])) for pose in poses), default=0.0)
    if reach > LARGEST_REACH_M:
        raise CalibrationError(
            f"the arm's poses reach {reach:.0f} m from its base: they seem to be in millimetres, give metres"
        )


def check_motion(poses: Sequence[Array], fewest: int = FEWEST_POSES) -> None:
    """Refuse a degenerate set of poses of the end effector, ``(4, 4)`` each in the base's frame.

    Raises:
        CalibrationError: says what is missing, and how to move.
    """
    check_reach(poses)
    count = len(distinct(poses))
    if count < fewest:
        raise CalibrationError(
            f"{count} different poses of the arm are not enough: at least {fewest}, better 20 to 30, are needed"
        )
    turns = _turns(poses)
    largest = np.degrees(np.linalg.norm(turns, axis=1).max())
    if largest < LEAST_TURN_DEG:
        raise CalibrationError(
            f"the hand turned by at most {largest:.1f} degrees: turn it by {LEAST_TURN_DEG:g} or more, about two axes"
        )
    spread, axes = np.linalg.eigh(turns.T @ turns / len(turns))
    if np.sqrt(max(0.0, spread[1]) / spread[2]) < ONE_AXIS:
        main = axes[:, 2] * np.sign(axes[np.abs(axes[:, 2]).argmax(), 2])
        others = [name for name, part in zip("xyz", np.abs(main), strict=True) if part < np.abs(main).max()]
        raise CalibrationError(
            f"all rotations are about one axis, ({', '.join(f'{part:.2f}' for part in main)}) of the hand, so the "
            f"camera's place along it is not determined: turn the hand about its {' and '.join(others)} axis too"
        )


def _turns(poses: Sequence[Array]) -> Array:
    """Rotation vectors ``(P, 3)`` rad between all pairs of poses, in the hand's frame."""
    rotations = Rotation.from_matrix(np.stack([pose[:3, :3] for pose in poses]))
    pairs = [rotations[a].inv() * rotations[slice(a + 1, None)] for a in range(len(poses) - 1)]
    return np.concatenate([np.atleast_2d(pair.as_rotvec()) for pair in pairs])
