"""Orientations as published policies have them."""

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


def quaternion_from_axis_angle(vector: Array) -> Array:
    """Axis times angle ``(3,)`` rad → quaternion xyzw ``(4,)`` float32."""
    values = np.asarray(vector, np.float64)
    half = np.linalg.norm(values) / 2
    return np.append(0.5 * np.sinc(half / np.pi) * values, np.cos(half)).astype(np.float32)
