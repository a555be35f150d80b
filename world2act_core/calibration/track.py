"""Where the end effector was at any moment: poses of a recording, with what lies between them."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation, RotationSpline

from world2act_core.calibration.board import CalibrationError
from world2act_core.types import Array

LONGEST_GAP_S = 0.25  # between poses that something may be said about
STILL_M, STILL_DEG = 0.0005, 0.05
STILL_S = 0.15  # before and after an image


class ArmTrack:
    """Poses of the end effector over time.

    Args:
        stamps: ``(N,)`` seconds on the robot's clock; sorted here, the same stamp twice counts once.
        poses: ``(N, 4, 4)`` in the base's frame, m.
        source: where they come from, for what is said.

    Raises:
        CalibrationError: fewer than four poses, or one is not finite.
    """

    def __init__(self, stamps: Array, poses: Array, source: str) -> None:
        stamps, first = np.unique(np.asarray(stamps, np.float64), return_index=True)
        poses = np.asarray(poses, np.float64).reshape(-1, 4, 4)[first]
        if len(stamps) < 4:
            raise CalibrationError(f"{source}: {len(stamps)} poses of the arm are not enough to tell its motion")
        if not np.isfinite(poses).all():
            raise CalibrationError(f"{source}: a pose of the arm is not finite, at stamp {stamps[_bad(poses)]:.3f} s")
        self.source, self.stamps, self.poses = source, stamps, poses

    @cached_property
    def _splines(self) -> tuple[Any, Any]:
        relative = self.stamps - self.stamps[0]
        return RotationSpline(relative, Rotation.from_matrix(self.poses[:, :3, :3])), CubicSpline(
            relative, self.poses[:, :3, 3]
        )

    def covers(self, stamps: Array) -> Array:
        """Which moments lie between two poses that are close enough to each other, ``(N,)`` bool."""
        stamps = np.asarray(stamps, np.float64)
        after = np.clip(np.searchsorted(self.stamps, stamps), 1, len(self.stamps) - 1)
        inside = (stamps >= self.stamps[0]) & (stamps <= self.stamps[-1])
        return np.asarray(inside & (self.stamps[after] - self.stamps[after - 1] <= LONGEST_GAP_S))

    def at(self, stamps: Array) -> Array:
        """Poses ``(N, 4, 4)`` at moments that are covered; smooth in between."""
        relative = np.clip(np.asarray(stamps, np.float64) - self.stamps[0], 0.0, self.stamps[-1] - self.stamps[0])
        turning, moving = self._splines
        poses = np.tile(np.eye(4), (len(relative), 1, 1))
        poses[:, :3, :3], poses[:, :3, 3] = turning(relative).as_matrix(), moving(relative)
        return poses

    def rotations(self, stamps: Array) -> Any:
        """The same as scipy's Rotation."""
        relative = np.clip(np.asarray(stamps, np.float64) - self.stamps[0], 0.0, self.stamps[-1] - self.stamps[0])
        return self._splines[0](relative)

    def still(self, stamps: Array) -> Array:
        """Whether the arm stands still around each moment, ``(N,)`` bool."""
        stamps = np.asarray(stamps, np.float64)
        covered = self.covers(stamps - STILL_S) & self.covers(stamps + STILL_S)
        now = self.at(stamps)
        for shift in (-STILL_S, -0.5 * STILL_S, 0.5 * STILL_S, STILL_S):
            then = self.at(stamps + shift)
            metres = np.linalg.norm(then[:, :3, 3] - now[:, :3, 3], axis=1)
            turned = np.swapaxes(now[:, :3, :3], 1, 2) @ then[:, :3, :3]
            covered &= (metres < STILL_M) & (np.degrees(Rotation.from_matrix(turned).magnitude()) < STILL_DEG)
        return np.asarray(covered)


def _bad(poses: Array) -> int:
    return int(np.argwhere(~np.isfinite(poses))[0][0])
