"""Warnings before an arm starts: a calibration that is missing, old, of another camera or of another image size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from world2act_core.calibration.camera_info import check_size
from world2act_core.calibration.store import HAND_EYE, intrinsics_of, path_of, read_hand_eye
from world2act_core.embodiment import Embodiment
from world2act_core.errors import World2ActError

OLD_DAYS = 90.0


def calibration_warnings(
    folder: str | Path,
    embodiment: Embodiment,
    serials: Mapping[str, str] | None = None,
    *,
    cameras: Sequence[str] | None = None,
    hand_eye: bool = True,
    old_days: float = OLD_DAYS,
    today: datetime | None = None,
) -> list[str]:
    """What is wrong with a robot's stored calibrations, one sentence each. Never raises for a file.

    Args:
        folder: of the robot's calibrations.
        serials: camera → serial number of the device that will be used, where it is known.
        cameras: which to look at; None: all of the contract.
        hand_eye: whether a camera needs a hand-eye calibration too; what is stored is looked at anyway.
        old_days: older is stale.
        today: for tests; the present moment.
    """
    said: list[str] = []
    for name in cameras if cameras is not None else embodiment.cameras:
        camera, serial = embodiment.cameras[name], (serials or {}).get(name, "")

        def intrinsics(name: str = name, camera: Any = camera) -> Any:
            stored = intrinsics_of(folder, name)
            check_size(stored, camera)
            return stored

        parts: list[tuple[str, Callable[[], Any]]] = [("intrinsics", intrinsics)]
        if hand_eye or path_of(folder, name, HAND_EYE).is_file():
            parts.append(("hand-eye calibration", lambda name=name: read_hand_eye(folder, name)))  # type: ignore[misc]
        for what, read in parts:
            said += _of_part(f"camera {name}: {what}", read, serial, old_days, today or datetime.now(timezone.utc))
    return said


def _of_part(what: str, read: Callable[[], Any], serial: str, old_days: float, today: datetime) -> list[str]:
    try:
        stored = read()
    except World2ActError as error:
        return [f"{what}: {error}"]
    said = []
    if serial and stored.serial and serial != stored.serial:
        said.append(f"{what} is of the camera with serial number {stored.serial}, now there is {serial}: calibrate it")
    age = age_days(stored.date, today)
    if age is None:
        said.append(f"{what} does not say when it was made: check it with world2act calibrate check")
    elif age > old_days:
        said.append(f"{what} is {age:.0f} days old (more than {old_days:g}): check it with world2act calibrate check")
    return said


def age_days(date: str, today: datetime) -> float | None:
    """Age of an ISO date in days; None if it is none."""
    try:
        made = datetime.fromisoformat(date.replace("Z", "+00:00"))
    except ValueError:
        return None
    made = made if made.tzinfo else made.replace(tzinfo=timezone.utc)
    return (today - made).total_seconds() / 86400.0
