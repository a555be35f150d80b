"""Camera drivers: frames as they come from the device, upright after the contract's rotation."""

from __future__ import annotations

import importlib
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from world2act_core.embodiment import Camera
from world2act_core.errors import ContractError, MissingExtraError, World2ActError
from world2act_core.types import Array

SOURCES = ("usb", "realsense")


class CameraDriver(Protocol):
    """One open camera."""

    def read(self) -> Array | None:
        """The next frame, ``(H, W, 3)`` uint8 RGB, upright; None when a recording is over. Blocks until it is there.

        Raises:
            World2ActError: the device stopped delivering.
        """

    def close(self) -> None: ...

    def __enter__(self) -> CameraDriver: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_camera(source: str, device: str, camera: Camera) -> CameraDriver:
    """Open a camera by source (``usb``: OpenCV device, number or video file; ``realsense``: serial number or "").

    Raises:
        MissingExtraError: the driver's library is not installed.
        World2ActError: no such source or device.
    """
    if source == "usb":
        return OpenCvCamera(device, camera)
    if source == "realsense":
        return RealSenseCamera(device, camera)
    raise World2ActError(f"camera {camera.name}: source {source!r} is not one of {', '.join(SOURCES)}")


class _Driver:
    def __init__(self, device: str, camera: Camera) -> None:
        self._device, self._camera = device, camera

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None: ...

    def _upright(self, frame: Array) -> Array:
        camera = self._camera
        if frame.shape != (camera.height, camera.width, 3):
            raise ContractError(
                f"camera {camera.name} ({self._device}) delivers {frame.shape[1]}x{frame.shape[0]}, "
                f"the embodiment says {camera.width}x{camera.height}: change one of them"
            )
        return np.ascontiguousarray(np.rot90(frame, camera.rotation_deg // 90))


class OpenCvCamera(_Driver):
    """A camera or video file through OpenCV."""

    def __init__(self, device: str, camera: Camera) -> None:
        super().__init__(device, camera)
        try:
            cv2 = importlib.import_module("cv2")
        except ImportError as error:
            raise MissingExtraError("source usb needs OpenCV: pip install 'opencv-python<5'") from error
        self._capture = cv2.VideoCapture(int(device) if device.isdigit() else device)
        if not self._capture.isOpened():
            raise World2ActError(f"camera {camera.name}: {device!r} cannot be opened as a camera or video file")
        self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, camera.width)
        self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, camera.height)
        self._capture.set(cv2.CAP_PROP_FPS, camera.rate_hz)
        self._is_recording = self._capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0

    def read(self) -> Array | None:
        there, frame = self._capture.read()
        if there:
            return self._upright(frame[..., ::-1])  # OpenCV delivers BGR
        if self._is_recording:
            return None
        raise World2ActError(f"camera {self._camera.name}: {self._device} stopped delivering frames; is it plugged in?")

    def close(self) -> None:
        self._capture.release()


class RealSenseCamera(_Driver):
    """The colour stream of an Intel RealSense."""

    def __init__(self, device: str, camera: Camera) -> None:
        super().__init__(device, camera)
        try:
            self._rs = importlib.import_module("pyrealsense2")
        except ImportError as error:
            raise MissingExtraError("source realsense needs the extra: pip install 'world2act[realsense]'") from error
        config = self._rs.config()
        if device:
            config.enable_device(device)
        rate = round(camera.rate_hz)
        config.enable_stream(self._rs.stream.color, camera.width, camera.height, self._rs.format.rgb8, rate)
        self._pipeline = self._rs.pipeline()
        try:
            self._pipeline.start(config)
        except RuntimeError as error:
            raise World2ActError(
                f"camera {camera.name}: RealSense {device or '(any)'} cannot be started: {error}"
            ) from error

    def read(self) -> Array | None:
        try:
            frames = self._pipeline.wait_for_frames(1000)
        except RuntimeError as error:
            raise World2ActError(f"camera {self._camera.name}: RealSense delivered nothing for 1 s: {error}") from error
        return self._upright(np.asanyarray(frames.get_color_frame().get_data()))

    def close(self) -> None:
        self._pipeline.stop()
