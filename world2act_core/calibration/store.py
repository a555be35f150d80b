"""Stored calibrations: one folder a robot, one small YAML file a result, each with date, board and errors.

``FOLDER/CAMERA.camera_info.yaml`` (ROS's own form), ``FOLDER/CAMERA.hand_eye.yaml``, ``FOLDER/CAMERA.time.yaml`` and
``FOLDER/gripper.yaml``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from world2act_core.calibration.board import CalibrationError
from world2act_core.calibration.camera_info import StoredIntrinsics, numbers, read_camera_info, text_or_nothing
from world2act_core.calibration.files import CAMERA_INFO, GRIPPER_FILE, HAND_EYE, KINDS, TIME, path_of
from world2act_core.calibration.poses import pose_of, quaternion_xyzw
from world2act_core.embodiment.checked import read_checked
from world2act_core.skills.types import MeasuredGripper
from world2act_core.types import Array

if TYPE_CHECKING:
    from world2act_core.calibration.gripper_width import GripperWidth
    from world2act_core.calibration.hand_eye import HandEye
    from world2act_core.calibration.time_offset import TimeOffset

__all__ = [
    "CAMERA_INFO",
    "HAND_EYE",
    "TIME",
    "StaticTransform",
    "intrinsics_of",
    "measured_gripper",
    "now",
    "path_of",
    "read_hand_eye",
    "read_time",
    "transforms",
    "write_gripper",
    "write_hand_eye",
    "write_time",
]


@dataclass(frozen=True)
class StaticTransform:
    """A stored hand-eye calibration: ``child_frame`` (the camera's optical frame) in ``parent_frame``."""

    camera: str
    kind: str
    parent_frame: str
    child_frame: str
    pose: Array
    date: str
    board: str
    serial: str
    errors: Mapping[str, float] = field(default_factory=dict)


def now() -> str:
    """The date that a calibration made now carries."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def write_hand_eye(
    folder: str | Path,
    camera: str,
    result: HandEye,
    frames: tuple[str, str],
    *,
    board: str,
    date: str,
    serial: str = "",
) -> Path:
    """Store a hand-eye calibration; ``frames`` are parent and child."""
    content = {
        "camera": camera,
        "kind": result.kind,
        "parent_frame": frames[0],
        "child_frame": frames[1],
        "translation_m": _rounded(result.camera_pose[:3, 3]),
        "rotation_xyzw": _rounded(quaternion_xyzw(result.camera_pose)),
        "date": date,
        "board": board,
        "serial": serial,
        "poses": len(result.used),
        "rejected": {view.name: view.reason for view in result.rejected},
        "errors": {
            "error_px": round(result.error_px, 4),
            "held_out_px": round(result.held_out_px, 4),
            "translation_mm": round(float(np.linalg.norm(result.translation_mm)), 4),
            "rotation_deg": round(float(np.linalg.norm(result.rotation_deg)), 5),
            "board_scale": round(result.board_scale[0], 5),
        },
        "solvers_px": {name: round(error, 4) for name, error in result.solvers.items()},
    }
    return _write(path_of(folder, camera, HAND_EYE), content)


def read_hand_eye(folder: str | Path, camera: str) -> StaticTransform:
    """Raises CalibrationError where there is none, ContractError where the file contradicts itself."""
    path = path_of(folder, camera, HAND_EYE)
    if not path.is_file():
        raise CalibrationError(f"there is no hand-eye calibration {path}: make one with world2act calibrate hand-eye")
    raw = read_checked(path)
    rotation = raw.vector("rotation_xyzw", 4)
    if abs(float(np.linalg.norm(rotation)) - 1.0) > 1e-3:
        raw.refuse("rotation_xyzw", "is not a unit quaternion")
    translation = raw.vector("translation_m", 3)
    if np.abs(translation).max() > 10:
        raw.refuse("translation_m", "is more than 10 metres: are these millimetres?")
    return StaticTransform(
        camera=raw.text("camera"),
        kind=raw.text("kind", one_of=KINDS),
        parent_frame=raw.text("parent_frame"),
        child_frame=raw.text("child_frame"),
        pose=pose_of(translation, rotation),
        date=text_or_nothing(raw, "date"),
        board=text_or_nothing(raw, "board"),
        serial=text_or_nothing(raw, "serial"),
        errors=numbers(raw.section("errors")) if "errors" in raw else {},
    )


def transforms(folder: str | Path) -> list[StaticTransform]:
    """Every hand-eye calibration of a folder, by camera."""
    end = f".{HAND_EYE}.yaml"
    return [read_hand_eye(folder, file.name[: -len(end)]) for file in sorted(Path(folder).glob(f"*{end}"))]


def write_time(folder: str | Path, camera: str, result: TimeOffset, *, board: str, date: str, serial: str = "") -> Path:
    """Store a time offset."""
    content = {
        "camera": camera,
        "offset_s": round(result.offset_s, 6),
        "date": date,
        "board": board,
        "serial": serial,
        "views": result.views,
        "errors": {
            "deviation_s": round(result.deviation_s, 6),
            "correlation": round(result.correlation, 4),
            "error_px": round(result.error_px, 4),
            "without_px": round(result.without_px, 4),
        },
    }
    return _write(path_of(folder, camera, TIME), content)


def read_time(folder: str | Path, camera: str) -> float:
    """The offset in seconds to add to the camera's stamps; 0 where none was calibrated."""
    path = path_of(folder, camera, TIME)
    return read_checked(path).number("offset_s") if path.is_file() else 0.0


def write_gripper(folder: str | Path, result: GripperWidth, *, date: str) -> Path:
    """Store the gripper's widths."""
    content = {
        "fully_open_width_m": round(result.fully_open_m, 6),
        "delta_m": round(result.delta_m, 6),
        "closed_width_m": round(result.closed_m, 6),
        "date": date,
        "held_m": _rounded(np.array(result.held_m)),
        "openings": result.openings,
        "width_of_position": {"scale": float(result.scale), "offset_m": float(result.offset_m)},
        "errors": {"repeats_m": round(result.repeats_m, 6), "noise_m": round(result.noise_m, 7)},
    }
    return _write(Path(folder) / GRIPPER_FILE, content)


def measured_gripper(folder: str | Path) -> MeasuredGripper:
    """What `write_gripper` stored: what skills are split by.

    Raises:
        CalibrationError: the gripper was not calibrated.
    """
    path = Path(folder) / GRIPPER_FILE
    if not path.is_file():
        raise CalibrationError(f"there is no gripper calibration {path}: make one with world2act calibrate gripper")
    raw = read_checked(path)
    width = raw.section("width_of_position")
    return MeasuredGripper(
        raw.number("fully_open_width_m", above=0),
        raw.number("delta_m", above=0),
        width.number("scale"),
        width.number("offset_m"),
    )


def intrinsics_of(folder: str | Path, camera: str) -> StoredIntrinsics:
    """The stored intrinsics of a camera; errors as of `read_camera_info`."""
    return read_camera_info(path_of(folder, camera, CAMERA_INFO))


def _rounded(values: Array) -> list[float]:
    return [float(f"{value:.9g}") for value in np.ravel(values)]


def _write(path: Path, content: Mapping[str, Any]) -> Path:
    from world2act_core.runs.stage import write_text  # brings torch, which a robot's nodes need not load

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, yaml.safe_dump(dict(content), sort_keys=False, default_flow_style=None, width=118))
    except OSError as error:
        raise CalibrationError(f"{path} cannot be written: {error.strerror}") from error
    return path
