"""Node ``camera``: one camera of the embodiment from a device or a recording → sensor_msgs/Image, rgb8, and CameraInfo.

Sources: ``usb`` (OpenCV), ``realsense``, ``bag``. A camera that is absent or unplugged is said in log and diagnostics,
and tried again until it is back; an image is published once, stamped with the time at which it was taken.
"""

from __future__ import annotations

import sys
import threading

from sensor_msgs.msg import CameraInfo, Image

from world2act.node import ERROR, IMAGE, OK, WARN, World2ActNode, make
from world2act.running import run_node
from world2act_core.calibration.camera_info import StoredIntrinsics, camera_info_message, check_size
from world2act_core.calibration.store import intrinsics_of
from world2act_core.episodes import compose
from world2act_core.errors import World2ActError
from world2act_core.runtime.cameras import Frame, SteadyCamera, camera_opener

POLL_S = 0.2  # a deactivation waits for a read at most about this long
LEVELS = {"ok": OK, "warn": WARN, "error": ERROR}


class CameraNode(World2ActNode):
    """Reads in a thread of its own, because a driver blocks until the next frame."""

    def __init__(self) -> None:
        super().__init__("camera")
        embodiment = self.embodiment_parameter()
        name = self.parameter("camera", next(iter(embodiment.cameras)), "camera of the embodiment")
        if name not in embodiment.cameras:
            raise World2ActError(f"{embodiment.name} has no camera {name!r}, only {', '.join(embodiment.cameras)}")
        self._camera = embodiment.cameras[name]
        self._source = self.parameter("source", "usb", "usb, realsense or bag")
        self._device = self.parameter(
            "device", "0", "usb: device, number, URL or video file; realsense: serial number, nothing or recording; bag"
        )
        self._loop = self.parameter("loop", False, "a recording begins again at its end")
        self._rate_factor = self.parameter("rate_factor", 1.0, "source bag: 2 plays twice as fast", 0.01, 100.0)
        self._pixel_format = self.parameter("pixel_format", "", "source usb: four letters to ask for, such as MJPG")
        self._frozen_s = self.parameter("frozen_s", 2.0, "a device without a new frame for so long failed", 0.1, 60.0)
        self._folder = self.parameter("calibration", "", "folder of the robot's calibrations: camera_info is published")
        self._intrinsics: StoredIntrinsics | None = None
        self._steady: SteadyCamera | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._last_ns = 0

    def configure(self) -> None:
        opener = camera_opener(
            self._source,
            self._device,
            self._camera,
            loop=self._loop,
            rate_factor=self._rate_factor,
            pixel_format=self._pixel_format,
        )
        self._steady = SteadyCamera(self._camera, opener, frozen_s=self._frozen_s)
        self._publisher = self.speak(Image, self._camera.topic, IMAGE)
        self._intrinsics = self._read_intrinsics()
        if self._intrinsics is not None:
            beside = self._camera.topic.rpartition("/")[0]
            self._info = self.speak(CameraInfo, f"{beside}/camera_info" if beside else "camera_info", IMAGE)

    def _read_intrinsics(self) -> StoredIntrinsics | None:
        """A policy in image space needs none: what is missing or wrong is said, and the images come all the same."""
        if not self._folder:
            return None
        try:
            stored = intrinsics_of(self._folder, self._camera.name)
            check_size(stored, self._camera)
        except World2ActError as error:
            self.get_logger().warning(f"no camera_info: {error}")
            return None
        return stored

    def activate(self) -> None:
        self._stop.clear()
        self._thread = threading.Thread(target=self._read, name="camera", daemon=True)
        self._thread.start()
        self.every(0.25, self._say)

    def deactivate(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def not_ready(self) -> str:
        """A task must not begin before the camera delivers."""
        if (why := super().not_ready()) or self._steady is None:
            return why
        return "" if self._steady.fresh() else f"camera {self._camera.name}: {self._steady.health().sentence}"

    def _say(self) -> None:
        assert self._steady is not None
        health = self._steady.health()
        self.report(LEVELS[health.level], health.sentence, source=f"{self._source}:{self._device}", **health.values)

    def _read(self) -> None:
        assert self._steady is not None
        try:
            while not self._stop.is_set():
                frame = self._steady.read(POLL_S)
                if frame is not None:
                    self._publish(frame)
        finally:
            self._steady.close()

    def _publish(self, frame: Frame) -> None:
        stamp_ns = self.get_clock().now().nanoseconds - round(frame.age_s * 1e9)
        if 0 <= self._last_ns - stamp_ns < 1_000_000_000:  # ages jitter; readers take the stamps' order for the images'
            stamp_ns = self._last_ns + 1
        self._last_ns = stamp_ns
        self.publish(self._publisher, compose.raw_image_message(frame.image, self._camera, stamp_ns, make))
        if self._intrinsics is not None:
            self.publish(self._info, camera_info_message(self._intrinsics, self._camera, stamp_ns, make))


def main() -> None:
    sys.exit(run_node(CameraNode))
