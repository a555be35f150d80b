"""A loop that keeps absolute deadlines: beside a busy Python process a timer of rclpy loses 12 % of 100 Hz ticks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Deadlines:
    """Absolute deadlines ``start + k * period``; one that was slept through is counted, not made up for.

    Attributes:
        missed: deadlines that passed without a tick.
    """

    def __init__(self, period_s: float, now: float) -> None:
        self._period_s, self._next, self.missed = period_s, now + period_s, 0

    def remaining(self, now: float) -> float:
        """Seconds until the next deadline, 0 if it has passed."""
        return max(0.0, self._next - now)

    def reached(self, now: float) -> bool:
        """True once a deadline; moves on to the next one in the future."""
        if now < self._next:
            return False
        late = int((now - self._next) / self._period_s)
        self.missed += late
        self._next += (late + 1) * self._period_s
        return True


class DeadlineThread:
    """Calls ``tick`` every ``period_s`` in a thread of its own until ``stop``.

    An error in ``tick`` ends the thread and is kept in ``error``: a command loop must not go on half broken.
    """

    def __init__(self, period_s: float, tick: Callable[[], None]) -> None:
        self._period_s, self._tick = period_s, tick
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
        self.error: Exception | None = None
        self.missed = 0
        self.alive_at = time.monotonic()

    @property
    def going(self) -> bool:
        """It has been started, and neither stopped nor ended by an error."""
        return self._thread.is_alive() and not self._stop.is_set()

    def start(self) -> None:
        self.alive_at = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        deadlines = Deadlines(self._period_s, time.monotonic())
        while not self._stop.wait(deadlines.remaining(time.monotonic())):
            if deadlines.reached(time.monotonic()):
                self.missed = deadlines.missed
                self.alive_at = time.monotonic()
                try:
                    self._tick()
                except Exception as error:  # noqa: BLE001  (kept for the owner, who ends the process)
                    self.error = error
                    return


class Watchdog:
    """Calls ``stalled``, once and from a thread of its own, when a loop's tick has not come back for ``seconds``.

    It sleeps between looks and holds nothing, so what blocks the loop does not block it. A machine (or a debugger) that
    stops the whole process stops the watchdog too, and is no stall.
    """

    def __init__(self, watched: DeadlineThread, seconds: float, stalled: Callable[[], None]) -> None:
        self._watched, self._seconds, self._stalled = watched, seconds, stalled
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        looks, pause_s = 0, self._seconds / 10
        seen = self._watched.alive_at
        while self._watched.going:
            time.sleep(pause_s)
            alive_at = self._watched.alive_at
            looks = looks + 1 if alive_at == seen else 0
            seen = alive_at
            if looks >= 10 and self._watched.going:
                self._stalled()
                return
