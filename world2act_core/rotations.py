"""Orientations: quaternions x, y, z, w, and axis times angle as robosuite and the policies trained on it have it."""

from __future__ import annotations

import numpy as np

from world2act_core.types import Array

AXIS_ANGLE = "axis_angle"


def axis_angle_from_quaternion(quaternion: Array) -> Array:
    """Quaternion xyzw ``(4,)`` → axis times angle ``(3,)`` float32 rad, as robosuite's ``quat2axisangle`` has it.

    A negative w is an angle above pi there, not the opposite axis; policies for LIBERO were trained on that.
    """
    values = np.asarray(quaternion, np.float64)
    w = np.clip(values[3], -1.0, 1.0)
    sine = np.sqrt(1.0 - w * w)  # of half the angle
    if sine < 1e-9:
        return np.zeros(3, np.float32)
    return (values[:3] * (2.0 * np.arccos(w) / sine)).astype(np.float32)


def quaternion_from_axis_angle(vectors: Array) -> Array:
    """Axis times angle ``(..., 3)`` rad → quaternions xyzw ``(..., 4)`` float64; undoes the other, sign included."""
    half = np.linalg.norm(vectors, axis=-1, keepdims=True) / 2
    return np.concatenate([0.5 * np.sinc(half / np.pi) * vectors, np.cos(half)], axis=-1)


def rotate(rotations: Array, vectors: Array) -> Array:
    """Vectors ``(..., 3)`` turned by quaternions ``(..., 4)`` xyzw."""
    axis, cosine = rotations[..., :3], rotations[..., 3:]
    sideways = 2 * np.cross(axis, vectors)
    return np.asarray(vectors + cosine * sideways + np.cross(axis, sideways))


def multiply(first: Array, second: Array) -> Array:
    """Quaternions ``(..., 4)`` xyzw: the rotation ``second`` followed by ``first``."""
    (v, w), (u, s) = ((quaternion[..., :3], quaternion[..., 3:]) for quaternion in (first, second))
    return np.concatenate([w * u + s * v + np.cross(v, u), w * s - (v * u).sum(-1, keepdims=True)], axis=-1)
