"""Calibration over ROS 2: camera_info beside the images, static transforms, and a calibration from a live topic."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger

from tests.ros.support import a_video, running, single
from world2act.node import IMAGE, RECORD_SENSOR, make
from world2act_core.calibration.camera_info import read_camera_info
from world2act_core.calibration.hand_eye import HandEye
from world2act_core.calibration.poses import pose_of
from world2act_core.calibration.store import path_of, transforms, write_hand_eye
from world2act_core.calibration.tf import TF_MESSAGE, transform_message
from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.episodes import compose, fields, messages

ROOT = Path(__file__).parents[2]
INFO = """\
image_width: {width}
image_height: {height}
camera_name: wrist
camera_matrix: {{rows: 3, cols: 3, data: [150.0, 0, 63.0, 0, 151.0, 64.0, 0, 0, 1]}}
distortion_model: plumb_bob
distortion_coefficients: {{rows: 1, cols: 5, data: [-0.1, 0.01, 0, 0, 0]}}
"""


def a_transform(folder: Path) -> None:
    no = np.zeros(3)
    x = pose_of([0.05, -0.03, 0.04], [0.0, 0.0, 0.38, 0.92])
    result = HandEye("eye_in_hand", x, np.eye(4), no, no, 0.3, 0.3, {}, (1.0, 0.0), (), ())
    write_hand_eye(folder, "wrist", result, ("fr3_hand", "wrist_color_optical_frame"), board="b", date="d")


def test_camera_info_comes_with_every_image(probe: Any, domain: int, panda: Embodiment, tmp_path: Path) -> None:
    video, camera = tmp_path / "camera.avi", panda.cameras["wrist"]
    a_video(video, 0.5, 20)
    path_of(tmp_path, "wrist", "camera_info").write_text(INFO.format(width=camera.width, height=camera.height))
    topic = f"{camera.topic.rpartition('/')[0]}/camera_info"
    probe.listen(Image, camera.topic, RECORD_SENSOR)
    probe.listen(CameraInfo, topic, RECORD_SENSOR)
    graph = single("camera", camera="wrist", source="usb", device=str(video), loop=True, calibration=str(tmp_path))
    with running(graph, domain):
        both = lambda: {stamp(m) for m in probe.heard[camera.topic]} & {stamp(m) for m in probe.heard[topic]}  # noqa: E731
        probe.wait(lambda: len(both()) >= 3, 30, "images and camera_info of the same stamps")
    info = probe.heard[topic][0]
    assert (info.width, info.height, info.distortion_model) == (camera.width, camera.height, "plumb_bob")
    assert info.header.frame_id == camera.frame_id
    assert list(info.k) == [150.0, 0, 63.0, 0, 151.0, 64.0, 0, 0, 1] and info.d[0] == pytest.approx(-0.1)
    assert info.p[0] == 150.0 and list(info.r) == [1, 0, 0, 0, 1, 0, 0, 0, 1]


def stamp(message: Any) -> int:
    return fields.stamp_ns(message.header.stamp)


def test_a_camera_of_another_size_delivers_without_camera_info(
    probe: Any, domain: int, panda: Embodiment, tmp_path: Path
) -> None:
    video, camera = tmp_path / "camera.avi", panda.cameras["wrist"]
    a_video(video, 0.5, 20)
    path_of(tmp_path, "wrist", "camera_info").write_text(INFO.format(width=1280, height=720))
    probe.listen(Image, camera.topic, RECORD_SENSOR)
    graph = single("camera", camera="wrist", source="usb", device=str(video), loop=True, calibration=str(tmp_path))
    with running(graph, domain) as (_, output):
        probe.wait(lambda: probe.heard[camera.topic], 30, "images")
    assert "no camera_info: the intrinsics of camera wrist are of 1280x720 images" in output.getvalue()


def test_a_static_transform_is_one_of_tf2(tmp_path: Path) -> None:
    a_transform(tmp_path)
    (stored,) = transforms(tmp_path)
    live = transform_message(stored, 5_000_000_003, make)
    assert (live.header.frame_id, live.child_frame_id) == ("fr3_hand", "wrist_color_optical_frame")
    assert live.header.stamp.nanosec == 3 and live.transform.translation.x == pytest.approx(0.05)
    whole = messages.make(TF_MESSAGE, transforms=[transform_message(stored, 0)])
    again = messages.deserialise(messages.serialise(whole), TF_MESSAGE)
    assert again.transforms[0].transform.rotation.z == pytest.approx(live.transform.rotation.z)


def test_static_transforms_are_published_or_it_is_said_why_not(probe: Any, domain: int, tmp_path: Path) -> None:
    a_transform(tmp_path)
    there = importlib.util.find_spec("tf2_msgs") is not None
    expected = "1 static transforms" if there else "tf2_msgs is not installed"
    with running(single("static_transforms", calibration=str(tmp_path)), domain):
        probe.wait(lambda: expected in probe.diagnosis("static_transforms"), 30, "the sentence")
        assert probe.diagnosed("static_transforms", "wrist_color_optical_frame") == "fr3_hand"


@pytest.mark.slow
def test_a_live_topic_calibrates_and_is_checked(probe: Any, domain: int, tmp_path: Path) -> None:
    """Twelve views, then ~/finish; the result is then checked against other views of the same topic."""
    pytest.importorskip("robosuite")
    from benchmarks._calibration_cell import Cell

    cell, camera = Cell(), load_embodiment("franka_fr3").cameras["wrist"]
    rendered = [cell.image(pose) for pose in cell.views_of_board(14, 3)]
    cell.close()
    publisher = probe.node.create_publisher(Image, camera.topic, IMAGE)
    finish = probe.node.create_client(Trigger, "calibrator/finish")
    raw = replace(camera, rotation_deg=0)

    def run(mode: str, images: list[Any], wanted: int) -> tuple[str, int]:
        board = str(ROOT / "calibration" / "boards" / "charuco_a4.yaml")
        given = {"robot": "franka_fr3", "camera": "wrist", "board": board, "calibration": str(tmp_path), "mode": mode}
        with running(single("calibrator", **given, serial="0123"), domain) as (processes, output):
            probe.wait(finish.service_is_ready, 90, "the node")
            for number, image in enumerate(images * 3):
                before = probe.diagnosed("calibrator", "views")
                if before and int(before) >= wanted:
                    break
                publisher.publish(compose.raw_image_message(image, raw, 10**9 + number, make))
                probe.spin(0.4)
            probe.wait(lambda: int(probe.diagnosed("calibrator", "views") or 0) >= wanted, 5, "views")
            answer = probe.wait_for_reply(finish, Trigger.Request(), 60)
            code = processes.wait()
            assert "Traceback" not in output.getvalue()
        probe.wait(lambda: not finish.service_is_ready(), 30, "the node is gone")
        probe.spin(0.5)  # what it said last is on its way
        probe.heard["/diagnostics"].clear()
        return answer.message, code

    said, code = run("intrinsics", rendered[:11], 9)
    assert code == 0 and "stored:" in said, said
    stored = read_camera_info(path_of(tmp_path, "wrist", "camera_info"))
    assert stored.serial == "0123" and stored.camera.matrix[0, 0] == pytest.approx(612.0, rel=0.01)
    assert len(list((tmp_path / "wrist.views").glob("*.png"))) >= 9
    said, code = run("check", rendered[11:], 3)
    assert code == 0 and said.startswith("pass  intrinsics"), said
