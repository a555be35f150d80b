"""Source ``usb``: a camera through OpenCV (v4l2 on Linux), or a video file played at the contract's rate."""

from __future__ import annotations

import importlib
import os
import sys
import time
from pathlib import Path
from typing import Any

from world2act_core.embodiment import Camera
from world2act_core.errors import MissingExtraError, World2ActError
from world2act_core.runtime.cameras.driver import Frame, RecordingEnd, check_size, plausible_age
from world2act_core.runtime.deadline import Deadlines


def load_opencv() -> Any:
    """The module cv2.

    Raises:
        MissingExtraError: it is not installed.
    """
    # OpenCV reads it when it is loaded: a frozen device blocks a read this many seconds, without it ten.
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "1")
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise MissingExtraError("source usb needs OpenCV: pip install 'opencv-python<5'") from error


class OpenCvCamera:
    """An open camera (``/dev/video0``, ``/dev/v4l/by-id/...``, a number), video stream (a URL) or video file.

    Args:
        pixel_format: four letters that the camera is asked for, such as MJPG; "" leaves the choice to it.
        loop: a video file begins again at its end.

    Raises:
        World2ActError: it is not there, or is no camera, or somebody else has it.
    """

    def __init__(self, device: str, camera: Camera, *, pixel_format: str = "", loop: bool = False) -> None:
        self._cv2 = load_opencv()
        self._device, self._camera, self._format, self._loop = device, camera, pixel_format, loop
        path = Path(f"/dev/video{device}") if device.isdigit() and sys.platform == "linux" else Path(device)
        if not device.isdigit() or sys.platform == "linux":
            if "://" not in device and not path.exists():
                raise World2ActError(f"camera {camera.name}: {path} is not there; is it plugged in?")
        self.live = device.isdigit() or "://" in device or path.is_char_device()
        self._frames = 0
        self._capture = self._open()
        self._deadlines = Deadlines(1.0 / camera.rate_hz, time.monotonic())

    def _open(self) -> Any:
        cv2, camera = self._cv2, self._camera
        v4l2 = self.live and "://" not in self._device and sys.platform == "linux"
        source = int(self._device) if self._device.isdigit() else self._device
        capture = cv2.VideoCapture(source, cv2.CAP_V4L2 if v4l2 else cv2.CAP_ANY)
        if not capture.isOpened():
            raise World2ActError(
                f"camera {camera.name}: {self._device!r} cannot be opened as a camera or video file; "
                f"is it one, and is no other program using it?"
            )
        if self.live:
            if self._format:
                capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*self._format))
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, camera.width)
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, camera.height)
            capture.set(cv2.CAP_PROP_FPS, camera.rate_hz)
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # a queue in the driver would only make frames old
        return capture

    def read(self, timeout_s: float) -> Frame | None:
        return self._read_live() if self.live else self._read_file(timeout_s)

    def _read_live(self) -> Frame:
        there, image = self._capture.read()
        if not there:
            raise World2ActError(
                f"camera {self._camera.name}: {self._device} stopped delivering frames; is it plugged in?"
            )
        # v4l2 tells the time of acquisition on the monotonic clock; other backends tell 0 or something else.
        taken_s = self._capture.get(self._cv2.CAP_PROP_POS_MSEC) / 1000.0
        age_s = plausible_age(time.monotonic() - taken_s)
        return Frame(self._rgb(image), age_s, taken_s if age_s else None)

    def _read_file(self, timeout_s: float) -> Frame | None:
        """A file has no rate of its own: its frames come at the contract's."""
        due_s = self._deadlines.remaining(time.monotonic())
        time.sleep(min(due_s, timeout_s))
        if due_s > timeout_s:
            return None
        there, image = self._capture.read()
        if not there and self._loop and self._frames:
            self._begin_again()
            there, image = self._capture.read()
        if not there:
            raise RecordingEnd(f"the video is over after {self._frames} frames: {self._device}", self._frames > 0)
        self._deadlines.reached(time.monotonic())
        self._frames += 1
        return Frame(self._rgb(image))

    def _begin_again(self) -> None:
        self._capture.release()
        if not Path(self._device).exists():
            raise World2ActError(f"camera {self._camera.name}: {self._device} is not there; is it plugged in?")
        self._capture = self._open()

    def _rgb(self, image: Any) -> Any:
        image = check_size(image, self._camera, self._device)
        return self._cv2.cvtColor(image, self._cv2.COLOR_BGR2RGB)  # OpenCV delivers BGR

    def close(self) -> None:
        self._capture.release()
