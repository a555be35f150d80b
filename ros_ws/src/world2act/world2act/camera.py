"""Node ``camera``: one camera of the embodiment from a driver (``usb``: OpenCV device or video file; ``realsense``)."""

from __future__ import annotations

import sys
import threading
import time

from sensor_msgs.msg import Image

from world2act.node import ERROR, IMAGE, OK, World2ActNode, make, run_node
from world2act_core.episodes import compose
from world2act_core.errors import World2ActError
from world2act_core.runtime.cameras import CameraDriver, open_camera
from world2act_core.runtime.deadline import Deadlines


class CameraNode(World2ActNode):
    """Reads in a thread of its own, because a driver blocks until the next frame."""

    def __init__(self) -> None:
        super().__init__("camera")
        embodiment = self.embodiment_parameter()
        name = self.parameter("camera", next(iter(embodiment.cameras)), "camera of the embodiment")
        if name not in embodiment.cameras:
            raise World2ActError(f"{embodiment.name} has no camera {name!r}, only {', '.join(embodiment.cameras)}")
        self._camera = embodiment.cameras[name]
        self._source = self.parameter("source", "usb", "usb or realsense")
        self._device = self.parameter("device", "0", "OpenCV device or video file; RealSense serial number")
        self._driver: CameraDriver | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def configure(self) -> None:
        self._driver = open_camera(self._source, self._device, self._camera)
        self._publisher = self.speak(Image, self._camera.topic, IMAGE)

    def activate(self) -> None:
        self._stop.clear()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def deactivate(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def cleanup(self) -> None:
        if self._driver is not None:
            self._driver.close()
            self._driver = None

    def _read(self) -> None:
        assert self._driver is not None
        deadlines = Deadlines(1.0 / self._camera.rate_hz, time.monotonic())  # a video file has no rate of its own
        frames = 0
        try:
            while not self._stop.wait(deadlines.remaining(time.monotonic())):
                deadlines.reached(time.monotonic())
                frame = self._driver.read()
                if frame is None:
                    self.report(OK, "the recording is over", frames=frames)
                    return
                stamp = self.get_clock().now().nanoseconds
                self.publish(self._publisher, compose.image_message(frame, self._camera, stamp, make))
                frames += 1
                self.report(OK, "delivering", frames=frames)
        except World2ActError as error:
            self.report(ERROR, str(error))


def main() -> None:
    sys.exit(run_node(CameraNode))
