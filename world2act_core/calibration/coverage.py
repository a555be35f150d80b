"""Which poses of the board a camera has seen, and which one to show it next.

What each number of a lens is known by: focal lengths by tilted boards, the principal point by tilts to opposite sides,
distortion by boards at the rim of the image. So a view is sorted by place (3x3), tilt (5) and distance (2).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np

from world2act_core.calibration.board import Board
from world2act_core.calibration.detection import View
from world2act_core.types import Array

MAP = (8, 6)  # columns and rows of the coverage map
PLACES = ("upper left", "top", "upper right", "left", "middle", "right", "lower left", "bottom", "lower right")
TILTS = {  # seen from the camera
    "flat": "facing the camera",
    "left": "its left edge nearer to the camera by 25 to 40 degrees",
    "right": "its right edge nearer to the camera by 25 to 40 degrees",
    "up": "its upper edge nearer to the camera by 25 to 40 degrees",
    "down": "its lower edge nearer to the camera by 25 to 40 degrees",
}
DISTANCES = {"near": "so near that it fills most of the image", "far": "so far that it fills a third of the image"}
TILTED_DEG = 15.0
NEAR = 0.4  # of the image's width, what a near board spans
WANTED = {"place": 2, "tilt": 4, "distance": 6}  # views of each kind


@dataclass
class Coverage:
    """What views were taken; ``map`` counts corners in each cell of the image, ``(6, 8)``, row 0 at the top."""

    board: Board
    map: Array = field(default_factory=lambda: np.zeros(MAP[::-1], int))
    kinds: Counter[tuple[str, str]] = field(default_factory=Counter)
    views: int = 0

    def add(self, view: View) -> tuple[str, str, str]:
        """Count a view; returns its place, tilt and distance."""
        columns = np.clip((view.pixels[:, 0] / view.size[0] * MAP[0]).astype(int), 0, MAP[0] - 1)
        rows = np.clip((view.pixels[:, 1] / view.size[1] * MAP[1]).astype(int), 0, MAP[1] - 1)
        np.add.at(self.map, (rows, columns), 1)
        kind = self.kind(view)
        for name, value in zip(WANTED, kind, strict=True):
            self.kinds[name, value] += 1
        self.views += 1
        return kind

    def kind(self, view: View) -> tuple[str, str, str]:
        """Place, tilt and distance of a view."""
        middle = view.pixels.mean(axis=0) / view.size
        column, row = (int(np.clip(3 * (m - 0.5) * 1.6 + 1.5, 0, 2)) for m in middle)  # a board's middle stays inside
        pose = rough_pose(view)
        normal = pose[:3, 2] if pose[2, 2] > 0 else -pose[:3, 2]
        slope = np.degrees(np.arctan2(normal[:2], normal[2]))  # > 0: the right (lower) edge is nearer
        tilt = "flat"
        if np.abs(slope).max() >= TILTED_DEG:
            sideways = abs(slope[0]) >= abs(slope[1])
            tilt = ("right" if slope[0] > 0 else "left") if sideways else ("down" if slope[1] > 0 else "up")
        span = np.ptp(view.pixels, axis=0) / view.size
        return PLACES[3 * row + column], tilt, "near" if span.max() >= NEAR else "far"

    def missing(self) -> dict[str, list[str]]:
        """Kinds of which there are fewer views than are wanted, the rarest first."""
        values = {"place": PLACES, "tilt": tuple(TILTS), "distance": tuple(DISTANCES)}
        return {
            name: sorted((v for v in values[name] if self.kinds[name, v] < wanted), key=lambda v: self.kinds[name, v])
            for name, wanted in WANTED.items()
        }

    @property
    def complete(self) -> bool:
        return not any(self.missing().values())

    def next_pose(self) -> str:
        """What to show the camera next, in words; "" when nothing is missing."""
        missing = self.missing()
        if not any(missing.values()):
            return ""
        place = (missing["place"] or ["middle"])[0]
        tilt = (missing["tilt"] or [min(TILTS, key=lambda t: self.kinds["tilt", t])])[0]
        distance = (missing["distance"] or ["near"])[0]
        return f"show the board in the {place} of the image, {TILTS[tilt]}, {DISTANCES[distance]}"

    def as_text(self) -> str:
        """The map as 6 lines of 8 cells: `.` nothing, `-` a few corners, `+` enough, `#` many."""
        signs = np.select([self.map == 0, self.map < 5, self.map < 20], [".", "-", "+"], "#")
        return "\n".join("  " + " ".join(row) for row in signs)


def rough_pose(view: View) -> Array:
    """Pose ``(4, 4)`` of the board in a camera whose lens is not known yet, by a common field of view."""
    width, height = view.size
    matrix = np.array([[width, 0, width / 2], [0, width, height / 2], [0, 0, 1]], np.float64)
    _, rotation, translation = cv2.solvePnP(view.points, view.pixels, matrix, None, flags=cv2.SOLVEPNP_IPPE)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = cv2.Rodrigues(rotation)[0], np.ravel(translation)
    return pose


def too_like(view: View, earlier: Iterable[View], least_px: float = 12.0) -> bool:
    """Whether a view shows the same as one before: its corners moved by less than ``least_px`` on average."""
    for other in earlier:
        shared, a, b = np.intersect1d(view.ids, other.ids, return_indices=True)
        if len(shared) >= 4:
            moved = np.linalg.norm(view.pixels[a] - other.pixels[b], axis=1).mean()
            if moved < least_px * view.size[0] / 640:
                return True
    return False
