"""The ChArUco board: described by a file, so that what was printed and what is looked for cannot disagree."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from world2act_core.embodiment.checked import read_checked
from world2act_core.errors import World2ActError
from world2act_core.types import Array

LARGEST_SQUARE_M = 0.3  # a larger one was meant in millimetres
FEWEST_SQUARES, MOST_SQUARES = 3, 40
DICTIONARIES = {name: getattr(cv2.aruco, name) for name in sorted(dir(cv2.aruco)) if name.startswith("DICT_")}


class CalibrationError(World2ActError):
    """A calibration cannot be made from what was given; says what is missing."""


@dataclass(frozen=True)
class Board:
    """A ChArUco board.

    Attributes:
        columns, rows: squares of the chessboard along x and y.
        square_m, marker_m: edges of a square and of a marker, metres.
        dictionary: OpenCV's name of the markers' dictionary, such as ``DICT_5X5_100``.
        legacy: the layout of OpenCV before 4.6, which begins an even number of rows with a white square.
        file: where it was read from.
    """

    name: str
    columns: int
    rows: int
    square_m: float
    marker_m: float
    dictionary: str
    legacy: bool
    file: str

    @cached_property
    def opencv(self) -> Any:
        """OpenCV's ``CharucoBoard`` of it."""
        markers = cv2.aruco.getPredefinedDictionary(DICTIONARIES[self.dictionary])
        made = cv2.aruco.CharucoBoard((self.columns, self.rows), self.square_m, self.marker_m, markers)
        made.setLegacyPattern(self.legacy)
        return made

    @cached_property
    def corners(self) -> Array:
        """Inner corners ``(N, 3)`` m; origin at the board's outer corner, x along a row, y down, z into it."""
        return np.asarray(self.opencv.getChessboardCorners(), np.float64)

    @property
    def markers(self) -> int:
        """How many markers it has; their ids are 0, 1 ..."""
        return (self.columns * self.rows) // 2

    @property
    def size_m(self) -> tuple[float, float]:
        """Width and height of all squares."""
        return self.columns * self.square_m, self.rows * self.square_m

    def describe(self) -> str:
        return (
            f"{self.name}: {self.columns}x{self.rows} squares of {1000 * self.square_m:g} mm, markers of "
            f"{1000 * self.marker_m:g} mm, {self.dictionary}"
        )


def load_board(path: str | Path) -> Board:
    """Read a board's file.

    Raises:
        CalibrationError: there is no such file.
        ContractError: it contradicts itself, or its lengths cannot be metres; names file, key and value.
    """
    file = Path(path)
    if not file.is_file():
        raise CalibrationError(f"there is no board file {file}: calibration/boards/ has some")
    raw = read_checked(file)
    name, (columns, rows) = raw.text("name"), raw.vector("squares", 2)
    if not all(FEWEST_SQUARES <= n <= MOST_SQUARES and n == int(n) for n in (columns, rows)):
        raw.refuse("squares", f"must be whole numbers of columns and rows, {FEWEST_SQUARES} to {MOST_SQUARES}")
    square, marker = raw.number("square_m", above=0), raw.number("marker_m", above=0)
    for key, value in (("square_m", square), ("marker_m", marker)):
        if value > LARGEST_SQUARE_M:
            raw.refuse(key, f"is {value:g} metres: if millimetres were meant, write {value / 1000:g}")
    if not 0.3 * square <= marker <= 0.9 * square:
        raw.refuse("marker_m", f"must be 0.3 to 0.9 of square_m = {square:g}")
    board = Board(
        name=name,
        columns=int(columns),
        rows=int(rows),
        square_m=square,
        marker_m=marker,
        dictionary=raw.text("dictionary", one_of=tuple(DICTIONARIES)),
        legacy=raw.flag("legacy") if "legacy" in raw else False,
        file=str(path),
    )
    raw.no_other_keys()
    held = len(cv2.aruco.getPredefinedDictionary(DICTIONARIES[board.dictionary]).bytesList)
    if held < board.markers:
        raw.refuse("dictionary", f"holds {held} markers, the board needs {board.markers}")
    return board
