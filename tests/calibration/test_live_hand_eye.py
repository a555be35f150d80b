"""Hand-eye while it is recorded: which images are kept, what is said, and that nothing is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks._calibration_cell import BOARDS, IN_HAND, LINK, Cell, panda_mjcf
from benchmarks._rendered_bags import ARM, joint_state
from tests.calibration.test_command import ROBOT, true_intrinsics
from world2act_core.calibration.board import CalibrationError
from world2act_core.calibration.live_hand_eye import TABLE, HandEyeSettings, LiveHandEye
from world2act_core.calibration.poses import difference
from world2act_core.calibration.store import read_hand_eye
from world2act_core.cli import main
from world2act_core.episodes import messages
from world2act_core.types import Array

POSES = 8


class Session:
    """Somebody who moves the arm; its states come at 100 Hz, an image in the middle of each motion or rest."""

    def __init__(self, cell: Cell, folder: Path) -> None:
        true_intrinsics(cell, folder)
        board = str(BOARDS / "charuco_a4.yaml")
        settings = HandEyeSettings("eye_in_hand", board, str(folder), LINK, str(panda_mjcf()), LINK)
        self.cell, self.live, self.now = cell, LiveHandEye(settings, ROBOT.cameras["wrist"]), 100.0

    def arm(self, joints: Array) -> None:
        self.now += 0.01
        data = joint_state(round(1e9 * self.now), ARM, joints)
        self.live.on_arm(messages.deserialise(data, messages.JOINT_STATE))

    def go(self, begin: Array, end: Array, image: Array | None = None) -> str:
        """From one configuration to another in 0.8 s; what became of the image that was taken half way."""
        way = [begin + share * (end - begin) for share in np.linspace(0, 1, 80)]
        shown = self.cell.image(self.cell.seen(IN_HAND, way[40])) if image is None else image
        for joints in way[:40]:
            self.arm(joints)
        self.live.offer(shown, self.now)
        for joints in way[40:]:
            self.arm(joints)
        said = self.live.offer(shown, self.now)
        self.live.offer(shown, self.now - 10)  # the one that waits is forgotten
        return said


def test_one_image_of_each_rest_is_kept_and_the_rest_is_told_why_not(cell: Cell, tmp_path: Path) -> None:
    session = Session(cell, tmp_path)
    poses = cell.joints_for(IN_HAND, 14, 4)[:POSES]
    blank = np.full((480, 640, 3), 128, np.uint8)
    assert session.go(poses[0], poses[0], blank).startswith("no marker") and session.live.kept == 0
    for number, here in enumerate(poses, 1):
        assert session.go(here, here) == f"pose {number}"
        assert session.live.advice
    assert session.go(poses[0], poses[0]) == "the arm rests where it was before"
    assert session.go(poses[0], poses[1]) == "the arm moves"
    assert session.live.kept == POSES and not session.live.enough
    assert session.live.advice == "another pose, 17 more; rest there for a second"
    good, said = session.live.finish()
    assert good and f"wrist_color_optical_frame in {LINK}" in said and "8 poses" in said
    metres, degrees = difference(read_hand_eye(tmp_path, "wrist").pose, IN_HAND.camera)
    assert metres < 0.001 and degrees < 0.1
    # What was kept can be read again by the command, as after an interruption.
    (tmp_path / "wrist.hand_eye.yaml").unlink()
    kept = tmp_path / "wrist.hand_eye"
    given = ["calibrate", "hand-eye", str(kept), "--poses", str(kept / TABLE), "--camera", "wrist"]
    assert main([*given, "--kind", "eye_in_hand", "--link", LINK, "--folder", str(tmp_path)]) == 0
    again = difference(read_hand_eye(tmp_path, "wrist").pose, IN_HAND.camera)
    assert again == pytest.approx((metres, degrees), abs=1e-4)


def test_what_the_poses_do_not_determine_is_said_and_refused_at_the_end(cell: Cell, tmp_path: Path) -> None:
    session = Session(cell, tmp_path)
    here = cell.joints_for(IN_HAND, 14, 4)[0]
    for turn in np.linspace(-0.5, 0.5, 7):
        turned = here + np.array([0, 0, 0, 0, 0, 0, turn])  # the last joint alone
        session.go(turned, turned)
    assert session.live.kept >= 6 and "about one axis" in session.live.advice
    with pytest.raises(CalibrationError, match="about one axis"):
        session.live.finish()
    assert not (tmp_path / "wrist.hand_eye.yaml").exists()
    assert len(list((tmp_path / "wrist.hand_eye").glob("*.png"))) == session.live.kept, "nothing is lost"


def test_images_of_another_size_than_the_intrinsics_are_refused(cell: Cell, tmp_path: Path) -> None:
    session = Session(cell, tmp_path)
    here = cell.joints_for(IN_HAND, 14, 4)[0]
    with pytest.raises(CalibrationError, match="the images are 320x240, the intrinsics are of 640x480 images"):
        session.go(here, here, np.zeros((240, 320, 3), np.uint8))


def test_poses_that_do_not_reach_the_image_are_a_question_of_clocks(cell: Cell, tmp_path: Path) -> None:
    session = Session(cell, tmp_path)
    here = cell.joints_for(IN_HAND, 14, 4)[0]
    for _ in range(80):
        session.arm(here)
    image = np.zeros((480, 640, 3), np.uint8)
    session.live.offer(image, session.now + 3600)
    assert "are the clocks alike?" in session.live.offer(image, session.now + 3603)
