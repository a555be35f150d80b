"""What a camera driver is: frames as they come from the device, with the time since they were taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from world2act_core.embodiment import Camera
from world2act_core.errors import ContractError, World2ActError
from world2act_core.types import Array


@dataclass(frozen=True)
class Frame:
    """One image of a device.

    Attributes:
        image: ``(height, width, 3)`` uint8 RGB as the device delivers it; readers apply the contract's rotation.
        age_s: seconds from acquisition to now, by the device's own time where it tells one, else 0.
        mark: the device's number or time of the frame: the same twice is the same frame; None where it has none.
    """

    image: Array
    age_s: float = 0.0
    mark: float | None = None


class RecordingEnd(World2ActError):
    """A video file or bag is over. ``whole`` is False if it ended before its time, and the message says why."""

    def __init__(self, message: str, whole: bool = True) -> None:
        super().__init__(message)
        self.whole = whole


class CameraDriver(Protocol):
    """One open camera.

    Attributes:
        live: a device, which must deliver all the time; a recording may pause.
    """

    live: bool

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame; None if none came within about ``timeout_s``.

        Raises:
            RecordingEnd: there will be no further frame.
            World2ActError: the device failed; it has to be closed and opened anew.
        """

    def close(self) -> None:
        """Let the device go; the driver is not used any more."""


def check_size(image: Array, camera: Camera, device: str) -> Array:
    """The image, if it has the contract's size before rotation."""
    if image.shape != (camera.height, camera.width, 3):
        raise ContractError(
            f"camera {camera.name}: {device} delivers {image.shape[1]}x{image.shape[0]}, "
            f"the embodiment says {camera.width}x{camera.height}: change one of them"
        )
    return image


def plausible_age(seconds: float) -> float:
    """An age told by a device, or 0 if its clock is evidently not ours."""
    return seconds if 0.0 <= seconds < 1.0 else 0.0
