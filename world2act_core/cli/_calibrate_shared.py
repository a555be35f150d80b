"""What the actions of `world2act calibrate` share: arguments, the robot's folder, progress, what is said at the end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from world2act_core.calibration.board import Board
    from world2act_core.calibration.detection import Rejected
    from world2act_core.embodiment import Camera, Embodiment

BOARD = "calibration/boards/charuco_a4.yaml"
SHOWN = 8  # rejected images that are listed one by one


def add_robot(parser: argparse.ArgumentParser, camera: bool = True) -> None:
    parser.add_argument("--embodiment", default="franka_fr3", help="contract of the robot (default franka_fr3)")
    parser.add_argument(
        "--folder", type=Path, help="where the robot's calibrations are stored (default calibration/ROBOT)"
    )
    if camera:
        parser.add_argument("--camera", help="of the contract (default: its first)")
        parser.add_argument("--board", default=BOARD, help=f"file of the board (default {BOARD})")
        parser.add_argument("--topic", default="", help="of the images in a bag (default: the contract's)")


def add_arm(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="FILE", help="URDF or MJCF: poses come from joint states")
    parser.add_argument("--link", default="", help="the link that carries the camera or the board")
    parser.add_argument("--base", default="", help="the link in whose frame poses are (default: the model's root)")
    parser.add_argument("--arm-topic", default="", help="joint states or poses (default: the contract's)")


@dataclass(frozen=True)
class Cell:
    """The robot, camera and board that a command is about."""

    robot: Embodiment
    camera: Camera
    board: Board
    folder: Path
    topic: str


def robot_of(args: argparse.Namespace) -> tuple[Embodiment, Path]:
    """The contract, and the folder of its calibrations."""
    from world2act_core.embodiment import load_embodiment

    robot = load_embodiment(args.embodiment)
    return robot, args.folder or Path("calibration") / robot.name


def cell(args: argparse.Namespace) -> Cell:
    """What the arguments of `add_robot` name.

    Raises:
        World2ActError: no such contract, camera or board.
    """
    from world2act_core.calibration.board import load_board
    from world2act_core.errors import ContractError

    robot, folder = robot_of(args)
    name = args.camera or next(iter(robot.cameras))
    if name not in robot.cameras:
        raise ContractError(f"{robot.name} has no camera {name!r}, only {', '.join(robot.cameras)}")
    camera = robot.cameras[name]
    return Cell(robot, camera, load_board(args.board), folder, args.topic or camera.topic)


@contextmanager
def progress(total: int, what: str = "images") -> Iterator[Callable[[], None]]:
    """A bar on stderr while images are looked at."""
    from tqdm import tqdm

    with tqdm(total=total, desc=what, unit="", mininterval=0.3, leave=False) as bar:
        yield lambda: bar.update() and None


def say(text: str) -> None:
    """Tell how far it is."""
    print(f"{text} ...", file=sys.stderr)


def rejected_text(rejected: Sequence[Rejected]) -> str:
    """Which images were left out and why, the first ones by name."""
    lines = [f"  left out {entry.name}: {entry.reason}" for entry in rejected[:SHOWN]]
    if len(rejected) > SHOWN:
        lines.append(f"  ... and {len(rejected) - SHOWN} more")
    return "\n".join(lines)


def arm_of(args: argparse.Namespace, robot: Embodiment) -> tuple[str, Any]:
    """The arm's topic and its kinematics (None for a topic of poses).

    Raises:
        World2ActError: joint states without a link, or no topic at all.
    """
    from world2act_core.calibration.board import CalibrationError
    from world2act_core.calibration.kinematics import ForwardKinematics

    if args.model:
        if not args.link:
            raise CalibrationError("--model needs --link: the link that carries the camera or the board")
        return args.arm_topic or robot.state["joint_positions"].topic, ForwardKinematics(
            args.model, args.link, args.base
        ).pose
    poses = [stream.topic for stream in robot.state.values() if stream.field == "position"]
    if not (args.arm_topic or poses):
        raise CalibrationError(f"{robot.name} publishes no pose: give --model and --link, or --arm-topic")
    return args.arm_topic or poses[0], None


def base_frame(args: argparse.Namespace, robot: Embodiment) -> str:
    """Name of the frame in which the arm's poses are."""
    frames = [stream.frame_id for stream in robot.state.values() if stream.frame_id]
    return str(args.base or (frames[0] if frames else "base_link"))
