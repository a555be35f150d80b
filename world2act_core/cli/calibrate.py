"""Calibrate cameras, hand-eye, time offset and gripper of a robot cell, and check what is stored.

`board` prints a ChArUco board as a PDF at true scale. `intrinsics` calibrates a camera from images of it, `hand-eye`
says where the camera is on the hand or in the cell, `time` how late its stamps are, `gripper` measures w_0 and Delta.
`check` says whether what is stored still holds. Results are stored in a folder a robot, with date, board and errors.
docs/calibration.md says what the numbers mean.
"""

from __future__ import annotations

import argparse

from world2act_core.cli import _calibrate_arm, _calibrate_camera

EXAMPLES = """\
  world2act calibrate board calibration/boards/charuco_a4.yaml board.pdf
  world2act calibrate intrinsics images/ --camera wrist
  world2act calibrate intrinsics live --camera wrist
  world2act calibrate hand-eye bags/poses --camera wrist --kind eye_in_hand --model fr3.urdf --link fr3_hand
  world2act calibrate time bags/wave --camera wrist --kind eye_in_hand --model fr3.urdf --link fr3_hand
  world2act calibrate gripper bags/gripper
  world2act calibrate check bags/today --camera wrist"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for family in (_calibrate_camera, _calibrate_arm):
        family.add_actions(actions)


def run(args: argparse.Namespace) -> int:
    return int(args.work(args))
