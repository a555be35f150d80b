"""A calibration or a check from a camera's live topic: which images to keep, what to say, and the result at the end.

Every image that is kept is also written to a folder, so that nothing is lost when it is interrupted: the command reads
such a folder too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2

from world2act_core.calibration.board import Board, CalibrationError, load_board
from world2act_core.calibration.camera_info import read_camera_info, write_camera_info
from world2act_core.calibration.check import check_intrinsics
from world2act_core.calibration.collecting import MOST_VIEWS, Collector
from world2act_core.calibration.intrinsics import calibrate_intrinsics
from world2act_core.calibration.store import CAMERA_INFO, now, path_of
from world2act_core.embodiment import Camera
from world2act_core.types import Array

INTRINSICS, CHECK = "intrinsics", "check"
MODES = (INTRINSICS, CHECK)
CHECKED_VIEWS = 15
CHECK_S = 40.0  # a check is over in a minute


@dataclass(frozen=True)
class LiveSettings:
    """What is wanted.

    Attributes:
        mode: of MODES.
        board: file of the board.
        folder: of the robot's calibrations.
        serial: serial number of the camera, to be stored.
        model: of the lens.
    """

    mode: str
    board: str
    folder: str
    serial: str = ""
    model: str = "plumb_bob"


class LiveCalibration:
    """Takes images until there are enough.

    Attributes:
        advice: what to show the camera next.

    Raises:
        CalibrationError: an unknown mode; no board; a check without a stored calibration.
    """

    def __init__(self, settings: LiveSettings, camera: Camera, monotonic: Callable[[], float] = time.monotonic) -> None:
        if settings.mode not in MODES:
            raise CalibrationError(f"mode {settings.mode!r} is not one of {', '.join(MODES)}")
        self._settings, self._camera, self._monotonic = settings, camera, monotonic
        self.board: Board = load_board(settings.board)
        self._path = path_of(settings.folder, camera.name, CAMERA_INFO)
        self._stored = read_camera_info(self._path) if settings.mode == CHECK else None
        self._collector = Collector(self.board, CHECKED_VIEWS if settings.mode == CHECK else MOST_VIEWS)
        self._views_folder = Path(settings.folder) / f"{camera.name}.views"
        self._began: float | None = None
        self.advice = self._collector.coverage.next_pose()

    @property
    def kept(self) -> int:
        """How many views there are."""
        return len(self._collector.views)

    @property
    def enough(self) -> bool:
        """Whether it is time to finish."""
        late = self._began is not None and self._monotonic() - self._began > CHECK_S
        return self._collector.enough or (self._settings.mode == CHECK and late)

    def offer(self, image: Array) -> str:
        """Look at an image ``(H, W, 3)`` uint8 RGB as the device delivers it; returns what became of it."""
        self._began = self._monotonic() if self._began is None else self._began
        offered = self._collector.offer(image)
        self.advice = offered.advice
        if offered.kept and self._settings.mode == INTRINSICS:
            self._keep(image)
        return offered.said

    def _keep(self, image: Array) -> None:
        file = self._views_folder / f"{self.kept:03}.png"
        try:
            self._views_folder.mkdir(parents=True, exist_ok=True)
            if self.kept == 1:
                for old in self._views_folder.glob("[0-9][0-9][0-9].png"):
                    old.unlink()
            written = cv2.imwrite(str(file), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        except OSError as error:
            raise CalibrationError(f"{file} cannot be written: {error.strerror}") from error
        if not written:
            raise CalibrationError(f"{file} cannot be written: is the disk full?")

    def finish(self) -> tuple[bool, str]:
        """Whether it went well, and the result in words; stores new intrinsics.

        Raises:
            CalibrationError: the views do not suffice; they stay in their folder.
        """
        if self._stored is not None:
            verdict = check_intrinsics(self._stored, self._collector.views)
            return verdict.passed, str(verdict)
        result = calibrate_intrinsics(self._collector.views, self._settings.model)
        write_camera_info(
            self._path, result, self._camera.name, date=now(), board=self.board.describe(), serial=self._settings.serial
        )
        said = f"fx {result.camera.matrix[0, 0]:.2f} +- {result.deviations['fx']:.2f} px, {len(result.used)} views"
        return True, f"{said}, held out {result.held_out_px:.3f} px; stored: {self._path}"
