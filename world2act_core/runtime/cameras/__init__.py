"""Cameras without ROS: drivers for devices and recordings, and what keeps them delivering."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from world2act_core.embodiment import Camera
from world2act_core.errors import World2ActError
from world2act_core.runtime.cameras.bag import BagCamera
from world2act_core.runtime.cameras.driver import CameraDriver, Frame, RecordingEnd
from world2act_core.runtime.cameras.opencv import OpenCvCamera, load_opencv
from world2act_core.runtime.cameras.realsense import RealSenseCamera, load_realsense
from world2act_core.runtime.cameras.steady import CameraHealth, SteadyCamera

__all__ = ["SOURCES", "CameraDriver", "CameraHealth", "Frame", "RecordingEnd", "SteadyCamera", "camera_opener"]

SOURCES = ("usb", "realsense", "bag")


def camera_opener(
    source: str, device: str, camera: Camera, *, loop: bool = False, rate_factor: float = 1.0, pixel_format: str = ""
) -> Callable[[], CameraDriver]:
    """What opens a camera: called once now and again each time the device has gone.

    Args:
        source: ``usb`` (OpenCV: device path, number, stream or video file), ``realsense`` (serial number, "" or a
            recording of librealsense) or ``bag`` (a bag with images on the camera's topic).
        loop: a recording begins again at its end.
        rate_factor: of source ``bag``: 2 plays twice as fast as was logged.
        pixel_format: of source ``usb``: four letters to ask the camera for, such as MJPG.

    Raises:
        MissingExtraError: the driver's library is not installed, which waiting does not mend.
        World2ActError: no such source.
    """
    if pixel_format and len(pixel_format) != 4:
        raise World2ActError(f"camera {camera.name}: pixel_format {pixel_format!r} must be four letters, such as MJPG")
    if source == "usb":
        load_opencv()
        return partial(OpenCvCamera, device, camera, loop=loop, pixel_format=pixel_format)
    if source == "realsense":
        load_realsense()
        return partial(RealSenseCamera, device, camera, loop=loop)
    if source == "bag":
        return partial(BagCamera, device, camera, rate_factor=rate_factor, loop=loop)
    raise World2ActError(f"camera {camera.name}: source {source!r} is not one of {', '.join(SOURCES)}")
