"""Stored calibrations in the graph of an arm: parameters, a node for transforms, warnings that stop nothing."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest

from benchmarks._calibration_cell import Cell
from tests.calibration.test_intrinsics import ideal_views
from tests.calibration.test_store import TODAY, stored
from world2act_core.calibration.intrinsics import calibrate_intrinsics
from world2act_core.errors import World2ActError
from world2act_core.runtime.graphs import Graph, describe

CAMERAS = "agentview=usb:0,wrist=realsense:0123"


def built(**values: str) -> Graph:
    return describe("real_arm").build({"policy": "replay:bag", "cameras": CAMERAS, **values})


@pytest.fixture(scope="module")
def calibrated(cell: Cell, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Franka whose two cameras were calibrated a moment ago."""
    ago = (TODAY - datetime.now(timezone.utc)).total_seconds() / 86400
    return stored(tmp_path_factory.mktemp("calibrated"), calibrate_intrinsics(ideal_views(cell, 12)), days=ago)


def test_an_arm_without_calibrations_says_what_is_missing_and_starts(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    graph = built()
    assert [text.partition(":")[0] for text in graph.notices].count("camera wrist") == 2
    assert "static_transforms" not in {node.name for node in graph.nodes}


def test_a_calibrated_arm_is_silent_and_shows_it(calibrated: Path) -> None:
    graph = built(calibration=str(calibrated))
    found = {node.name: node for node in graph.nodes}
    assert graph.notices == ()
    assert found["wrist_camera"].parameters["calibration"] == str(calibrated)
    assert found["static_transforms"].parameters["calibration"] == str(calibrated)
    assert "static_transforms" in found["supervisor"].parameters["nodes"]  # type: ignore[operator]


def test_the_robots_own_folder_is_found(calibrated: Path, tmp_path: Path, monkeypatch) -> None:
    home = tmp_path / "home"
    (home / "calibration").mkdir(parents=True)
    (home / "calibration" / "franka_fr3").symlink_to(calibrated)
    monkeypatch.chdir(home)
    assert built().notices == ()


def test_another_device_than_the_calibrated_one_is_noticed(calibrated: Path) -> None:
    graph = built(calibration=str(calibrated), cameras="agentview=usb:0,wrist=realsense:9999")
    assert any("0123" in text and "9999" in text for text in graph.notices)


def test_the_emulator_is_not_warned(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert built(robot="emulator", cameras="agentview").notices == ()


def test_a_named_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(World2ActError, match="calibration:=.*does not exist"):
        built(calibration=str(tmp_path / "nowhere"))
