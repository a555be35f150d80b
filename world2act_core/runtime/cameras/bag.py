"""Source ``bag``: the images that a rosbag2 bag has on the camera's topic, at the pace at which they were logged."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from world2act_core.embodiment import Camera
from world2act_core.episodes import fields, messages
from world2act_core.episodes.storage import bag_messages
from world2act_core.errors import DamagedBagError, World2ActError
from world2act_core.runtime.cameras.driver import Frame, RecordingEnd


class BagCamera:
    """Plays one topic of a bag.

    Args:
        rate_factor: 2 plays twice as fast as was logged.
        loop: the bag begins again at its end.

    Raises:
        World2ActError: there is no bag at ``path``.
    """

    live = False

    def __init__(self, path: str, camera: Camera, *, rate_factor: float = 1.0, loop: bool = False) -> None:
        if not Path(path).exists():
            raise World2ActError(f"camera {camera.name}: there is no bag at {path}")
        self._path, self._rate_factor, self._loop = path, rate_factor, loop
        self._camera = replace(camera, rotation_deg=0)  # as its driver published them
        self._frames = 0
        self._begin()

    def _begin(self) -> None:
        self._images = self._read_images()
        self._next: tuple[int, Frame] | None = None
        self._origin: tuple[int, float] | None = None  # log time of the first image, when it was played

    def _read_images(self) -> Iterator[tuple[int, Frame]]:
        topic = self._camera.topic.strip("/")
        for raw in bag_messages(self._path):
            if raw.topic.strip("/") != topic or raw.type_name != messages.IMAGE:
                continue
            try:
                message = messages.deserialise(raw.data, raw.type_name)
            except ValueError as error:
                raise DamagedBagError(f"{self._path}: an image on {topic} cannot be read: {error}") from error
            yield raw.log_time_ns, Frame(fields.decode_image(message, self._camera))

    def read(self, timeout_s: float) -> Frame | None:
        if self._next is None:
            self._next = self._fetch()
        log_ns, frame = self._next
        if self._origin is None:
            self._origin = (log_ns, time.monotonic())
        first_ns, began = self._origin
        due_s = began + (log_ns - first_ns) / 1e9 / self._rate_factor - time.monotonic()
        if due_s > 0:
            time.sleep(min(due_s, timeout_s))
        if due_s > timeout_s:
            return None
        self._next = None
        self._frames += 1
        return frame

    def _fetch(self) -> tuple[int, Frame]:
        try:
            found = next(self._images, None)
            if found is None and self._loop and self._frames:
                self._begin()
                found = next(self._images, None)
        except World2ActError as error:  # damaged, or images that the contract does not know: what came before is out
            raise RecordingEnd(f"the bag ended after {self._frames} images: {error}", whole=False) from error
        if found is None:
            topic = self._camera.topic
            raise RecordingEnd(
                f"the bag is over after {self._frames} images on {topic}: {self._path}", self._frames > 0
            )
        return found

    def close(self) -> None:
        self._images = iter(())
