"""`world2act calibrate` as somebody types it, on bags of the rendered cell."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from benchmarks._calibration_cell import IN_HAND, LINK, Cell, panda_mjcf, wave
from benchmarks._rendered_bags import joint_state, stops, write_bag
from world2act_core.calibration.camera_info import write_camera_info
from world2act_core.calibration.intrinsics import Intrinsics
from world2act_core.calibration.poses import difference
from world2act_core.calibration.store import path_of, read_hand_eye, read_time
from world2act_core.cli import main
from world2act_core.embodiment import load_embodiment
from world2act_core.episodes import BagWriter, messages
from world2act_core.types import Array

ROBOT = load_embodiment("franka_fr3")
ARM = ["--model", str(panda_mjcf()), "--link", LINK]


def calibrate(folder: Path, action: str, source: Path | str, *more: str) -> int:
    return main(["calibrate", action, str(source), "--folder", str(folder), *more])


def true_intrinsics(cell: Cell, folder: Path) -> None:
    """The truth, as if it had been calibrated."""
    result = Intrinsics(cell.camera, 1e-4 * np.eye(9), 0.05, 0.07, 0.08, ("a",), ())
    date = "2026-01-01T00:00:00+00:00"
    write_camera_info(path_of(folder, "wrist", "camera_info"), result, "wrist", date=date, board="b", serial="0123")


def images(cell: Cell, folder: Path, poses: list[Array]) -> Path:
    folder.mkdir()
    for k, pose in enumerate(poses):
        cv2.imwrite(str(folder / f"{k:02}.png"), cell.image(pose)[..., ::-1])
    return folder


def test_a_board_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    board = "calibration/boards/charuco_a4.yaml"
    assert main(["calibrate", "board", str(Path(__file__).parents[2] / board), str(tmp_path / "b.pdf")]) == 0
    assert "page a4; print it at 100 %" in capsys.readouterr().out
    assert (tmp_path / "b.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["intrinsics", "nowhere"], "neither a folder of images nor a bag at nowhere"),
        (["intrinsics", "nowhere", "--camera", "left"], "has no camera 'left', only agentview, wrist"),
        (["intrinsics", "nowhere", "--board", "none.yaml"], "there is no board file none.yaml"),
        (["check", "nowhere"], "make them with world2act calibrate intrinsics"),
        (["hand-eye", "nowhere", "--kind", "eye_in_hand"], "--link is missing"),
        (["time", "nowhere", "--kind", "eye_in_hand"], "make them with world2act calibrate intrinsics"),
        (["gripper", "nowhere"], "there is no bag at nowhere"),
        (["board", "none.yaml", "b.pdf"], "there is no board file none.yaml"),
    ],
)
def test_what_is_missing_is_one_sentence(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    boards = Path(__file__).parents[2] / "calibration"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "calibration").symlink_to(boards)
    more = [] if arguments[0] == "board" else ["--folder", str(tmp_path / "stored")]
    assert main(["calibrate", *arguments, *more]) == 2
    errors = capsys.readouterr().err
    assert said in errors and errors.count("\n") == 1 and "Traceback" not in errors


def test_images_without_a_board_leave_a_stored_calibration_alone(
    cell: Cell, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    true_intrinsics(cell, tmp_path)
    before = path_of(tmp_path, "wrist", "camera_info").read_bytes()
    (tmp_path / "images").mkdir()
    for k in range(3):
        cv2.imwrite(str(tmp_path / "images" / f"{k}.png"), np.full((480, 640, 3), 60 * k, np.uint8))
    assert calibrate(tmp_path, "intrinsics", tmp_path / "images", "--camera", "wrist") == 2
    assert "none of 3 images shows charuco_a4 usably; 0.png and others: no marker" in capsys.readouterr().err
    assert path_of(tmp_path, "wrist", "camera_info").read_bytes() == before


def test_a_gripper_in_a_bag_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag, stream = tmp_path / "bag", ROBOT.state["gripper_positions"]
    topic, fingers = stream.topic, stream.joints
    level = np.concatenate([np.full(100, w) for w in (0.0395, 0.0005, 0.0395, 0.0005, 0.0395)])
    with BagWriter(bag, ROBOT) as writer:
        for k, half in enumerate(level):
            ns = round(1e9 * (1 + k / 100))
            writer.write_raw(topic, messages.JOINT_STATE, joint_state(ns, fingers, np.array([half, half])), ns)
    assert calibrate(tmp_path / "stored", "gripper", bag) == 0
    out = capsys.readouterr().out
    assert "w_0      79.00 mm over 3 openings" in out and "(the contract says 80.00 mm)" in out
    assert (tmp_path / "stored" / "gripper.yaml").is_file()


@pytest.mark.slow
def test_a_cell_is_calibrated_and_checked_from_what_was_recorded(
    cell: Cell, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Intrinsics from a folder, hand-eye from a bag with stops, then a check that passes and one that does not."""
    stored = tmp_path / "stored"
    folder = images(cell, tmp_path / "images", cell.views_of_board(20, 3))
    assert calibrate(stored, "intrinsics", folder, "--camera", "wrist", "--serial", "0123") == 0
    assert "held out 0." in capsys.readouterr().out
    joints = cell.joints_for(IN_HAND, 14, 4)
    bag = write_bag(tmp_path / "bag", ROBOT, "wrist", *stops(cell, IN_HAND, joints))
    assert calibrate(stored, "hand-eye", bag, "--camera", "wrist", "--kind", "eye_in_hand", *ARM) == 0
    out = capsys.readouterr().out
    assert "solver park" in out and f"wrist_color_optical_frame in {LINK}" in out
    found = read_hand_eye(stored, "wrist")
    metres, degrees = difference(found.pose, IN_HAND.camera)
    assert metres < 0.001 and degrees < 0.1
    assert (found.parent_frame, found.serial) == (LINK, "0123")
    assert calibrate(stored, "check", bag, "--camera", "wrist", *ARM) == 0
    assert capsys.readouterr().out.count("pass  ") == 2
    file = path_of(stored, "wrist", "hand_eye")
    moved = yaml.safe_load(file.read_text())
    moved["translation_m"][0] += 0.02
    file.write_text(yaml.safe_dump(moved))
    assert calibrate(stored, "check", bag, "--camera", "wrist", *ARM) == 1
    out = capsys.readouterr().out
    assert "FAIL  hand-eye" in out and "the camera moved by 20." in out and "pass  intrinsics" in out


@pytest.mark.slow
def test_late_stamps_in_a_bag_are_found(cell: Cell, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    true_intrinsics(cell, tmp_path)
    stamps, motion = wave(cell.joints_for(IN_HAND, 8, 0), 6.0, 1)
    taken = np.arange(0.55, 5.4, 0.1)
    rows = [np.array([np.interp(t, stamps, motion[:, k]) for k in range(7)]) for t in taken]
    shown = [(t + 0.037, cell.image(cell.seen(IN_HAND, row))) for t, row in zip(taken, rows, strict=True)]
    bag = write_bag(tmp_path / "bag", ROBOT, "wrist", (stamps, motion), shown)
    assert calibrate(tmp_path, "time", bag, "--camera", "wrist", "--kind", "eye_in_hand", *ARM) == 0
    assert "to be added to the stamps of wrist" in capsys.readouterr().out
    assert read_time(tmp_path, "wrist") == pytest.approx(-0.037, abs=0.002)
    assert calibrate(tmp_path, "hand-eye", bag, "--camera", "wrist", "--kind", "eye_in_hand", *ARM) == 0
    metres, degrees = difference(read_hand_eye(tmp_path, "wrist").pose, IN_HAND.camera)
    assert metres < 0.001 and degrees < 0.1, "with the offset known, a moving arm will do"


@pytest.mark.slow
def test_a_moving_arm_needs_the_offset_first(cell: Cell, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    true_intrinsics(cell, tmp_path)
    stamps, motion = wave(cell.joints_for(IN_HAND, 8, 0), 6.0, 1)
    shown = [(t, np.zeros((480, 640, 3), np.uint8)) for t in np.arange(0.5, 5.5, 0.2)]
    bag = write_bag(tmp_path / "bag", ROBOT, "wrist", (stamps, motion), shown)
    assert calibrate(tmp_path, "hand-eye", bag, "--camera", "wrist", "--kind", "eye_in_hand", *ARM) == 2
    assert "calibrate the camera's time offset first" in capsys.readouterr().err
