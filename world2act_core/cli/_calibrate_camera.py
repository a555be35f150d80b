"""`world2act calibrate board` and `intrinsics`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from world2act_core.cli import _calibrate_shared as shared
from world2act_core.cli._actions import add_action

if TYPE_CHECKING:
    from world2act_core.calibration.intrinsics import Intrinsics

BOARD = """Print a ChArUco board as a PDF at true scale.

Print it at 100 % (not "fit to page") on a stiff, matt, flat plate, and measure the ruler below it.
"""
BOARD_EXAMPLES = """\
  world2act calibrate board calibration/boards/charuco_a4.yaml board.pdf
  world2act calibrate board my_board.yaml board.pdf --page a3"""

INTRINSICS = """Calibrate a camera from images of a board.

SOURCE is a folder of images, a bag, or `live`: the topic of a camera node that runs (needs ROS 2; says which pose to
show next, and ends when there are enough). Writes ROS's camera_info, which the camera node publishes.
"""
INTRINSICS_EXAMPLES = """\
  world2act calibrate intrinsics images/ --embodiment ur5e --camera wrist
  world2act calibrate intrinsics bags/board --camera agentview --board calibration/boards/charuco_a3.yaml
  world2act calibrate intrinsics live --camera wrist --serial 0123
  world2act calibrate intrinsics images/ --camera wrist --factory 0123"""
MOST_IMAGES = 300


def add_actions(actions: Any) -> None:
    board = add_action(actions, "board", BOARD, BOARD_EXAMPLES, _board)
    board.add_argument("board", metavar="FILE", type=Path, help="the board's YAML file")
    board.add_argument("pdf", metavar="PDF", type=Path, help="file to write")
    board.add_argument("--page", default="", help="a4, a3, letter, tabloid (default: the smallest that fits)")
    intrinsics = add_action(actions, "intrinsics", INTRINSICS, INTRINSICS_EXAMPLES, _intrinsics)
    intrinsics.add_argument("source", metavar="SOURCE", help="folder of images, bag, or live")
    shared.add_robot(intrinsics)
    intrinsics.add_argument(
        "--model", default="plumb_bob", choices=("plumb_bob", "rational_polynomial"), help="of the lens"
    )
    intrinsics.add_argument("--serial", default="", help="serial number of the camera, to be stored")
    intrinsics.add_argument(
        "--factory", metavar="SERIAL", help="compare with the factory's intrinsics of a RealSense ('any': the first)"
    )


def _board(args: argparse.Namespace) -> int:
    from world2act_core.calibration.board import load_board
    from world2act_core.calibration.printing import print_board

    board = load_board(args.board)
    page = print_board(board, args.pdf, args.page)
    print(f"{args.pdf}: {board.describe()}, page {page}; print it at 100 % and measure its ruler")
    return 0


def _intrinsics(args: argparse.Namespace) -> int:
    cell = shared.cell(args)
    if args.source == "live":
        from world2act_core.cli._calibrate_live import run_live

        return run_live(args, cell, "intrinsics")
    from world2act_core.calibration.camera_info import write_camera_info
    from world2act_core.calibration.coverage import Coverage
    from world2act_core.calibration.detection import BoardDetector
    from world2act_core.calibration.intrinsics import calibrate_intrinsics
    from world2act_core.calibration.recordings import all_views
    from world2act_core.calibration.sources import pictures, spaced
    from world2act_core.calibration.store import CAMERA_INFO, now, path_of

    found = pictures(args.source, cell.topic)
    with shared.progress(len(spaced(found, MOST_IMAGES, 0.5))) as tick:
        views, rejected = all_views(found, BoardDetector(cell.board), MOST_IMAGES, tick)
    coverage = Coverage(cell.board)
    for view in views:
        coverage.add(view)
    print(f"{len(views)} views of {cell.board.describe()}\n{coverage.as_text()}")
    if coverage.next_pose():
        print(f"would help: {coverage.next_pose()}")
    if rejected:
        print(shared.rejected_text(rejected))
    result = calibrate_intrinsics(views, args.model, shared.say)
    path = path_of(cell.folder, cell.camera.name, CAMERA_INFO)
    factory = _factory(args, cell, result) if args.factory else ""  # before writing: it may refuse
    write_camera_info(
        path, result, cell.camera.name, date=now(), board=cell.board.describe(), serial=args.serial or _known(args)
    )
    print(as_text(result) + factory)
    print(f"stored: {path}")
    return 0


def _known(args: argparse.Namespace) -> str:
    return args.factory if args.factory and args.factory != "any" else ""


def as_text(result: Intrinsics) -> str:
    """The result with its errors."""
    lines = [shared.rejected_text(result.rejected)] if result.rejected else []
    for name, value in result.camera.parameters.items():
        lines.append(f"  {name:3} {value:11.5f} +- {result.deviations[name]:.5f}")
    over = f"over {len(result.used)} views, held out {result.held_out_px:.3f} px"
    return "\n".join([*lines, f"reprojection error {result.error_px:.3f} px {over}"])


def _factory(args: argparse.Namespace, cell: shared.Cell, result: Intrinsics) -> str:
    from world2act_core.calibration.check import compare_with_factory
    from world2act_core.runtime.cameras.realsense import RealSenseCamera

    device = RealSenseCamera("" if args.factory == "any" else args.factory, cell.camera)
    try:
        factory = device.factory_intrinsics()
    finally:
        device.close()
    return "\n" + compare_with_factory(result.camera, factory.rays, factory.parameters)[2]
