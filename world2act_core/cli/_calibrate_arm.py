"""`world2act calibrate hand-eye`, `time`, `gripper` and `check`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from world2act_core.cli import _calibrate_shared as shared
from world2act_core.cli._actions import add_action

if TYPE_CHECKING:
    from world2act_core.calibration.check import Verdict
    from world2act_core.calibration.detection import Rejected
    from world2act_core.calibration.hand_eye import HandEye, Sample

KINDS = ("eye_in_hand", "eye_to_hand")
HAND_EYE = """Where a camera is, on the hand or in the cell.

SOURCE is a bag in which the arm stops at 20 to 30 poses, `live` (the topics of a camera node and of the arm: says how
to move on, ends when there are enough; needs ROS 2), or a folder of images with --poses. Eye-in-hand: the board lies
still, --link carries the camera. Eye-to-hand: the camera stands still, --link carries the board. Poses come from
joint states (--model) or from a topic of poses; needs the camera's intrinsics.
"""
HAND_EYE_EXAMPLES = """\
  world2act calibrate hand-eye live --camera wrist --kind eye_in_hand --model fr3.urdf --link fr3_hand
  world2act calibrate hand-eye bags/poses --camera wrist --kind eye_in_hand --model fr3.urdf --link fr3_hand
  world2act calibrate hand-eye bags/poses --camera agentview --kind eye_to_hand --link fr3_hand_tcp
  world2act calibrate hand-eye images/ --poses poses.csv --camera wrist --kind eye_in_hand --link tool0"""
TIME = """How late a camera's stamps are on the robot's clock.

BAG: 10 to 20 s in which the arm turns the hand to and fro irregularly, about two axes, with the board in sight.
"""
TIME_EXAMPLES = """\
  world2act calibrate time bags/wave --camera wrist --kind eye_in_hand --model fr3.urdf --link fr3_hand"""
GRIPPER = """w_0 and Delta of the skill segmentation.

BAG: the gripper opens and closes fully, at least twice, resting a second each time; if you can, also on the widest
object.
"""
GRIPPER_EXAMPLES = """\
  world2act calibrate gripper bags/gripper
  world2act calibrate gripper bags/gripper --embodiment ur5e --measured 0.0 0.085 --measured 0.8 0.0"""
CHECK = """Whether a stored calibration still holds.

SOURCE is a folder of images, a bag, or `live`. Intrinsics are checked with any images of the board; the hand-eye
transform too if the bag has the arm's poses. Exit code 0 pass, 1 something moved.
"""
CHECK_EXAMPLES = """\
  world2act calibrate check bags/today --camera wrist --model fr3.urdf --link fr3_hand
  world2act calibrate check live --camera wrist"""


def add_actions(actions: Any) -> None:
    hand_eye = add_action(actions, "hand-eye", HAND_EYE, HAND_EYE_EXAMPLES, _hand_eye)
    hand_eye.add_argument("source", metavar="SOURCE", help="bag, live, or folder of images with --poses")
    hand_eye.add_argument("--poses", type=Path, help="CSV: image, x, y, z, qx, qy, qz, qw (m), or image and joints")
    hand_eye.add_argument("--serial", default="", help="serial number of the camera, to be stored")
    offset = add_action(actions, "time", TIME, TIME_EXAMPLES, _time)
    offset.add_argument("source", metavar="BAG", type=Path)
    for parser in (hand_eye, offset):
        parser.add_argument("--kind", required=True, choices=KINDS, help="where the camera is")
    gripper = add_action(actions, "gripper", GRIPPER, GRIPPER_EXAMPLES, _gripper)
    gripper.add_argument("source", metavar="BAG", type=Path)
    gripper.add_argument(
        "--measured", nargs=2, type=float, action="append", metavar=("POSITION", "WIDTH_M"),
        help="for a gripper that reports no metres: its position and the width by a calliper; twice or more",
    )  # fmt: skip
    shared.add_robot(gripper, camera=False)
    check = add_action(actions, "check", CHECK, CHECK_EXAMPLES, _check)
    check.add_argument("source", metavar="SOURCE", help="folder of images, bag, or live")
    check.add_argument("--poses", type=Path, help="as of hand-eye")
    for parser in (hand_eye, offset, check):
        shared.add_robot(parser)
        shared.add_arm(parser)


def _hand_eye(args: argparse.Namespace) -> int:
    from world2act_core.calibration.board import CalibrationError
    from world2act_core.calibration.hand_eye import EYE_IN_HAND, calibrate_hand_eye
    from world2act_core.calibration.store import intrinsics_of, now, write_hand_eye

    cell = shared.cell(args)
    if args.kind == EYE_IN_HAND and not args.link:
        raise CalibrationError("--link is missing: the frame on the hand in which the camera's place is told")
    intrinsics = intrinsics_of(cell.folder, cell.camera.name)
    if args.source == "live":
        from world2act_core.cli._calibrate_live import run_live

        return run_live(args, cell, "hand_eye")
    samples, rejected = _samples(args, cell, intrinsics.camera.size)
    result = calibrate_hand_eye(samples, intrinsics.camera, args.kind, shared.say)
    parent = args.link if args.kind == EYE_IN_HAND else shared.base_frame(args, cell.robot)
    path = write_hand_eye(
        cell.folder, cell.camera.name, result, (parent, cell.camera.frame_id),
        board=cell.board.describe(), date=now(), serial=args.serial or intrinsics.serial,
    )  # fmt: skip
    print(hand_eye_text(result, parent, cell.camera.frame_id, rejected))
    print(f"stored: {path}")
    return 0


def _samples(args: argparse.Namespace, cell: shared.Cell, size: tuple[int, int]) -> tuple[list[Sample], list[Rejected]]:
    from world2act_core.calibration.board import CalibrationError
    from world2act_core.calibration.detection import BoardDetector
    from world2act_core.calibration.recordings import MOST_POSES, still_samples, table_samples
    from world2act_core.calibration.sources import arm_track, is_bag, pictures, pose_table
    from world2act_core.calibration.store import TIME as TIME_PART
    from world2act_core.calibration.store import path_of, read_time

    found, detector, source = pictures(args.source, cell.topic), BoardDetector(cell.board), Path(args.source)
    topic, kinematics = arm_of_table(args) if args.poses else shared.arm_of(args, cell.robot)
    with shared.progress(min(MOST_POSES, len(found))) as tick:
        if args.poses:
            samples, rejected = table_samples(found, pose_table(args.poses, kinematics), detector, tick)
        elif is_bag(source):
            track = arm_track(source, topic, kinematics)
            timed = path_of(cell.folder, cell.camera.name, TIME_PART).is_file()
            offset_s = read_time(cell.folder, cell.camera.name) if timed else None
            samples, rejected = still_samples(found, track, detector, offset_s, tick)
        else:
            raise CalibrationError(f"{source} is a folder of images: give the arm's poses too, --poses TABLE.csv")
    if samples and samples[0].view.size != size:
        width, height = samples[0].view.size
        raise CalibrationError(f"the images are {width}x{height}, the intrinsics are of {size[0]}x{size[1]} images")
    return samples, rejected


def arm_of_table(args: argparse.Namespace) -> tuple[str, Any]:
    """Kinematics for a table of joints, None for one of poses."""
    from world2act_core.calibration.kinematics import ForwardKinematics

    return "", ForwardKinematics(args.model, args.link, args.base).pose if args.model else None


def hand_eye_text(result: HandEye, parent: str, child: str, rejected: list[Rejected]) -> str:
    """The result with its errors, and the solvers it was compared with."""
    from world2act_core.calibration.poses import quaternion_xyzw

    left_out = [*rejected, *result.rejected]
    lines = [shared.rejected_text(left_out)] if left_out else []
    lines += [f"  solver {name:10} {error:8.3f} px" for name, error in result.solvers.items()]
    place, turn = result.camera_pose[:3, 3], quaternion_xyzw(result.camera_pose)
    moves, turns = (" ".join(f"{v:.4f}" for v in values) for values in (result.translation_mm, result.rotation_deg))
    held_out = f"held out {result.held_out_px:.3f} px"
    lines += [
        f"  refined           {result.error_px:8.3f} px over {len(result.used)} poses, {held_out}",
        f"{child} in {parent}:",
        f"  translation {' '.join(f'{v:9.5f}' for v in place)} m   +- {moves} mm",
        f"  rotation    {' '.join(f'{v:9.6f}' for v in turn)} xyzw   +- {turns} deg",
        f"  board by the arm's motion: {result.board_scale[0]:.4f} +- {result.board_scale[1]:.4f} of its file's size",
    ]  # fmt: skip
    return "\n".join([*lines, f"warning: {result.warning}"] if result.warning else lines)


def _time(args: argparse.Namespace) -> int:
    from world2act_core.calibration.detection import BoardDetector
    from world2act_core.calibration.recordings import MOST_VIEWS, moving_views
    from world2act_core.calibration.sources import arm_track, pictures
    from world2act_core.calibration.store import intrinsics_of, now, write_time
    from world2act_core.calibration.time_offset import calibrate_time

    cell = shared.cell(args)
    intrinsics = intrinsics_of(cell.folder, cell.camera.name)
    topic, kinematics = shared.arm_of(args, cell.robot)
    track = arm_track(args.source, topic, kinematics)
    found = pictures(args.source, cell.topic)
    with shared.progress(min(MOST_VIEWS, len(found))) as tick:
        views, _ = moving_views(found, BoardDetector(cell.board), tick)
    result = calibrate_time(views, track, intrinsics.camera, args.kind, shared.say)
    path = write_time(
        cell.folder, cell.camera.name, result, board=cell.board.describe(), date=now(), serial=intrinsics.serial
    )
    print(
        f"offset {1000 * result.offset_s:+.2f} ms +- {1000 * result.deviation_s:.2f} ms, to be added to the stamps of "
        f"{cell.camera.name}\n  by correlation alone {1000 * result.coarse_s:+.1f} ms (correlation "
        f"{result.correlation:.3f})\n  reprojection error {result.error_px:.2f} px, {result.without_px:.2f} px if the "
        f"stamps were believed, {result.views} views\nstored: {path}"
    )
    return 0


def _gripper(args: argparse.Namespace) -> int:
    from dataclasses import replace

    from world2act_core.calibration.board import CalibrationError
    from world2act_core.calibration.gripper_width import calibrate_gripper, position_to_width
    from world2act_core.calibration.sources import joint_series
    from world2act_core.calibration.store import now, write_gripper

    robot, folder = shared.robot_of(args)
    if "gripper_positions" not in robot.state:
        raise CalibrationError(f"{robot.file}: state has no stream 'gripper_positions', which is what is calibrated")
    stream = robot.state["gripper_positions"]
    stamps, values = joint_series(args.source, stream.topic, stream.joints)
    if args.measured:
        scale, offset = position_to_width([tuple(pair) for pair in args.measured])
        widths = offset + scale * values[:, 0]
    elif stream.units == "m":
        scale, offset, widths = 1.0, 0.0, abs(values).sum(axis=1)
    else:
        raise CalibrationError(
            f"the gripper of {robot.name} reports {stream.units}: give two or more --measured POSITION WIDTH_M"
        )
    result = replace(calibrate_gripper(stamps, widths), scale=scale, offset_m=offset)
    path = write_gripper(folder, result, date=now())
    held = ", ".join(f"{1000 * width:.1f}" for width in result.held_m) or "nothing"
    print(
        f"w_0    {1000 * result.fully_open_m:7.2f} mm over {result.openings} openings, "
        f"{1000 * result.repeats_m:.2f} mm apart (the contract says {1000 * robot.gripper.fully_open_width_m:.2f} mm)\n"
        f"Delta  {1000 * result.delta_m:7.2f} mm; rested at {1000 * result.closed_m:.2f} mm closed, held {held} mm\n"
        f"stored: {path}\nfor the contract: gripper.fully_open_width_m: {result.fully_open_m:.5f}"
    )
    return 0


def _check(args: argparse.Namespace) -> int:
    cell = shared.cell(args)
    if args.source == "live":
        from world2act_core.cli._calibrate_live import run_live

        return run_live(args, cell, "check")
    began = time.monotonic()
    verdicts = _verdicts(args, cell)
    for verdict in verdicts:
        print(verdict)
    print(f"checked in {time.monotonic() - began:.1f} s")
    return 0 if all(verdict.passed for verdict in verdicts) else 1


def _verdicts(args: argparse.Namespace, cell: shared.Cell) -> list[Verdict]:
    from world2act_core.calibration.check import MOST_VIEWS, check_hand_eye, check_intrinsics
    from world2act_core.calibration.detection import BoardDetector
    from world2act_core.calibration.recordings import all_views
    from world2act_core.calibration.sources import pictures
    from world2act_core.calibration.store import HAND_EYE, intrinsics_of, path_of, read_hand_eye

    stored = intrinsics_of(cell.folder, cell.camera.name)
    found = pictures(args.source, cell.topic)
    with shared.progress(min(MOST_VIEWS, len(found))) as tick:
        views, _ = all_views(found, BoardDetector(cell.board), MOST_VIEWS, tick)
    verdicts = [check_intrinsics(stored, views)]
    stored_there = path_of(cell.folder, cell.camera.name, HAND_EYE).is_file()
    if stored_there and (args.model or args.arm_topic or args.poses):
        transform = read_hand_eye(cell.folder, cell.camera.name)
        samples, _ = _samples(args, cell, stored.camera.size)
        verdicts.append(check_hand_eye(transform, samples, stored.camera))
    elif stored_there:
        print("the hand-eye calibration is not checked: give --model and --link, --arm-topic or --poses")
    return verdicts
