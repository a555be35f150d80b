"""The board's file, and its print: 1 mm of the PDF is 1 mm."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import numpy as np
import pytest

from benchmarks._calibration_cell import BOARDS
from world2act_core.calibration.board import Board, CalibrationError, load_board
from world2act_core.calibration.printing import print_board
from world2act_core.errors import ContractError
from world2act_core.types import Array

POINTS_A_MM = 72 / 25.4


def written(folder: Path, **changes: object) -> Path:
    fields = {"name": "b", "squares": [9, 6], "square_m": 0.03, "marker_m": 0.022, "dictionary": "DICT_5X5_100"}
    path = folder / "board.yaml"
    path.write_text("\n".join(f"{key}: {value}" for key, value in {**fields, **changes}.items()))
    return path


def black_cells(pdf: bytes) -> Array:
    """Every closed four-cornered path of a page: left, bottom, right, top in points ``(N, 4)``."""
    streams = [
        zlib.decompress(part) for part in re.findall(rb"stream\n(.*?)\nendstream", pdf, re.S) if part[:1] == b"x"
    ]
    page = next(stream for stream in streams if stream.count(b" l\n") > 100).decode("latin1")
    number = r"(-?[\d.]+) (-?[\d.]+)"
    cells = re.findall(rf"{number} m\n{number} l\n{number} l\n{number} l\n(?:{number} l\n)?h", page)
    corners = np.array([[float(v) for v in cell[:8]] for cell in cells]).reshape(-1, 4, 2)
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


@pytest.mark.parametrize("file", sorted(BOARDS.glob("*.yaml")), ids=lambda file: file.stem)
def test_a_shipped_board_is_printed_at_true_scale(file: Path, tmp_path: Path) -> None:
    board = load_board(file)
    page = print_board(board, tmp_path / "board.pdf")
    pdf = (tmp_path / "board.pdf").read_bytes()
    box = [float(v) for v in re.search(rb"/MediaBox \[([^\]]*)\]", pdf).group(1).split()]  # type: ignore[union-attr]
    expected = {"a4": (297.0, 210.0), "a3": (420.0, 297.0)}[page]
    np.testing.assert_allclose(np.array(box[2:]) / POINTS_A_MM, expected, atol=0.01)
    cells = black_cells(pdf) / POINTS_A_MM
    squares = cells[np.isclose(cells[:, 2] - cells[:, 0], 1000 * board.square_m, atol=0.01)]
    assert len(squares) == board.columns * board.rows - board.markers
    extent = squares[:, 2:].max(axis=0) - squares[:, :2].min(axis=0)
    np.testing.assert_allclose(extent, 1000 * np.array(board.size_m), atol=0.02)
    np.testing.assert_allclose(squares[:, 3] - squares[:, 1], 1000 * board.square_m, atol=0.01)


def test_a_board_that_does_not_fit_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    board = load_board(written(tmp_path, square_m=0.04, marker_m=0.03))
    with pytest.raises(CalibrationError, match="does not fit a4"):
        print_board(board, tmp_path / "board.pdf", "a4")
    assert not (tmp_path / "board.pdf").exists()
    assert print_board(board, tmp_path / "board.pdf") == "a3"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"square_m": 30, "marker_m": 22}, "if millimetres were meant, write 0.03"),
        ({"marker_m": 0.029}, "must be 0.3 to 0.9 of square_m"),
        ({"dictionary": "DICT_9X9_50"}, "must be one of DICT_4X4_100"),
        ({"dictionary": "DICT_4X4_50", "squares": [12, 10]}, "holds 50 markers, the board needs 60"),
        ({"squares": [9, 2]}, "must be whole numbers of columns and rows"),
        ({"squares": [9.5, 6]}, "must be whole numbers of columns and rows"),
        ({"colour": "red"}, "is not a key"),
    ],
)
def test_a_file_that_cannot_be_a_board_is_refused(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(ContractError, match=said):
        load_board(written(tmp_path, **changes))


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="there is no board file"):
        load_board(tmp_path / "none.yaml")


def test_the_origin_is_the_outer_corner_of_the_board() -> None:
    board: Board = load_board(BOARDS / "charuco_a4.yaml")
    np.testing.assert_allclose(board.corners[0], [board.square_m, board.square_m, 0.0], atol=1e-6)
    assert len(board.corners) == 8 * 5
