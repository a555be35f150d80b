"""A camera that comes back: opened, read, closed when it fails, and tried again with growing pauses."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from world2act_core.embodiment import Camera
from world2act_core.errors import World2ActError
from world2act_core.runtime.cameras.driver import CameraDriver, Frame, RecordingEnd

SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 5.0
SLOW = 0.8  # of the contract's rate: below, the camera is said to be slow
RATE_FRAMES = 60  # over which the rate is measured


@dataclass(frozen=True)
class CameraHealth:
    """How a camera is: ``level`` is ``ok``, ``warn`` or ``error``; ``values`` are for the diagnostics."""

    level: str
    sentence: str
    values: dict[str, Any]


class SteadyCamera:
    """Reads in one thread; ``health`` may be asked from another, also while ``read`` is blocked by a frozen device.

    Args:
        open_driver: opens the device anew; raises World2ActError while it cannot.
        frozen_s: a live device that gives no new frame for so long is said to be frozen, and opened anew.
        monotonic, sleep: the clock, for tests.

    Attributes:
        over: a recording has ended; there will be no further frame.
    """

    def __init__(
        self,
        camera: Camera,
        open_driver: Callable[[], CameraDriver],
        *,
        frozen_s: float = 2.0,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._camera, self._open_driver, self._frozen_s = camera, open_driver, frozen_s
        self._monotonic, self._sleep = monotonic, sleep
        self._driver: CameraDriver | None = None
        self._pause_s, self._not_before = SHORTEST_PAUSE_S, 0.0
        self._trouble, self.over, self._whole = "", False, True
        self._alive_at = monotonic()  # the last frame, or when the device was opened
        self._mark: float | None = None
        self._taken: deque[float] = deque(maxlen=RATE_FRAMES)
        self._frames = self._missed = self._repeated = self._returns = 0
        self._last_frame_at: float | None = None

    def read(self, timeout_s: float) -> Frame | None:
        """The next new frame; None if there is none within about ``timeout_s``. Never raises World2ActError."""
        if self.over or (self._driver is None and not self._try_to_open(timeout_s)):
            if self.over:
                self._sleep(timeout_s)
            return None
        assert self._driver is not None
        try:
            frame = self._driver.read(timeout_s)
        except RecordingEnd as end:
            self._trouble, self.over, self._whole = str(end), True, end.whole
            self.close()
            return None
        except World2ActError as error:
            self._failed(str(error))
            return None
        now = self._monotonic()
        if frame is not None and (frame.mark is None or frame.mark != self._mark):
            self._count(frame, now)
            return frame
        self._repeated += frame is not None
        if self._driver.live and now - self._alive_at > self._frozen_s:
            self._failed(
                f"camera {self._camera.name} gave no new frame for {now - self._alive_at:.1f} s: frozen or unplugged"
            )
        return None

    def close(self) -> None:
        """Let the device go; the next ``read`` opens it again."""
        driver, self._driver = self._driver, None
        if driver is not None:
            driver.close()

    def fresh(self) -> bool:
        """Whether a frame came lately: the camera can be relied on now."""
        return self._last_frame_at is not None and self._monotonic() - self._last_frame_at < self._frozen_s

    def health(self) -> CameraHealth:
        """How the camera is, by what was seen so far."""
        silent_s = None if self._last_frame_at is None else self._monotonic() - self._last_frame_at
        rate_hz = self._rate_hz()
        values = {
            "frames": self._frames,
            "rate_hz": f"{rate_hz:.2f}",
            "missed": self._missed,
            "repeated": self._repeated,
            "returns": self._returns,
            "last_frame_s_ago": "never" if silent_s is None else f"{silent_s:.2f}",
        }
        if self.over:
            return CameraHealth("ok" if self._whole else "error", self._trouble, values)
        if self._trouble:
            return CameraHealth("error", self._trouble, values)
        waited_s = self._monotonic() - self._alive_at
        driver = self._driver
        if driver is not None and driver.live and waited_s > self._frozen_s:
            return CameraHealth("error", f"camera {self._camera.name} gave no new frame for {waited_s:.1f} s", values)
        if silent_s is None:
            return CameraHealth("ok", "waiting for the first frame", values)
        if driver is not None and driver.live and len(self._taken) > 10 and rate_hz < SLOW * self._camera.rate_hz:
            wanted = self._camera.rate_hz
            return CameraHealth("warn", f"delivers {rate_hz:.1f} Hz, the embodiment says {wanted:g} Hz", values)
        return CameraHealth("ok", "delivering", values)

    def _try_to_open(self, timeout_s: float) -> bool:
        wait_s = self._not_before - self._monotonic()
        if wait_s > 0:
            self._sleep(min(wait_s, timeout_s))
        if wait_s > timeout_s:
            return False
        try:
            self._driver = self._open_driver()
        except World2ActError as error:
            self._failed(str(error))
            return False
        self._alive_at, self._mark = self._monotonic(), None
        return True

    def _failed(self, why: str) -> None:
        """Close, and wait longer each time: only a frame shows that the device is back."""
        self.close()
        self._trouble = why
        self._not_before = self._monotonic() + self._pause_s
        self._pause_s = min(2.0 * self._pause_s, LONGEST_PAUSE_S)
        self._taken.clear()

    def _count(self, frame: Frame, now: float) -> None:
        taken = now - frame.age_s
        if self._taken and self._driver is not None and self._driver.live:
            self._missed += max(0, round((taken - self._taken[-1]) * self._camera.rate_hz) - 1)
        self._taken.append(taken)
        self._returns += bool(self._trouble) and self._frames > 0
        self._frames += 1
        self._trouble, self._pause_s, self._mark = "", SHORTEST_PAUSE_S, frame.mark
        self._alive_at = self._last_frame_at = now

    def _rate_hz(self) -> float:
        taken = list(self._taken)
        return (len(taken) - 1) / (taken[-1] - taken[0]) if len(taken) > 1 and taken[-1] > taken[0] else 0.0
