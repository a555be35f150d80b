"""Source ``realsense``: the colour stream of an Intel RealSense, of a recording of one, or of a software device."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from world2act_core.embodiment import Camera
from world2act_core.errors import MissingExtraError, World2ActError
from world2act_core.runtime.cameras.driver import Frame, RecordingEnd, check_size, plausible_age
from world2act_core.types import Array

RECORDINGS = (".bag", ".db3")  # librealsense before 2.59 records the first, since then the second


@dataclass(frozen=True)
class FactoryIntrinsics:
    """A RealSense's own calibration of its colour stream.

    Attributes:
        size: width and height, pixels.
        parameters: ``fx fy cx cy``.
        rays: pixels ``(N, 2)`` → directions ``(N, 2)`` (x/z, y/z), with the device's own kind of distortion.
    """

    size: tuple[int, int]
    parameters: dict[str, float]
    rays: Callable[[Array], Array]


def load_realsense() -> Any:
    """The module pyrealsense2.

    Raises:
        MissingExtraError: the extra ``realsense`` is not installed.
    """
    try:
        return importlib.import_module("pyrealsense2")
    except ImportError as error:
        raise MissingExtraError("source realsense needs the extra: pip install 'world2act[realsense]'") from error


class RealSenseCamera:
    """An open colour sensor. It is driven without librealsense's pipeline, which does not take software devices.

    Args:
        device: serial number, "" for the first one found, or a recording (.bag, .db3).
        loop: a recording begins again at its end.
        opened: a device of pyrealsense2 to use instead of looking for one, such as its software device.

    Raises:
        World2ActError: it is not connected, has no such stream, or somebody else has it.
    """

    def __init__(self, device: str, camera: Camera, *, loop: bool = False, opened: Any = None) -> None:
        self._rs = load_realsense()
        self._camera, self._loop = camera, loop
        self._name = f"RealSense {device or '(any)'}"
        self.live = Path(device).suffix not in RECORDINGS
        self._frames = 0
        try:
            self._device = opened or (self._find(device) if self.live else self._load(device))
            self._start()
        except RuntimeError as error:  # what librealsense raises
            raise World2ActError(f"camera {camera.name}: {self._name} cannot be started: {_one_line(error)}") from error

    def _find(self, serial: str) -> Any:
        key = self._rs.camera_info.serial_number
        found = {device.get_info(key): device for device in self._rs.context().query_devices() if device.supports(key)}
        if not found or (serial and serial not in found):
            connected = f"connected: {', '.join(found)}" if found else "none is"
            raise World2ActError(
                f"camera {self._camera.name}: {self._name} is not connected ({connected}); is it plugged in?"
            )
        return found[serial] if serial else next(iter(found.values()))

    def _load(self, file: str) -> Any:
        if not Path(file).is_file():
            raise World2ActError(f"camera {self._camera.name}: there is no recording {file}")
        return self._rs.context().load_device(file)

    def _start(self) -> None:
        self._sensor, self._profile = self._stream()
        self._queue = self._rs.frame_queue(1)  # the newest: an old frame is worth nothing
        self._sensor.open(self._profile)
        try:
            self._sensor.start(self._queue)
        except RuntimeError:
            self._sensor.close()
            raise

    def _stream(self) -> tuple[Any, Any]:
        rs, camera = self._rs, self._camera
        wanted = (camera.width, camera.height, rs.format.rgb8)
        offered = []
        for sensor in self._device.query_sensors():
            for profile in sensor.get_stream_profiles():
                if profile.stream_type() != rs.stream.color:
                    continue
                video = profile.as_video_stream_profile()
                at_rate = not self.live or profile.fps() == round(camera.rate_hz)
                if at_rate and (video.width(), video.height(), profile.format()) == wanted:
                    return sensor, profile
                offered.append(f"{video.width()}x{video.height()} {profile.fps()} Hz")
        raise World2ActError(
            f"camera {camera.name}: {self._name} has no colour stream {camera.width}x{camera.height} rgb8 at "
            f"{camera.rate_hz:g} Hz, only {', '.join(dict.fromkeys(offered)) or 'none'}"
        )

    def read(self, timeout_s: float) -> Frame | None:
        try:
            there, frame = self._queue.try_wait_for_frame(round(timeout_s * 1000))
        except RuntimeError as error:
            raise World2ActError(f"camera {self._camera.name}: {self._name} failed: {_one_line(error)}") from error
        if not there:
            if not self.live:
                self._end_or_pause()
            return None
        self._frames += 1
        image = check_size(np.array(frame.get_data()), self._camera, self._name)
        return Frame(image, self._age_s(frame), frame.get_frame_number() if self.live else None)

    def _age_s(self, frame: Any) -> float:
        domains = self._rs.timestamp_domain
        if not self.live or frame.get_frame_timestamp_domain() == domains.hardware_clock:
            return 0.0  # a clock that is not ours
        return plausible_age(time.time() - frame.get_timestamp() / 1000.0)

    def _end_or_pause(self) -> None:
        if self._device.as_playback().current_status() != self._rs.playback_status.stopped:
            return
        if not (self._loop and self._frames):
            raise RecordingEnd(f"the recording is over after {self._frames} frames: {self._name}", self._frames > 0)
        self.close()
        self._start()

    def factory_intrinsics(self) -> FactoryIntrinsics:
        """What the maker calibrated this stream to.

        Raises:
            World2ActError: the device does not tell.
        """
        try:
            found = self._profile.as_video_stream_profile().get_intrinsics()
        except RuntimeError as error:
            raise World2ActError(f"camera {self._camera.name}: {self._name} has no factory intrinsics") from error
        if not (found.fx > 0 and found.fy > 0):
            raise World2ActError(f"camera {self._camera.name}: {self._name} has no factory intrinsics")
        parameters = {"fx": found.fx, "fy": found.fy, "cx": found.ppx, "cy": found.ppy}

        def rays(pixels: Array) -> Array:
            deproject = self._rs.rs2_deproject_pixel_to_point  # knows librealsense's own kinds of distortion
            return np.array([deproject(found, [float(x), float(y)], 1.0)[:2] for x, y in pixels])

        return FactoryIntrinsics((found.width, found.height), parameters, rays)

    def close(self) -> None:
        try:
            self._sensor.stop()
            self._sensor.close()
        except RuntimeError:  # it was unplugged
            pass


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
