"""Names of stored calibrations. What a robot's nodes import goes without SciPy and torch."""

from __future__ import annotations

from pathlib import Path

CAMERA_INFO, HAND_EYE, TIME = "camera_info", "hand_eye", "time"
GRIPPER_FILE = "gripper.yaml"
EYE_IN_HAND, EYE_TO_HAND = "eye_in_hand", "eye_to_hand"
KINDS = (EYE_IN_HAND, EYE_TO_HAND)


def path_of(folder: str | Path, camera: str, part: str) -> Path:
    """Where a camera's calibration is stored; ``part`` is CAMERA_INFO, HAND_EYE or TIME."""
    return Path(folder) / f"{camera}.{part}.yaml"
