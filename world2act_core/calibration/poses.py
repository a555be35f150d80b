"""Rigid poses ``(4, 4)``. SciPy is imported where it is needed: what a robot's nodes call goes without."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from world2act_core.types import Array


def pose_of(translation: Array | Sequence[float], quaternion_xyzw: Array | Sequence[float]) -> Array:
    """Pose from metres and a quaternion, which is normalised."""
    x, y, z, w = np.asarray(quaternion_xyzw, np.float64) / np.linalg.norm(quaternion_xyzw)
    pose = np.eye(4)
    pose[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    pose[:3, 3] = translation
    return pose


def quaternion_xyzw(pose: Array) -> Array:
    """Rotation of a pose, ``(4,)``, w not negative."""
    r = pose[:3, :3]
    # The eigenvector of the largest eigenvalue (Bar-Itzhack, 2000): well conditioned for every rotation.
    k = np.zeros((4, 4))
    k[:3, :3] = r + r.T - np.trace(r) * np.eye(3)
    k[3, :3] = k[:3, 3] = [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]]
    k[3, 3] = np.trace(r)
    found = np.linalg.eigh(k)[1][:, -1]
    return np.asarray(found if found[3] >= 0 else -found)


def inverse(pose: Array) -> Array:
    """The inverse of poses ``(..., 4, 4)``."""
    turned = np.swapaxes(pose[..., :3, :3], -1, -2)
    found = np.zeros_like(pose)
    found[..., :3, :3], found[..., 3, 3] = turned, 1.0
    found[..., :3, 3] = -(turned @ pose[..., :3, 3:])[..., 0]
    return found


def difference(a: Array, b: Array) -> tuple[float, float]:
    """How far two poses are from each other: metres, and degrees."""
    from scipy.spatial.transform import Rotation

    angle = Rotation.from_matrix(a[:3, :3].T @ b[:3, :3]).magnitude()
    return float(np.linalg.norm(a[:3, 3] - b[:3, 3])), float(np.degrees(angle))


def mean_pose(poses: Sequence[Array]) -> Array:
    """The average of poses that lie close together."""
    from scipy.spatial.transform import Rotation

    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_matrix(np.stack([p[:3, :3] for p in poses])).mean().as_matrix()
    pose[:3, 3] = np.mean([p[:3, 3] for p in poses], axis=0)
    return pose
