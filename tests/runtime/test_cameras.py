"""Camera drivers on real files, and a camera that goes and comes back."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from world2act_core.embodiment import Camera, load_embodiment
from world2act_core.episodes import BagWriter, compose, messages
from world2act_core.errors import ContractError, MissingExtraError, World2ActError
from world2act_core.runtime.cameras import CameraDriver, Frame, RecordingEnd, SteadyCamera, camera_opener

PANDA = load_embodiment("libero_panda")
CAMERA = replace(PANDA.cameras["agentview"], width=64, height=48, rate_hz=200.0, rotation_deg=180)


def a_video(path: Path, frames: int, camera: Camera = CAMERA) -> Path:
    """Frame k is red with k * 20 in its blue channel: order and channels can be read from it."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (camera.width, camera.height))
    for k in range(frames):
        writer.write(np.full((camera.height, camera.width, 3), (k * 20, 0, 200), np.uint8))  # BGR
    writer.release()
    return path


def frames_of(driver: CameraDriver, count: int) -> list[Frame]:
    found: list[Frame] = []
    deadline = time.monotonic() + 10
    while len(found) < count:
        assert time.monotonic() < deadline, "too few frames"
        if (frame := driver.read(0.05)) is not None:
            found.append(frame)
    return found


def test_a_video_s_frames_come_in_order_as_rgb_and_then_it_is_over(tmp_path: Path) -> None:
    driver = camera_opener("usb", str(a_video(tmp_path / "v.avi", 10)), CAMERA)()
    images = [frame.image for frame in frames_of(driver, 10)]
    assert {image.shape for image in images} == {(48, 64, 3)} and images[0].dtype == np.uint8
    blues = [image[..., 2].mean() for image in images]
    np.testing.assert_allclose(blues, [k * 20 for k in range(10)], atol=6)
    assert min(image[..., 0].mean() for image in images) > 190, "RGB, not BGR"
    with pytest.raises(RecordingEnd, match="over after 10 frames"):
        frames_of(driver, 1)


def test_a_video_plays_at_the_rate_of_the_contract(tmp_path: Path) -> None:
    driver = camera_opener("usb", str(a_video(tmp_path / "v.avi", 12)), replace(CAMERA, rate_hz=20.0))()
    frames_of(driver, 1)
    began = time.monotonic()
    frames_of(driver, 10)
    assert time.monotonic() - began > 0.45


def test_a_looped_video_begins_again(tmp_path: Path) -> None:
    driver = camera_opener("usb", str(a_video(tmp_path / "v.avi", 4)), CAMERA, loop=True)()
    blues = [frame.image[..., 2].mean() for frame in frames_of(driver, 6)]
    np.testing.assert_allclose(blues, [0, 20, 40, 60, 0, 20], atol=6)


def test_another_size_than_the_contract_s_is_refused(tmp_path: Path) -> None:
    video = a_video(tmp_path / "v.avi", 2, replace(CAMERA, width=80))
    with pytest.raises(ContractError, match="delivers 80x48, the embodiment says 64x48"):
        frames_of(camera_opener("usb", str(video), CAMERA)(), 1)


@pytest.mark.parametrize(
    ("source", "device", "says"),
    [
        ("usb", "{}/nothing", "nothing is not there; is it plugged in?"),
        ("usb", "{}/text", "cannot be opened as a camera or video file"),
        ("bag", "{}/nothing", "there is no bag at"),
    ],
)
def test_what_is_not_there_is_one_sentence(source: str, device: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no video")
    opener = camera_opener(source, device.format(tmp_path), CAMERA)
    with pytest.raises(World2ActError, match=says.replace("?", r"\?")):
        opener()


def test_an_unknown_source_and_a_missing_library_are_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(World2ActError, match="'zed' is not one of usb, realsense, bag"):
        camera_opener("zed", "", CAMERA)
    monkeypatch.setitem(sys.modules, "pyrealsense2", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'world2act\[realsense\]'"):
        camera_opener("realsense", "", CAMERA)


# --- bags -----------------------------------------------------------------------------------------------------------


def a_bag(path: Path, log_times_s: list[float], camera: Camera = CAMERA) -> Path:
    """Image k is k * 10 in red, red only in its upper half: a rotation would show."""
    with BagWriter(path, PANDA) as writer:
        for k, log_time in enumerate(log_times_s):
            image = np.zeros((camera.height, camera.width, 3), np.uint8)
            image[: camera.height // 2, :, 0] = k * 10 % 256
            message = compose.raw_image_message(image, camera, k)
            writer.write_raw(camera.topic, messages.IMAGE, messages.serialise(message), round(log_time * 1e9))
    return path


def test_a_bag_s_images_come_as_published_at_their_recorded_pace(tmp_path: Path) -> None:
    driver = camera_opener("bag", str(a_bag(tmp_path / "bag", [5.0, 5.1, 5.4])), CAMERA, rate_factor=2.0)()
    arrivals = []
    for k in range(3):
        (frame,) = frames_of(driver, 1)
        arrivals.append(time.monotonic())
        assert frame.image[0, 0, 0] == k * 10 and frame.image[-1, 0, 0] == 0
    gaps = np.diff(arrivals)
    assert gaps[0] > 0.03 and gaps[1] > 0.12 and arrivals[2] - arrivals[0] > 0.19
    with pytest.raises(RecordingEnd, match="over after 3 images on agentview"):
        frames_of(driver, 1)


def test_a_bag_without_images_of_the_camera_says_so(tmp_path: Path) -> None:
    driver = camera_opener("bag", str(a_bag(tmp_path / "bag", [1.0])), replace(CAMERA, topic="belly/image_raw"))()
    with pytest.raises(RecordingEnd, match="0 images on belly/image_raw") as raised:
        driver.read(0.1)
    assert not raised.value.whole


def test_a_cut_off_bag_plays_up_to_the_damage_and_says_so(tmp_path: Path) -> None:
    bag = a_bag(tmp_path / "bag", [k * 0.001 for k in range(400)])
    file = bag / "bag_0.mcap"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    steady = SteadyCamera(CAMERA, camera_opener("bag", str(bag), CAMERA, rate_factor=100.0))
    frames = 0
    while not steady.over:
        frames += steady.read(0.05) is not None
    assert frames > 20 and steady.health().level == "error"
    assert f"ended after {frames} images" in steady.health().sentence


# --- a camera that goes and comes back --------------------------------------------------------------------------------


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Plug:
    """A live device under a test's hand: ``state`` is in, out or frozen; a frame takes 1/200 s."""

    live = True

    def __init__(self, clock: Clock) -> None:
        self.clock, self.state, self.opened, self.number, self.opened_at = clock, "in", 0, 0, list[float]()
        self.repeat = False

    def open(self) -> CameraDriver:
        self.opened += 1
        self.opened_at.append(self.clock.now)
        if self.state == "out":
            raise World2ActError("camera: it is not there")
        return self

    def read(self, timeout_s: float) -> Frame | None:
        if self.state == "out":
            raise World2ActError("camera: it stopped")
        if self.state == "frozen":
            self.clock.sleep(timeout_s)
            return None
        self.clock.sleep(1 / CAMERA.rate_hz)
        self.number += not self.repeat
        return Frame(np.zeros((48, 64, 3), np.uint8), mark=float(self.number))

    def close(self) -> None:
        pass


@pytest.fixture
def plugged() -> tuple[Plug, SteadyCamera]:
    clock = Clock()
    plug = Plug(clock)
    return plug, SteadyCamera(CAMERA, plug.open, frozen_s=1.0, monotonic=clock, sleep=clock.sleep)


def read_for(steady: SteadyCamera, plug: Plug, seconds: float) -> list[Frame]:
    until = plug.clock.now + seconds
    found = []
    while plug.clock.now < until:
        frame = steady.read(0.2)
        found += [frame] if frame is not None else []
    return found


def test_an_unplugged_camera_is_said_and_comes_back_by_itself(plugged: tuple[Plug, SteadyCamera]) -> None:
    plug, steady = plugged
    assert len(read_for(steady, plug, 1.0)) > 190
    plug.state = "out"
    assert read_for(steady, plug, 10.0) == []
    health = steady.health()
    assert (health.level, health.sentence) == ("error", "camera: it is not there") and not steady.fresh()
    plug.state = "in"
    assert read_for(steady, plug, 6.0) and steady.fresh()
    health = steady.health()
    assert (health.level, health.sentence, health.values["returns"]) == ("ok", "delivering", 1)


def test_the_pauses_between_attempts_grow_up_to_a_limit(plugged: tuple[Plug, SteadyCamera]) -> None:
    plug, steady = plugged
    plug.state = "out"
    read_for(steady, plug, 30.0)
    pauses = np.diff(plug.opened_at)
    np.testing.assert_allclose(pauses[:7], [0.25, 0.5, 1, 2, 4, 5, 5], atol=1e-6)


def test_a_frozen_device_is_said_and_opened_anew(plugged: tuple[Plug, SteadyCamera]) -> None:
    plug, steady = plugged
    read_for(steady, plug, 0.1)
    plug.state = "frozen"
    assert read_for(steady, plug, 1.5) == []
    assert steady.health().level == "error" and "gave no new frame for 1" in steady.health().sentence
    assert plug.opened > 1


def test_a_read_that_blocks_does_not_hide_that_the_device_is_frozen(plugged: tuple[Plug, SteadyCamera]) -> None:
    plug, steady = plugged
    read_for(steady, plug, 0.1)
    plug.clock.sleep(3.0)  # as if the driver were still blocked in read
    assert (steady.health().level, steady.health().sentence) == (
        "error",
        "camera agentview gave no new frame for 3.0 s",
    )


def test_the_same_frame_is_never_given_twice(plugged: tuple[Plug, SteadyCamera]) -> None:
    plug, steady = plugged
    assert read_for(steady, plug, 0.1)
    plug.repeat = True
    assert read_for(steady, plug, 0.5) == [] and steady.health().values["repeated"] > 50


def test_missed_frames_are_counted_and_a_slow_camera_is_said(plugged: tuple[Plug, SteadyCamera]) -> None:
    plug, steady = plugged
    for _ in range(20):
        steady.read(0.2)
        plug.clock.sleep(3 / CAMERA.rate_hz)
    health = steady.health()
    assert health.level == "warn" and "delivers 50.0 Hz, the embodiment says 200 Hz" in health.sentence
    assert health.values["missed"] == 19 * 3


def test_a_video_file_that_goes_and_returns(tmp_path: Path) -> None:
    video = tmp_path / "v.avi"
    steady = SteadyCamera(CAMERA, camera_opener("usb", str(video), CAMERA, loop=True))

    def until(condition: Callable[[], Any]) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            steady.read(0.05)
            assert time.monotonic() < deadline

    until(lambda: "is not there" in steady.health().sentence)
    a_video(video, 5)
    until(steady.fresh)
    video.unlink()
    until(lambda: "is not there" in steady.health().sentence)
    a_video(video, 5)
    until(lambda: steady.health().values["returns"] == 1)
    steady.close()
