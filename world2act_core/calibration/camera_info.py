"""Intrinsics as ROS stores them (``camera_calibration_parsers``' YAML) and says them (``sensor_msgs/CameraInfo``).

What ROS does not know (date, board, serial number, errors, covariance) stands under the key ``world2act``, which ROS's
parser does not look at. A file without it, of another tool, is read as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from world2act_core.calibration.board import CalibrationError
from world2act_core.calibration.camera_model import MODELS, CameraModel
from world2act_core.embodiment import Camera
from world2act_core.embodiment.checked import Checked, read_checked
from world2act_core.episodes import compose, messages
from world2act_core.types import Array

if TYPE_CHECKING:
    from world2act_core.calibration.intrinsics import Intrinsics

CAMERA_INFO = "sensor_msgs/msg/CameraInfo"


@dataclass(frozen=True)
class StoredIntrinsics:
    """Intrinsics of a file.

    Attributes:
        date: of the calibration, ISO 8601 with the zone; "" in a file of another tool, as are the next two.
        serial: serial number of the camera.
        board: as it described itself.
        errors: ``error_px``, ``held_out_px``, ``noise_px``; what the file has.
        deviations: standard deviation by parameter.
    """

    camera_name: str
    camera: CameraModel
    date: str = ""
    serial: str = ""
    board: str = ""
    errors: dict[str, float] = field(default_factory=dict)
    deviations: dict[str, float] = field(default_factory=dict)


def write_camera_info(
    path: Path, result: Intrinsics, camera_name: str, *, date: str, board: str, serial: str = ""
) -> None:
    """Store a calibration; the file appears whole or not at all."""
    from world2act_core.runs.stage import write_text  # brings torch, which a robot's nodes need not load

    model = result.camera
    content = {
        "image_width": model.size[0],
        "image_height": model.size[1],
        "camera_name": camera_name,
        "camera_matrix": _matrix(model.matrix),
        "distortion_model": model.model,
        "distortion_coefficients": _matrix(model.distortion.reshape(1, -1)),
        "rectification_matrix": _matrix(np.eye(3)),
        "projection_matrix": _matrix(np.column_stack([model.matrix, np.zeros(3)])),
        "world2act": {
            "date": date,
            "serial": serial,
            "board": board,
            "views": len(result.used),
            "rejected": {view.name: view.reason for view in result.rejected},
            "errors": {
                "error_px": round(result.error_px, 4),
                "held_out_px": round(result.held_out_px, 4),
                "noise_px": round(result.noise_px, 4),
            },
            "deviations": {name: float(f"{value:.4g}") for name, value in result.deviations.items()},
            "covariance": _matrix(result.covariance),  # in the order of `deviations`
        },
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=118))


def _matrix(values: Array) -> dict[str, Any]:
    rows, columns = values.shape
    return {"rows": rows, "cols": columns, "data": [float(f"{value:.10g}") for value in values.ravel()]}


def read_camera_info(path: str | Path) -> StoredIntrinsics:
    """Read a ``camera_info`` file, ours or any other tool's.

    Raises:
        CalibrationError: there is no such file.
        ContractError: it is no such file, or has another lens model; names file, key and value.
    """
    file = Path(path)
    if not file.is_file():
        raise CalibrationError(f"there are no intrinsics at {file}: make them with world2act calibrate intrinsics")
    raw = read_checked(file)
    model = raw.text("distortion_model", one_of=tuple(MODELS))
    size = (raw.integer("image_width", above=0), raw.integer("image_height", above=0))
    matrix = np.asarray(raw.section("camera_matrix").vector("data", 9), np.float64).reshape(3, 3)
    if min(matrix[0, 0], matrix[1, 1]) <= 0:
        raw.refuse("camera_matrix", "has a focal length that is not above 0")
    distortion = np.asarray(raw.section("distortion_coefficients").vector("data", len(MODELS[model][0])), np.float64)
    name = raw.text("camera_name") if "camera_name" in raw else ""
    camera = CameraModel(size, matrix, model, distortion)
    if "world2act" not in raw:
        return StoredIntrinsics(name, camera)
    own = raw.section("world2act")
    return StoredIntrinsics(
        name,
        camera,
        date=text_or_nothing(own, "date"),
        serial=text_or_nothing(own, "serial"),
        board=text_or_nothing(own, "board"),
        errors=numbers(own.section("errors")),
        deviations=numbers(own.section("deviations")),
    )


def text_or_nothing(raw: Checked, key: str) -> str:
    """A text of a file, "" where it is left out or empty."""
    value = raw._raw.get(key, "")
    return value if isinstance(value, str) else raw.text(key)


def numbers(raw: Checked) -> dict[str, float]:
    """A section of numbers."""
    return {key: raw.number(key) for key in raw.keys}


def camera_info_message(stored: StoredIntrinsics, camera: Camera, stamp_ns: int, make: Any = messages.make) -> Any:
    """A sensor_msgs/CameraInfo for an image of ``camera`` at a stamp.

    Raises:
        CalibrationError: the calibration is of another image size than the contract's.
    """
    check_size(stored, camera)
    model = stored.camera
    projection = np.column_stack([model.matrix, np.zeros(3)])
    return make(
        CAMERA_INFO,
        header=compose.header(stamp_ns, camera.frame_id, make),
        height=model.size[1],
        width=model.size[0],
        distortion_model=model.model,
        d=np.asarray(model.distortion, np.float64),
        k=np.ravel(model.matrix).astype(np.float64),
        r=np.eye(3).ravel(),
        p=projection.ravel(),
        binning_x=0,
        binning_y=0,
        roi=make("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
    )


def check_size(stored: StoredIntrinsics, camera: Camera) -> None:
    """Refuse intrinsics of another image size: scaling them would guess how the driver crops."""
    if stored.camera.size != (camera.width, camera.height):
        width, height = stored.camera.size
        raise CalibrationError(
            f"the intrinsics of camera {camera.name} are of {width}x{height} images, the embodiment says "
            f"{camera.width}x{camera.height}: calibrate at that size"
        )
