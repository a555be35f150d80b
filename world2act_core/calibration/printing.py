"""The board as a PDF at true scale, with a ruler to hold a real one against after printing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from world2act_core.calibration.board import Board, CalibrationError

MM_PER_INCH = 25.4
PAGES_MM = {"a4": (297.0, 210.0), "a3": (420.0, 297.0), "letter": (279.4, 215.9), "tabloid": (431.8, 279.4)}
MARGIN_MM = 8.0  # what printers leave white, and what a detector needs around the board
RULER_MM = 100.0
RULER_ROOM_MM = 14.0


def smallest_page(board: Board) -> str:
    """The first page of PAGES_MM that holds board, margin and ruler; "" if none does."""
    width, height = (1000 * side for side in board.size_m)
    for name, (across, up) in PAGES_MM.items():
        if width + 2 * MARGIN_MM <= across and height + 2 * MARGIN_MM + RULER_ROOM_MM <= up:
            return name
    return ""


def print_board(board: Board, path: Path, page: str = "") -> str:
    """Write the board as a vector PDF, one page in landscape; 1 mm of the file is 1 mm on paper printed at 100 %.

    Args:
        page: of PAGES_MM; "" the smallest that fits, or one made to measure.

    Returns:
        The page's name, or its size.

    Raises:
        CalibrationError: the board does not fit, the page is unknown, or the file cannot be written.
    """
    import matplotlib

    width, height = (1000 * side for side in board.size_m)
    page = page or smallest_page(board)
    if page and page not in PAGES_MM:
        raise CalibrationError(f"page {page!r} is not one of {', '.join(PAGES_MM)}")
    made_to_measure = (max(width, RULER_MM) + 2 * MARGIN_MM, height + 2 * MARGIN_MM + RULER_ROOM_MM)
    across, up = PAGES_MM.get(page, made_to_measure)
    if width + 2 * MARGIN_MM > across or height + 2 * MARGIN_MM + RULER_ROOM_MM > up:
        raise CalibrationError(
            f"{board.name} is {width:g} x {height:g} mm and does not fit {page} with its margin and ruler: "
            "choose a larger page or smaller squares"
        )
    with matplotlib.rc_context({"pdf.fonttype": 42}):
        figure = _drawing(board, across, up)
        partial = path.with_name(path.name + ".part")
        try:
            figure.savefig(partial, format="pdf", metadata={"Title": board.describe(), "CreationDate": None})
            os.replace(partial, path)
        except OSError as error:
            raise CalibrationError(f"{path} cannot be written: {error.strerror}") from error
    return page or f"{across:g} x {up:g} mm"


def _drawing(board: Board, across: float, up: float) -> Any:
    """A figure as large as the page, whose data units are millimetres from the lower left corner."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(across / MM_PER_INCH, up / MM_PER_INCH))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_xlim(0, across)
    axes.set_ylim(0, up)
    axes.axis("off")
    width, height = (1000 * side for side in board.size_m)
    left, top = (across - width) / 2, up - (up - RULER_ROOM_MM - height) / 2
    _squares(axes, board, left, top)
    _ruler(axes, board, (across - RULER_MM) / 2, MARGIN_MM)
    return figure


def _squares(axes: Any, board: Board, left: float, top: float) -> None:
    """The black cells, one path: neighbours that are separate shapes leave hairlines between them on some printers."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Outline

    vertices: list[tuple[float, float]] = []
    codes: list[Any] = []
    for x, y, edge in _black_cells(board):
        x0, y0 = left + x, top - y
        vertices += [(x0, y0), (x0 + edge, y0), (x0 + edge, y0 - edge), (x0, y0 - edge), (x0, y0)]
        codes += [Outline.MOVETO, Outline.LINETO, Outline.LINETO, Outline.LINETO, Outline.CLOSEPOLY]
    axes.add_patch(PathPatch(Outline(vertices, codes), facecolor="black", edgecolor="none", linewidth=0))


def _black_cells(board: Board) -> Iterator[tuple[float, float, float]]:
    """Left, top and edge of every black square, mm from the board's upper left corner, as OpenCV lays it out."""
    square, marker = 1000 * board.square_m, 1000 * board.marker_m
    dictionary = board.opencv.getDictionary()
    bits = dictionary.markerSize + 2  # with the black border
    cell, inset = marker / bits, (square - marker) / 2
    marked = set()
    for number, corners in zip(np.ravel(board.opencv.getIds()), board.opencv.getObjPoints(), strict=True):
        column, row = (int(place // board.square_m) for place in np.asarray(corners)[:, :2].min(axis=0))
        marked.add((row, column))
        for down, along in np.argwhere(dictionary.generateImageMarker(int(number), bits) < 128):
            yield column * square + inset + along * cell, row * square + inset + down * cell, cell
    for row, column in np.ndindex(board.rows, board.columns):
        if (row, column) not in marked:
            yield column * square, row * square, square


def _ruler(axes: Any, board: Board, x: float, y: float) -> None:
    for mm in range(0, round(RULER_MM) + 1, 5):
        axes.plot([x + mm] * 2, [y, y + (4 if mm % 10 == 0 else 2)], color="black", linewidth=0.5)
    axes.plot([x, x + RULER_MM], [y, y], color="black", linewidth=0.5)
    said = f"0 to {RULER_MM:g} mm: measure it. Print at 100 %, not fit to page.   {board.describe()}"
    axes.text(x + RULER_MM / 2, y - 1.0, said, ha="center", va="top", fontsize=6)
