"""The board in an image: how exactly it is found, and why an image is refused."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from benchmarks._board_scene import projected
from benchmarks._calibration_cell import BOARDS, Cell
from world2act_core.calibration.board import Board, CalibrationError, load_board
from world2act_core.calibration.detection import BoardDetector, Rejected, View
from world2act_core.calibration.recordings import all_views
from world2act_core.calibration.sources import Picture
from world2act_core.types import Array


def look(board: Board, image: Array) -> View | Rejected:
    return BoardDetector(board).detect(image, "image")


def reason(board: Board, image: Array) -> str:
    found = look(board, image)
    assert isinstance(found, Rejected)
    return found.reason


def moved(image: Array, pixels: int) -> Array:
    """The image of a camera that moved sideways while it was exposed."""
    return np.asarray(cv2.blur(image, (pixels, 1)))


def test_corners_are_where_they_truly_are(cell: Cell, picture: Array, pose: Array) -> None:
    view = look(cell.board, picture)
    assert isinstance(view, View) and len(view.ids) == len(cell.board.corners)
    error = view.pixels - projected(cell.lens, pose, view.points)
    assert np.abs(error).max() < 0.25
    assert np.abs(error.mean(axis=0)).max() < 0.03, "half a pixel off would be a convention mixed up"
    assert 1.0 < view.blur_px < 3.0


def test_motion_blur_is_refused_with_its_extent(cell: Cell, picture: Array) -> None:
    assert reason(cell.board, moved(picture, 6)).startswith("blurred: 4.")
    assert isinstance(look(cell.board, moved(picture, 3)), View), "a little is borne"
    assert "badly blurred" in reason(cell.board, moved(picture, 15)), "so much that no marker can be read"


def test_a_partly_hidden_board_is_used_where_it_is_seen(cell: Cell, picture: Array, pose: Array) -> None:
    hidden = picture.copy()
    hidden[:, :320] = 90
    view = look(cell.board, hidden)
    assert isinstance(view, View) and 8 <= len(view.ids) < len(cell.board.corners)
    assert np.abs(view.pixels - projected(cell.lens, pose, view.points)).max() < 0.25
    hidden[:, :460] = 90
    assert "are seen, at least 8 are needed" in reason(cell.board, hidden) or "no marker" in reason(cell.board, hidden)


def test_a_mirrored_image_is_told_from_a_missing_board(cell: Cell, picture: Array) -> None:
    assert "mirrored" in reason(cell.board, np.ascontiguousarray(picture[:, ::-1]))
    assert "no marker" in reason(cell.board, np.full_like(picture, 120))


def test_another_layout_with_the_same_markers_is_refused(cell: Cell, picture: Array, tmp_path: object) -> None:
    other = Board("other", 5, 4, 0.029, 0.022, cell.board.dictionary, False, "other.yaml")
    assert "another board" in reason(other, picture)


def test_a_board_of_another_dictionary_is_named(cell: Cell, picture: Array) -> None:
    wrong = load_board(BOARDS / "charuco_flange.yaml")
    pictures = [Picture(f"{k}.png", None, lambda: picture) for k in range(3)]
    with pytest.raises(CalibrationError, match=r"markers of DICT_5X5 are seen, the board's file says DICT_4X4_50"):
        all_views(pictures, BoardDetector(wrong), 10)


def test_an_image_that_cannot_be_read_is_left_out_with_its_reason(cell: Cell, picture: Array) -> None:
    def broken() -> Array:
        raise CalibrationError("half.png is not an image that can be read")

    pictures = [Picture("whole.png", None, lambda: picture), Picture("half.png", None, broken)]
    views, rejected = all_views(pictures, BoardDetector(cell.board), 10)
    assert [view.name for view in views] == ["whole.png"]
    assert rejected == [Rejected("half.png", "half.png is not an image that can be read")]
