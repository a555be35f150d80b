"""Hand-eye calibration while it is recorded: the arm goes from pose to pose, one image of each rest is kept.

Every image that is kept is also written to a folder with the arm's poses, so that nothing is lost when it is
interrupted: ``world2act calibrate hand-eye FOLDER --poses FOLDER/poses.csv`` reads it.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from world2act_core.calibration.board import CalibrationError, load_board
from world2act_core.calibration.detection import BoardDetector, Rejected
from world2act_core.calibration.hand_eye import Sample, calibrate_hand_eye
from world2act_core.calibration.kinematics import ForwardKinematics
from world2act_core.calibration.motion import FEWEST_POSES, check_motion
from world2act_core.calibration.poses import difference, quaternion_xyzw
from world2act_core.calibration.sources import POSE_COLUMNS, pose_of_message
from world2act_core.calibration.store import intrinsics_of, now, write_hand_eye
from world2act_core.calibration.track import STILL_S, ArmTrack
from world2act_core.embodiment import Camera
from world2act_core.episodes import fields
from world2act_core.types import Array

WANTED_POSES = 25
OTHER_M, OTHER_DEG = 0.01, 3.0  # nearer to a pose before, a rest teaches nothing
REMEMBERED_S = 2.0
TABLE = "poses.csv"


@dataclass(frozen=True)
class HandEyeSettings:
    """What is wanted.

    Attributes:
        kind: of `files.KINDS`.
        board: file of the board.
        folder: of the robot's calibrations, where the camera's intrinsics are.
        parent: frame in which the camera's place is told: the link on the hand, or the arm's base.
        model, link, base: as of `ForwardKinematics`; without a model the arm's topic tells poses.
        serial: serial number of the camera, to be stored; "" the one of its intrinsics.
    """

    kind: str
    board: str
    folder: str
    parent: str
    model: str = ""
    link: str = ""
    base: str = ""
    serial: str = ""


class LiveHandEye:
    """Takes images and the arm's poses until there are enough.

    Attributes:
        advice: what to do next.

    Raises:
        CalibrationError: no board, no intrinsics, or a model that cannot be read.
    """

    def __init__(self, settings: HandEyeSettings, camera: Camera) -> None:
        self._settings, self._camera = settings, camera
        self._detector = BoardDetector(load_board(settings.board))
        self._intrinsics = intrinsics_of(settings.folder, camera.name)
        self._arm = ForwardKinematics(settings.model, settings.link, settings.base) if settings.model else None
        self._stamps: list[float] = []
        self._poses: list[Array] = []
        self._pending: tuple[float, Array] | None = None
        self._samples: list[Sample] = []
        self._views_folder = Path(settings.folder) / f"{camera.name}.hand_eye"
        self._said = "nothing was seen yet"
        self._advise()

    @property
    def kept(self) -> int:
        """How many poses there are."""
        return len(self._samples)

    @property
    def enough(self) -> bool:
        """Whether it is time to finish."""
        return self.kept >= WANTED_POSES and not self._missing()

    def on_arm(self, message: Any) -> None:
        """A JointState or, without a model, a PoseStamped. Joint states of others on the topic are passed over."""
        if self._arm is None:
            pose = pose_of_message(message)
        elif any(name.endswith(joint) for name in message.name for joint in self._arm.joints):
            pose = self._arm.pose(dict(zip(message.name, map(float, message.position), strict=True)))
        else:
            return
        stamp = fields.stamp_s(message.header.stamp)
        if self._stamps and stamp <= self._stamps[-1]:
            if stamp < self._stamps[-1] - REMEMBERED_S:  # the clock was set back
                self._stamps, self._poses = [], []
            else:
                return
        self._stamps.append(stamp)
        self._poses.append(pose)
        while self._stamps[0] < stamp - REMEMBERED_S:
            del self._stamps[0], self._poses[0]

    def offer(self, image: Array, stamp_s: float) -> str:
        """Look at an image ``(H, W, 3)`` uint8 RGB as the device delivers it; returns what became of the last one.

        It waits until the arm's poses after it are known.
        """
        if self._pending is not None and self._stamps and self._stamps[-1] >= self._pending[0] + STILL_S:
            self._said = self._judge(*self._pending)
            self._advise()
            self._pending = None
        waits_in_vain = self._pending is not None and stamp_s - self._pending[0] > REMEMBERED_S
        if self._pending is None or waits_in_vain or stamp_s < self._pending[0]:
            self._pending = (stamp_s, image)
        if waits_in_vain:
            self._said = (
                "the arm's poses do not reach the image's stamp: is the arm's topic there, are the clocks alike?"
            )
        return self._said

    def _judge(self, stamp_s: float, image: Array) -> str:
        if len(self._stamps) < 4 or self._stamps[0] > stamp_s - STILL_S:
            return "the arm's poses at the image's stamp are not known: are the clocks alike?"
        track = ArmTrack(np.array(self._stamps), np.stack(self._poses), "the arm")
        if not track.still(np.array([stamp_s]))[0]:
            return "the arm moves"
        arm = track.at(np.array([stamp_s]))[0]
        if any(_near(arm, sample.arm) for sample in self._samples):
            return "the arm rests where it was before"
        if (image.shape[1], image.shape[0]) != self._intrinsics.camera.size:
            width, height = self._intrinsics.camera.size
            raise CalibrationError(
                f"the images are {image.shape[1]}x{image.shape[0]}, the intrinsics are of {width}x{height} images"
            )
        name = f"{self.kept + 1:03}.png"
        found = self._detector.detect(image, name, stamp_s)
        if isinstance(found, Rejected):
            return found.reason
        self._samples.append(Sample(found, arm))
        self._keep(image, name, arm)
        return f"pose {self.kept}"

    def _keep(self, image: Array, name: str, arm: Array) -> None:
        row = [name, *arm[:3, 3], *quaternion_xyzw(arm)]
        try:
            self._views_folder.mkdir(parents=True, exist_ok=True)
            if self.kept == 1:
                for old in [*self._views_folder.glob("[0-9][0-9][0-9].png"), self._views_folder / TABLE]:
                    old.unlink(missing_ok=True)
            written = cv2.imwrite(str(self._views_folder / name), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
            with (self._views_folder / TABLE).open("a", encoding="utf-8", newline="") as file:
                if self.kept == 1:
                    csv.writer(file).writerow(["image", *POSE_COLUMNS])
                csv.writer(file).writerow(row)
        except OSError as error:
            raise CalibrationError(f"{self._views_folder} cannot be written: {error.strerror}") from error
        if not written:
            raise CalibrationError(f"{self._views_folder / name} cannot be written: is the disk full?")

    def _missing(self) -> str:
        """What the poses so far do not determine, or ""."""
        if self.kept < FEWEST_POSES:
            return "another pose, turned by 30 degrees or so about another axis of the hand; rest there for a second"
        try:
            check_motion([sample.arm for sample in self._samples])
        except CalibrationError as error:
            return str(error)
        return ""

    def _advise(self) -> None:
        if self.enough:
            self.advice = ""
            return
        self.advice = self._missing() or f"another pose, {WANTED_POSES - self.kept} more; rest there for a second"

    def finish(self) -> tuple[bool, str]:
        """True, and the result in words; stores it.

        Raises:
            CalibrationError: the poses do not suffice; they stay in their folder.
        """
        settings = self._settings
        result = calibrate_hand_eye(self._samples, self._intrinsics.camera, settings.kind)
        path = write_hand_eye(
            settings.folder, self._camera.name, result, (settings.parent, self._camera.frame_id),
            board=self._detector.board.describe(), date=now(), serial=settings.serial or self._intrinsics.serial,
        )  # fmt: skip
        place = " ".join(f"{value:.5f}" for value in result.camera_pose[:3, 3])
        turn = " ".join(f"{value:.6f}" for value in quaternion_xyzw(result.camera_pose))
        said = (
            f"{self._camera.frame_id} in {settings.parent}: {place} m, {turn} xyzw; {len(result.used)} poses, error "
            f"{result.error_px:.3f} px, held out {result.held_out_px:.3f} px"
        )
        warning = f"; warning: {result.warning}" if result.warning else ""
        return True, f"{said}{warning}; stored: {path}"


def _near(one: Array, other: Array) -> bool:
    metres, degrees = difference(one, other)
    return metres < OTHER_M and degrees < OTHER_DEG
