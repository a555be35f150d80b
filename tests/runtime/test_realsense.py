"""The RealSense driver on librealsense's own software device, and on a recording that librealsense made of it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from world2act_core.calibration.camera_model import CameraModel
from world2act_core.calibration.check import compare_with_factory
from world2act_core.embodiment import load_embodiment
from world2act_core.errors import World2ActError
from world2act_core.runtime.cameras import RecordingEnd, SteadyCamera, camera_opener
from world2act_core.runtime.cameras.realsense import RealSenseCamera

rs = pytest.importorskip("pyrealsense2", reason="pyrealsense2 is not installed: pip install 'world2act[realsense]'")
CAMERA = replace(load_embodiment("libero_panda").cameras["agentview"], width=64, height=48, rate_hz=30.0)


class SoftwareDevice:
    """A RealSense without hardware; ``send`` is its sensor taking a picture."""

    def __init__(self, fps: int = 30, focal_px: float = 0.0) -> None:
        self.device = rs.software_device()
        self._sensor = self.device.add_sensor("RGB Camera")
        stream = rs.video_stream()
        stream.type, stream.index, stream.uid, stream.fmt = rs.stream.color, 0, 1, rs.format.rgb8
        stream.width, stream.height, stream.fps, stream.bpp = CAMERA.width, CAMERA.height, fps, 3
        intrinsics = rs.intrinsics()
        intrinsics.width, intrinsics.height = CAMERA.width, CAMERA.height
        if focal_px:
            intrinsics.fx, intrinsics.fy, intrinsics.ppx, intrinsics.ppy = focal_px, focal_px + 1, 31.0, 24.5
            intrinsics.model = rs.distortion.inverse_brown_conrady
            intrinsics.coeffs = [0.05, -0.01, 0.001, 0.0, 0.0]
        stream.intrinsics = intrinsics
        self._profile = self._sensor.add_video_stream(stream).as_video_stream_profile()
        self._kept: list[Any] = []  # librealsense does not copy

    def send(self, number: int, age_s: float = 0.0, domain: Any = None) -> None:
        pixels = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)
        pixels[..., 0] = number
        frame = rs.software_video_frame()
        frame.pixels, frame.bpp, frame.stride = pixels, 3, CAMERA.width * 3
        frame.frame_number, frame.profile = number, self._profile
        frame.timestamp = (time.time() - age_s) * 1000.0
        frame.domain = domain or rs.timestamp_domain.system_time
        self._kept += [pixels, frame]
        self._sensor.on_video_frame(frame)


def test_colour_frames_come_with_their_number_and_age() -> None:
    source = SoftwareDevice()
    camera = RealSenseCamera("", CAMERA, opened=source.device)
    for number in (1, 2, 3):
        source.send(number, age_s=0.2)
        frame = camera.read(1.0)
        assert frame is not None and frame.mark == number
        assert frame.image.shape == (48, 64, 3) and list(frame.image[0, 0]) == [number, 0, 0]
        assert 0.2 <= frame.age_s < 0.9
    assert camera.read(0.05) is None
    camera.close()


def test_factory_intrinsics_are_read_and_compared() -> None:
    """librealsense's own kind of distortion, compared ray by ray: a lens without distortion is told apart."""
    source = SoftwareDevice(focal_px=60.0)
    camera = RealSenseCamera("", CAMERA, opened=source.device)
    factory = camera.factory_intrinsics()
    camera.close()
    assert factory.size == (64, 48)
    assert factory.parameters == {"fx": 60.0, "fy": 61.0, "cx": 31.0, "cy": 24.5}
    middle = factory.rays(np.array([[31.0, 24.5], [61.0, 24.5]]))
    assert middle[0] == pytest.approx([0.0, 0.0], abs=1e-6) and middle[1][0] == pytest.approx(0.5, abs=0.02)
    plain = CameraModel((64, 48), np.array([[60.0, 0, 31], [0, 61, 24.5], [0, 0, 1]]), "plumb_bob", np.zeros(5))
    mean, largest, said = compare_with_factory(plain, factory.rays, factory.parameters)
    assert 0.0 < mean < largest < 3.0 and "fx 60.0 against 60.0" in said


def test_a_device_without_factory_intrinsics_says_so() -> None:
    camera = RealSenseCamera("", CAMERA, opened=SoftwareDevice().device)
    with pytest.raises(World2ActError, match="has no factory intrinsics"):
        camera.factory_intrinsics()
    camera.close()


def test_a_clock_that_is_not_ours_gives_no_age() -> None:
    source = SoftwareDevice()
    camera = RealSenseCamera("", CAMERA, opened=source.device)
    source.send(1, age_s=0.2, domain=rs.timestamp_domain.hardware_clock)
    frame = camera.read(1.0)
    assert frame is not None and frame.age_s == 0.0
    camera.close()


def test_a_frozen_realsense_is_said() -> None:
    source = SoftwareDevice()
    steady = SteadyCamera(CAMERA, lambda: RealSenseCamera("", CAMERA, opened=source.device), frozen_s=0.2)
    assert steady.read(0.05) is None
    source.send(1)
    assert steady.read(1.0) is not None
    deadline = time.monotonic() + 10
    while steady.health().level != "error":
        steady.read(0.05)
        assert time.monotonic() < deadline
    assert "gave no new frame for" in steady.health().sentence
    steady.close()


def test_a_stream_that_the_device_lacks_lists_those_it_has() -> None:
    with pytest.raises(World2ActError, match="no colour stream 64x48 rgb8 at 30 Hz, only 64x48 15 Hz"):
        RealSenseCamera("", CAMERA, opened=SoftwareDevice(fps=15).device)


def test_a_realsense_that_is_not_connected_is_one_sentence() -> None:
    with pytest.raises(World2ActError, match=r"RealSense 0123 is not connected \(.*\); is it plugged in\?"):
        camera_opener("realsense", "0123", CAMERA)()


def test_a_recording_plays_and_ends(tmp_path: Path) -> None:
    source, file = SoftwareDevice(), tmp_path / "recorded.db3"
    recorder = rs.recorder(str(file), source.device)
    sensor = recorder.query_sensors()[0]
    queue = rs.frame_queue(16)
    sensor.open(sensor.get_stream_profiles()[0])
    sensor.start(queue)
    for number in range(1, 9):
        source.send(number)
        time.sleep(0.03)
        queue.wait_for_frame(1000)
    sensor.stop()
    sensor.close()
    del sensor, recorder  # the file is finished with the recorder
    camera = camera_opener("realsense", str(file), CAMERA)()
    reds = []
    with pytest.raises(RecordingEnd, match=r"over after \d frames"):
        while True:
            if (frame := camera.read(0.3)) is not None:
                reds.append(int(frame.image[0, 0, 0]))
    assert len(reds) >= 4 and reds == sorted(set(reds))
    camera.close()
