"""The board in an image: its corners, or the reason why the image is of no use."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from world2act_core.calibration.board import DICTIONARIES, Board
from world2act_core.types import Array

FEWEST_CORNERS = 8  # of a board partly out of sight; a pose takes 4, and 8 leave something to judge it by
BLURRED_PX = 4.5  # from black to white across an edge of a square; a lens in focus takes 1.5 to 3
FEWEST_MARKERS = 4  # that are evidently no chance finding


@dataclass(frozen=True)
class View:
    """The board as one image shows it.

    Attributes:
        name: of the image: a file, or topic and number.
        stamp_s: when it was taken, seconds on its own clock; None for a file.
        size: width and height of the image, pixels.
        ids: ``(N,)`` numbers of the corners that are seen.
        pixels: ``(N, 2)`` where they are, the centre of the upper left pixel at (0, 0).
        points: ``(N, 3)`` the same corners on the board, m.
        blur_px: from black to white across an edge, in the worse direction; nan if no edge was seen whole.
    """

    name: str
    stamp_s: float | None
    size: tuple[int, int]
    ids: Array
    pixels: Array
    points: Array
    blur_px: float


@dataclass(frozen=True)
class Rejected:
    """An image or a view that is not used, and why."""

    name: str
    reason: str


class BoardDetector:
    """Finds one board in images."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self._charuco = cv2.aruco.CharucoDetector(board.opencv)
        self._neighbours = _neighbours(board)

    def detect(self, image: Array, name: str, stamp_s: float | None = None) -> View | Rejected:
        """The board in an image ``(H, W, 3)`` RGB or ``(H, W)``, uint8; never raises for what an image shows."""
        grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        pixels, ids, _, marker_ids = self._charuco.detectBoard(grey)
        count = 0 if ids is None else len(ids)
        if count < FEWEST_CORNERS:
            return Rejected(name, self._why_not(grey, count, marker_ids))
        ids, found = np.ravel(ids).astype(int), np.asarray(pixels, np.float64).reshape(-1, 2)
        points = self.board.corners[ids]
        if not spread(points):
            return Rejected(name, f"only one row of the board is seen ({count} corners): show more of it")
        blur = self._blur(grey, {int(number): place for number, place in zip(ids, found, strict=True)})
        if blur > BLURRED_PX:
            return Rejected(
                name,
                f"blurred: {blur:.1f} px from black to white, at most {BLURRED_PX:g}: hold still, or expose shorter",
            )
        return View(name, stamp_s, (grey.shape[1], grey.shape[0]), ids, found, points, blur)

    def _why_not(self, grey: Array, corners: int, marker_ids: Any) -> str:
        seen = set() if marker_ids is None else {int(number) for number in np.ravel(marker_ids)}
        strangers = sorted(number for number in seen if number >= self.board.markers)
        if len(strangers) >= FEWEST_MARKERS:
            return (
                f"it shows another board: marker {strangers[0]} is not on {self.board.name}, which has 0 to "
                f"{self.board.markers - 1}"
            )
        mirrored = self._charuco.detectBoard(np.ascontiguousarray(grey[:, ::-1]))
        if mirrored[1] is not None and len(mirrored[1]) >= max(FEWEST_CORNERS, 2 * corners):
            return "it is mirrored: turn mirroring off in the camera or its driver"
        if len(seen) >= FEWEST_MARKERS and not corners:
            return (
                f"its {len(seen)} markers do not lie as on {self.board.name}: another board, or its key legacy is wrong"
            )
        if not seen:
            return "no marker of the board is seen: out of view, too dark, too small or badly blurred"
        return f"only {corners} corners of the board are seen, at least {FEWEST_CORNERS} are needed"

    def _blur(self, grey: Array, found: dict[int, Array]) -> float:
        """The worse direction's median rise from black to white, px: contrast over steepest slope of each edge."""
        widths = []
        for pairs, inset in zip(self._neighbours, (self._inset(),) * 2, strict=True):
            rises = [
                rise for a, b in pairs if a in found and b in found if (rise := _rise(grey, found[a], found[b], inset))
            ]
            if rises:
                widths.append(float(np.median(rises)))
        return max(widths, default=float("nan"))

    def _inset(self) -> float:
        """How far from an edge a marker begins, as a share of the square's edge."""
        return 0.5 * (1.0 - self.board.marker_m / self.board.square_m)


def spread(points: Array) -> bool:
    """Whether corners ``(N, 3)`` are more than one row or column of the board."""
    return len(points) >= 4 and bool(np.linalg.matrix_rank(points[:, :2] - points[0, :2], tol=1e-6) == 2)


def _neighbours(board: Board) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Pairs of corners next to each other along a row, and along a column."""
    across, down = board.columns - 1, board.rows - 1
    rows = [(r * across + c, r * across + c + 1) for r in range(down) for c in range(across - 1)]
    columns = [(r * across + c, (r + 1) * across + c) for r in range(down - 1) for c in range(across)]
    return rows, columns


def _rise(grey: Array, a: Array, b: Array, inset: float) -> float | None:
    """Pixels from black to white across the edge from ``a`` to ``b``; None if the edge is too short to tell."""
    along = b - a
    length = float(np.linalg.norm(along))
    reach = 1.6 * inset * length  # up to the marker, and as far into the black square
    if reach < 4.0:
        return None
    across = np.array([-along[1], along[0]]) / length
    steps = np.arange(-reach, reach + 0.25, 0.5)
    places = a + np.linspace(0.25, 0.75, 7)[:, None, None] * along + steps[None, :, None] * across
    inside = np.all((places >= 0) & (places <= (grey.shape[1] - 1, grey.shape[0] - 1)))
    if not inside:
        return None
    x, y = places[..., 0].astype(np.float32), places[..., 1].astype(np.float32)
    profile = cv2.remap(grey, x, y, cv2.INTER_LINEAR).astype(np.float64).mean(axis=0)
    slope = float(np.abs(profile[2:] - profile[:-2]).max())  # over one pixel
    contrast = float(profile.max() - profile.min())
    return contrast / slope if contrast > 25 and slope > 0 else None


def other_dictionary(board: Board, images: Iterable[Array]) -> str:
    """A dictionary that images show while the board's is not seen: what to say when nothing was found; "" if none."""
    own = DICTIONARIES[board.dictionary]
    for image in images:
        grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        for name, number in DICTIONARIES.items():
            if number == own or "APRILTAG" in name or not name.endswith(("_50", "_ORIGINAL", "_MIP_36h12")):
                continue
            detector = cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(number))
            ids = detector.detectMarkers(grey)[1]
            if ids is not None and len(ids) >= FEWEST_MARKERS:
                return name.removesuffix("_50")
    return ""
