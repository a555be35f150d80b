"""Rigid poses ``(4, 4)``: small helpers over scipy's rotations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from world2act_core.types import Array


def pose_of(translation: Array | Sequence[float], quaternion_xyzw: Array | Sequence[float]) -> Array:
    """Pose from metres and a quaternion, which is normalised."""
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_quat(np.asarray(quaternion_xyzw, np.float64)).as_matrix()
    pose[:3, 3] = translation
    return pose


def quaternion_xyzw(pose: Array) -> Array:
    """Rotation of a pose, ``(4,)``, w not negative."""
    return np.asarray(Rotation.from_matrix(pose[:3, :3]).as_quat(canonical=True))


def from_vector(vector: Array) -> Array:
    """Pose of ``(6,)``: rotation vector rad, translation m."""
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec(vector[:3]).as_matrix()
    pose[:3, 3] = vector[3:]
    return pose


def to_vector(pose: Array) -> Array:
    """``(6,)``: rotation vector rad, translation m."""
    return np.concatenate([Rotation.from_matrix(pose[:3, :3]).as_rotvec(), pose[:3, 3]])


def inverse(pose: Array) -> Array:
    """The inverse of poses ``(..., 4, 4)``."""
    turned = np.swapaxes(pose[..., :3, :3], -1, -2)
    found = np.zeros_like(pose)
    found[..., :3, :3], found[..., 3, 3] = turned, 1.0
    found[..., :3, 3] = -(turned @ pose[..., :3, 3:])[..., 0]
    return found


def difference(a: Array, b: Array) -> tuple[float, float]:
    """How far two poses are from each other: metres, and degrees."""
    angle = Rotation.from_matrix(a[:3, :3].T @ b[:3, :3]).magnitude()
    return float(np.linalg.norm(a[:3, 3] - b[:3, 3])), float(np.degrees(angle))


def mean_pose(poses: Sequence[Array]) -> Array:
    """The average of poses that lie close together."""
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_matrix(np.stack([p[:3, :3] for p in poses])).mean().as_matrix()
    pose[:3, 3] = np.mean([p[:3, 3] for p in poses], axis=0)
    return pose
