"""Stored calibrations: ROS's own camera_info, static transforms, and the warnings before an arm starts."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.spatial.transform import Rotation

from benchmarks._calibration_cell import Cell
from tests.calibration.test_intrinsics import ideal_views
from world2act_core.calibration.board import CalibrationError
from world2act_core.calibration.camera_info import (
    CAMERA_INFO,
    camera_info_message,
    read_camera_info,
    write_camera_info,
)
from world2act_core.calibration.detection import Rejected
from world2act_core.calibration.hand_eye import HandEye
from world2act_core.calibration.intrinsics import Intrinsics, calibrate_intrinsics
from world2act_core.calibration.poses import difference, pose_of, quaternion_xyzw
from world2act_core.calibration.store import path_of, read_hand_eye, read_time, transforms, write_hand_eye, write_time
from world2act_core.calibration.time_offset import TimeOffset
from world2act_core.calibration.watch import calibration_warnings
from world2act_core.embodiment import load_embodiment
from world2act_core.episodes import messages
from world2act_core.errors import ContractError

ROBOT = load_embodiment("franka_fr3")
TODAY = datetime(2026, 3, 1, tzinfo=timezone.utc)
X = pose_of([0.05, -0.03, 0.04], [0.02, -0.01, 0.38, 0.92])
FOREIGN = """\
image_width: 640
image_height: 480
camera_name: narrow_stereo
camera_matrix: {rows: 3, cols: 3, data: [438.78, 0, 305.59, 0, 437.35, 243.74, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [-0.3617, 0.1620, 0.00113, -0.000142, 0]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [393.6, 0, 322.8, 0, 0, 393.6, 241.1, 0, 0, 0, 1, 0]}
"""  # the example of ROS's documentation


@pytest.fixture(scope="module")
def lens(cell: Cell) -> Intrinsics:
    return calibrate_intrinsics(ideal_views(cell, 12))


def hand_eye(kind: str = "eye_in_hand") -> HandEye:
    no = np.zeros(3)
    gone = (Rejected("7", "the arm moved"),)
    return HandEye(kind, X, np.eye(4), no, no, 0.3, 0.31, {"park": 0.4}, (1.0, 0.001), ("1",), gone)


def stored(folder: Path, lens: Intrinsics, *, serial: str = "0123", days: float = 10.0) -> Path:
    """A robot whose two cameras are calibrated."""
    date = (TODAY - timedelta(days=days)).isoformat()
    for name in ROBOT.cameras:
        write_camera_info(path_of(folder, name, "camera_info"), lens, name, date=date, board="b", serial=serial)
        frames = ("hand", ROBOT.cameras[name].frame_id)
        write_hand_eye(folder, name, hand_eye(), frames, board="b", date=date, serial=serial)
    return folder


def test_intrinsics_come_back_as_they_were_stored(lens: Intrinsics, tmp_path: Path) -> None:
    path = tmp_path / "new" / "wrist.camera_info.yaml"
    write_camera_info(path, lens, "wrist", date=TODAY.isoformat(), board="a board", serial="0123")
    back = read_camera_info(path)
    np.testing.assert_allclose(back.camera.matrix, lens.camera.matrix, rtol=1e-6)
    np.testing.assert_allclose(back.camera.distortion, lens.camera.distortion, rtol=1e-6)
    assert (back.camera_name, back.serial, back.board, back.date) == ("wrist", "0123", "a board", TODAY.isoformat())
    assert back.errors["held_out_px"] == pytest.approx(lens.held_out_px, abs=1e-4)
    covariance = yaml.safe_load(path.read_text())["world2act"]["covariance"]
    assert covariance["rows"] == covariance["cols"] == 9
    np.testing.assert_allclose(np.reshape(covariance["data"], (9, 9)), lens.covariance, rtol=1e-6)


def test_the_file_has_every_key_that_ros_reads(lens: Intrinsics, tmp_path: Path) -> None:
    path = tmp_path / "wrist.camera_info.yaml"
    write_camera_info(path, lens, "wrist", date="", board="")
    ours, theirs = yaml.safe_load(path.read_text()), yaml.safe_load(FOREIGN)
    assert set(theirs) <= set(ours)
    for key, value in theirs.items():
        if isinstance(value, dict):
            assert (value["rows"], value["cols"]) == (ours[key]["rows"], ours[key]["cols"])
            assert len(ours[key]["data"]) == value["rows"] * value["cols"]


def test_a_file_of_another_tool_is_read(tmp_path: Path) -> None:
    path = tmp_path / "wrist.camera_info.yaml"
    path.write_text(FOREIGN)
    back = read_camera_info(path)
    assert back.camera.parameters["cy"] == pytest.approx(243.74) and back.date == "" and back.errors == {}


def test_what_cannot_be_intrinsics_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wrist.camera_info.yaml"
    with pytest.raises(CalibrationError, match="there are no intrinsics at"):
        read_camera_info(path)
    for text, said in (
        (FOREIGN.replace("plumb_bob", "equidistant"), "must be one of plumb_bob, rational_polynomial"),
        (FOREIGN.replace("438.78", "0"), "has a focal length that is not above 0"),
        (FOREIGN.replace("-0.3617, ", ""), "must have 5 entries"),
        ("image_width: [", "not valid YAML"),
    ):
        path.write_text(text)
        with pytest.raises(ContractError, match=said):
            read_camera_info(path)


def test_the_message_is_a_camera_info_of_the_contracts_frame(tmp_path: Path) -> None:
    path = tmp_path / "wrist.camera_info.yaml"
    path.write_text(FOREIGN)
    message = camera_info_message(read_camera_info(path), ROBOT.cameras["wrist"], 3_000_000_007)
    again = messages.deserialise(messages.serialise(message), CAMERA_INFO)
    assert again.header.frame_id == "wrist_color_optical_frame" and again.header.stamp.nanosec == 7
    assert (again.width, again.height, again.distortion_model) == (640, 480, "plumb_bob")
    assert again.k[2] == pytest.approx(305.59) and again.p[5] == pytest.approx(437.35) and len(again.d) == 5
    smaller = replace(ROBOT.cameras["wrist"], width=320, height=240)
    with pytest.raises(CalibrationError, match="are of 640x480 images, the embodiment says 320x240"):
        camera_info_message(read_camera_info(path), smaller, 0)


def test_a_transform_comes_back(tmp_path: Path) -> None:
    write_hand_eye(tmp_path, "wrist", hand_eye(), ("fr3_hand", "wrist_optical"), board="b", date="d", serial="9")
    (back,) = transforms(tmp_path)
    metres, degrees = difference(back.pose, X)
    assert metres < 1e-7 and degrees < 1e-4
    assert (back.parent_frame, back.child_frame) == ("fr3_hand", "wrist_optical")
    assert (back.kind, back.serial) == ("eye_in_hand", "9")
    file = path_of(tmp_path, "wrist", "hand_eye")
    file.write_text(file.read_text().replace("0.05,", "50.0,"))
    with pytest.raises(ContractError, match="are these millimetres"):
        read_hand_eye(tmp_path, "wrist")


def test_a_time_offset_comes_back_and_is_zero_without(tmp_path: Path) -> None:
    assert read_time(tmp_path, "wrist") == 0.0
    write_time(tmp_path, "wrist", TimeOffset(-0.037, 1e-4, 0.99, -0.036, 0.3, 5.0, 60), board="b", date="d")
    assert read_time(tmp_path, "wrist") == pytest.approx(-0.037)


@pytest.mark.parametrize("module", ["store", "watch", "camera_info", "tf"])
def test_what_a_robots_nodes_import_goes_without_scipy(module: str) -> None:
    """The camera node would not start on a robot without the extra, and start late on one with it."""
    heavy = "{'scipy', 'mujoco', 'torch', 'matplotlib'}"
    code = f"import sys, world2act_core.calibration.{module}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_quaternions_and_rotations_are_each_others_inverse(rng: np.random.Generator) -> None:
    for quaternion in [*rng.normal(size=(20, 4)), np.array([1.0, 0, 0, 0]), np.array([0, 0, 0, 1.0])]:
        unit = quaternion / np.linalg.norm(quaternion)
        pose = pose_of([0, 0, 0], quaternion)
        np.testing.assert_allclose(pose[:3, :3], Rotation.from_quat(quaternion).as_matrix(), atol=1e-12)
        assert abs(quaternion_xyzw(pose) @ unit) == pytest.approx(1.0, abs=1e-12)


def test_a_fresh_calibration_gives_no_warning(lens: Intrinsics, tmp_path: Path) -> None:
    folder = stored(tmp_path, lens)
    assert calibration_warnings(folder, ROBOT, {"wrist": "0123"}, today=TODAY) == []


def test_each_thing_that_is_wrong_is_one_sentence(lens: Intrinsics, tmp_path: Path) -> None:
    folder = stored(tmp_path, lens, days=100)
    said = calibration_warnings(folder, ROBOT, {"wrist": "9999"}, cameras=["wrist"], today=TODAY)
    assert len(said) == 4, "serial number and age, of intrinsics and of hand-eye"
    assert "camera wrist: intrinsics is of the camera with serial number 0123, now there is 9999: calibrate it" in said
    assert any("is 100 days old (more than 90)" in sentence for sentence in said)
    path_of(folder, "wrist", "hand_eye").unlink()
    missing = calibration_warnings(folder, ROBOT, cameras=["wrist"], today=TODAY)
    assert any("there is no hand-eye calibration" in sentence for sentence in missing)
    alone = calibration_warnings(folder, ROBOT, cameras=["wrist"], hand_eye=False, today=TODAY)
    assert len(alone) == 1


def test_nothing_stored_is_said_for_every_camera(tmp_path: Path) -> None:
    said = calibration_warnings(tmp_path / "none", ROBOT, today=TODAY)
    assert [sentence.partition(":")[0] for sentence in said] == ["camera agentview"] * 2 + ["camera wrist"] * 2


def test_damaged_and_undated_files_warn_and_do_not_raise(lens: Intrinsics, tmp_path: Path) -> None:
    folder = stored(tmp_path, lens)
    path_of(folder, "wrist", "camera_info").write_text(FOREIGN.replace("640", "1280"))
    path_of(folder, "wrist", "hand_eye").write_text("kind: [")
    said = calibration_warnings(folder, ROBOT, cameras=["wrist"], today=TODAY)
    assert any("are of 1280x480 images" in sentence for sentence in said)
    assert any("not valid YAML" in sentence for sentence in said)
    path_of(folder, "wrist", "camera_info").write_text(FOREIGN)
    said = calibration_warnings(folder, ROBOT, cameras=["wrist"], hand_eye=False, today=TODAY)
    assert any("does not say when it was made" in sentence for sentence in said)
