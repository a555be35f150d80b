"""A robot cell whose truth is known: robosuite's Panda, a camera with a lens on its hand or beside it, and a board."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from benchmarks._board_scene import BoardScene, Lens, looking_at, projected
from world2act_core.calibration.board import Board, load_board
from world2act_core.calibration.camera_model import CameraModel
from world2act_core.calibration.detection import View
from world2act_core.calibration.hand_eye import EYE_IN_HAND, seen_at
from world2act_core.calibration.kinematics import ForwardKinematics
from world2act_core.calibration.poses import inverse, pose_of
from world2act_core.types import Array

BOARDS = Path(__file__).parents[1] / "calibration" / "boards"
LENS = Lens(
    (640, 480),
    np.array([[612.0, 0.0, 322.3], [0.0, 610.5, 238.1], [0.0, 0.0, 1.0]]),
    np.array([-0.28, 0.09, 0.0008, -0.0005, 0.01]),
)
JOINTS = tuple(f"joint{k}" for k in range(1, 8))
HOME = np.pi / 4 * np.array([0.0, -1.0, 0.0, -3.0, 0.0, 2.0, 1.0])
PAPER_M = 0.008  # white around the board
PIXELS_A_M = 6000.0
LINK = "right_hand"


def panda_mjcf() -> Path:
    """robosuite's model of the arm."""
    package = find_spec("robosuite")
    assert package is not None and package.submodule_search_locations, "robosuite: pip install 'world2act[libero]'"
    return Path(package.submodule_search_locations[0]) / "models" / "assets" / "robots" / "panda" / "robot.xml"


@dataclass(frozen=True)
class Truth:
    """What a hand-eye calibration should find: X and Z of `calibration.hand_eye`, ``(4, 4)``."""

    kind: str
    camera: Array
    board: Array


IN_HAND = Truth(
    EYE_IN_HAND,
    pose_of([0.052, -0.031, 0.043], Rotation.from_euler("zyx", [0.9, 0.08, -0.05]).as_quat()),
    pose_of([0.43, -0.09, 0.03], Rotation.from_euler("xyz", [np.pi - 0.05, 0.04, 0.2]).as_quat()),
)
BESIDE = looking_at(np.array([0.95, 0.2, 0.7]), np.array([0.33, 0.0, 0.5]))
CARRIED = np.eye(4)  # the board faces the camera when the arm is at home, whose hand points down
CARRIED[:3, :3] = (
    np.diag([1.0, -1.0, -1.0]) @ BESIDE[:3, :3] @ Rotation.from_euler("xyz", [0.1, -0.15, 0.2]).as_matrix()
)
CARRIED[:3, 3] = np.array([0.01, 0.02, 0.09]) - CARRIED[:3, :3] @ [0.13, 0.087, 0.0]
TO_HAND = Truth("eye_to_hand", BESIDE, CARRIED)


class Cell:
    """The board, the camera and the arm; images are rendered only when asked for.

    Args:
        board: file in calibration/boards.
        noise: of the sensor, of 255.
    """

    def __init__(self, board: str = "charuco_a4", lens: Lens = LENS, noise: float = 2.0) -> None:
        self.board: Board = load_board(BOARDS / f"{board}.yaml")
        self.lens, self._noise = lens, noise
        self.camera = CameraModel(lens.size, lens.matrix, "plumb_bob", lens.distortion)
        self.arm = ForwardKinematics(panda_mjcf(), LINK)
        self.middle = np.array([*self.board.size_m, 0.0]) / 2
        self._scene: BoardScene | None = None
        self._joints: dict[tuple[str, int, int], list[Array]] = {}

    def image(self, board_in_camera: Array) -> Array:
        """What the camera sees of the board at a pose ``(4, 4)`` in its frame; ``(H, W, 3)`` uint8 RGB."""
        if self._scene is None:
            picture, size_m = self.paper()
            self._scene = BoardScene(picture, size_m, self.lens, self._noise)
        shifted = np.eye(4)
        shifted[:2, 3] = -PAPER_M
        return self._scene.image(board_in_camera @ shifted)

    def paper(self) -> tuple[Array, tuple[float, float]]:
        """The printed sheet ``(H, W)`` uint8 with its white rim, and its size in m."""
        inner = self.board.opencv.generateImage(tuple(round(side * PIXELS_A_M) for side in self.board.size_m))
        rim = round(PAPER_M * PIXELS_A_M)
        sheet = cv2.copyMakeBorder(inner, rim, rim, rim, rim, cv2.BORDER_CONSTANT, value=255)
        return sheet, (sheet.shape[1] / PIXELS_A_M, sheet.shape[0] / PIXELS_A_M)

    def corners(self, board_in_camera: Array, rng: np.random.Generator, noise_px: float, name: str = "") -> View:
        """A view as an ideal detector gives it: true corners that lie in the image, with Gaussian noise."""
        pixels = projected(self.lens, board_in_camera, self.board.corners)
        inside = np.all((pixels > 3) & (pixels < np.array(self.lens.size) - 4), axis=1)
        pixels = pixels + rng.normal(0.0, noise_px, pixels.shape)
        ids = np.flatnonzero(inside)
        return View(name, None, self.lens.size, ids, pixels[ids], self.board.corners[ids], 1.6)

    def views_of_board(self, count: int, seed: int) -> list[Array]:
        """Poses ``(4, 4)`` of the board as somebody shows it to a camera by hand: all over the image, tilted."""
        rng = np.random.default_rng(seed)
        poses: list[Array] = []
        while len(poses) < count:
            eye = self.middle + [*rng.uniform(-0.28, 0.28, 2), -rng.uniform(0.22, 0.55)]
            aim = self.middle + [*rng.uniform(-0.12, 0.12, 2), 0.0]
            pose = inverse(looking_at(eye, aim, rng.uniform(-0.6, 0.6)))
            if self._in_sight(pose) > 0.6:
                poses.append(pose)
        return poses

    def _in_sight(self, board_in_camera: Array) -> float:
        """Share of the corners in the image; 0 for a board that is seen from the back or too flat."""
        if board_in_camera[2, 2] < 0.35:
            return 0.0
        pixels = projected(self.lens, board_in_camera, self.board.corners)
        return float(np.all((pixels > 5) & (pixels < np.array(self.lens.size) - 6), axis=1).mean())

    def joints_for(self, truth: Truth, count: int, seed: int) -> list[Array]:
        """Joints ``(7,)`` rad of poses in which the camera sees the board, from all sides."""
        if (truth.kind, count, seed) in self._joints:
            return self._joints[truth.kind, count, seed]
        rng = np.random.default_rng(seed)
        found: list[Array] = []
        while len(found) < count:
            if truth.kind == EYE_IN_HAND:
                eye = self.middle + [*rng.uniform(-0.2, 0.2, 2), -rng.uniform(0.3, 0.5)]
                aim = self.middle + [*rng.uniform(-0.03, 0.03, 2), 0.0]
                camera = truth.board @ looking_at(eye, aim, rng.uniform(-0.7, 0.7))
                joints = self.reach(camera @ inverse(truth.camera))
            else:
                joints = self.reach(self._near_home(rng))
            if joints is not None and self._in_sight(self.seen(truth, joints)) > 0.7:
                found.append(joints)
        self._joints[truth.kind, count, seed] = found
        return found

    def _near_home(self, rng: np.random.Generator) -> Array:
        """A pose of a hand that shows its board to a camera which stands still."""
        hand = self.hand(HOME)
        hand[:3, 3] += rng.uniform(-0.08, 0.08, 3)
        hand[:3, :3] = Rotation.from_rotvec(rng.uniform(-0.5, 0.5, 3)).as_matrix() @ hand[:3, :3]
        return hand

    def reach(self, hand: Array, start: Array = HOME) -> Array | None:
        """Joints with which the hand is at a pose, None if it cannot be reached."""

        def off(joints: Array) -> Array:
            now = self.hand(joints)
            turn = Rotation.from_matrix(now[:3, :3].T @ hand[:3, :3]).as_rotvec()
            return np.concatenate([now[:3, 3] - hand[:3, 3], 0.3 * turn, 1e-4 * (joints - HOME)])

        best = least_squares(off, start, max_nfev=60)
        return np.asarray(best.x) if np.abs(best.fun[:6]).max() < 2e-3 else None

    def hand(self, joints: Array) -> Array:
        """Pose of the hand in the base's frame."""
        return self.arm.pose(dict(zip(JOINTS, joints, strict=True)))

    def seen(self, truth: Truth, joints: Array) -> Array:
        """Where the camera sees the board."""
        return seen_at(truth.camera, self.hand(joints), truth.board, truth.kind)

    def close(self) -> None:
        if self._scene is not None:
            self._scene.close()


def wave(joints: Sequence[Array], seconds: float, seed: int) -> tuple[Array, Array]:
    """An irregular motion through some joint configurations: ``(N,)`` s at 100 Hz and ``(N, 7)`` rad."""
    from scipy.interpolate import CubicSpline

    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(0.5, 1.1, int(seconds / 0.8) + 4)) - 0.5
    chosen = [joints[k] for k in rng.integers(0, len(joints), len(times))]
    stamps = np.arange(0.0, seconds, 0.01)
    return stamps, np.asarray(CubicSpline(times, np.array(chosen), bc_type="clamped")(stamps))
