"""What a robot's stored calibrations (``world2act calibrate``) add to its graph: camera_info, transforms, warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from world2act_core.embodiment import Embodiment
from world2act_core.errors import World2ActError
from world2act_core.runtime.graphs.common import flag
from world2act_core.runtime.graphs.description import Argument, NodeSpec, Notice, Part, Value

CALIBRATION = Argument(
    "calibration",
    "",
    "folder of the robot's calibrations (world2act calibrate); empty: calibration/EMBODIMENT, if it is there",
)


def calibrated(
    values: Mapping[str, str], embodiment: Embodiment, cameras: Sequence[NodeSpec], *, warn: bool
) -> list[Part]:
    """The camera nodes, told where their calibrations are; a node for the hand-eye transforms, if there are any; and,
    where ``warn``, a notice for everything that is missing, old, or of another camera than the one that is there.

    Raises:
        World2ActError: the folder that was named does not exist.
    """
    from world2act_core.calibration.store import transforms  # brings OpenCV, which --help need not load
    from world2act_core.calibration.watch import calibration_warnings

    folder = calibration_folder(values, embodiment)
    parts: list[Part] = []
    for node in cameras:
        known = node.executable == "camera" and folder.is_dir()
        parts.append(replace(node, parameters={**node.parameters, "calibration": str(folder)}) if known else node)
    if folder.is_dir() and transforms(folder):
        parameters: dict[str, Value] = {name: flag(values, name) for name in ("autostart", "use_sim_time")}
        parameters["calibration"] = str(folder)
        parts.append(NodeSpec("static_transforms", "static_transforms", parameters=parameters))
    if warn:
        parts += [Notice(said) for said in calibration_warnings(folder, embodiment, _serials(cameras))]
    return parts


def calibration_folder(values: Mapping[str, str], embodiment: Embodiment) -> Path:
    """Where a robot's calibrations are, absolute; it need not be there unless it was named.

    Raises:
        World2ActError: the folder that was named does not exist.
    """
    named = values[CALIBRATION.name]
    folder = Path(named or Path("calibration") / embodiment.name).absolute()
    if named and not folder.is_dir():
        raise World2ActError(f"calibration:={named} does not exist: make it with world2act calibrate, or leave it out")
    return folder


def _serials(cameras: Sequence[NodeSpec]) -> dict[str, str]:
    """Camera → serial number, of the devices that are named by theirs."""
    return {
        str(node.parameters["camera"]): str(node.parameters["device"])
        for node in cameras
        if node.parameters.get("source") == "realsense" and node.parameters.get("device")
    }
