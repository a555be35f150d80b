"""The contact sheet as one picture, for a terminal or a chat."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from world2act_core.skills.report import words
from world2act_core.skills.report.contact_sheet import Row, by_kind
from world2act_core.skills.thumbnails import SIZE

MOST_ROWS, MOST_DISCARDED = 24, 6
"""Episodes on the picture, and how many of them are discarded ones while there are enough others."""

WIDTH = 2000
"""Pixels: two episodes of four clips beside each other. A single one that needs more gets more."""
MARGIN, HEADLINE = 20, 44
GAP_ENDS, GAP_CLIPS, GAP_BLOCKS = 4, 14, 24
PAIR = 2 * SIZE + GAP_ENDS
LINE, POINTS = 17, 13
HEAD, FOOT = 3 * LINE + 4, 3 * LINE + 4
"""Text above the images: the instruction in two lines and the episode; below them: the prompt in two and its length."""
BLOCK = HEAD + SIZE + FOOT

_PAPER, _INK, _SOFT, _LOSS, _NONE = "#ffffff", "#16191f", "#5b6472", "#c2410c", "#eceef1"


@dataclass(frozen=True)
class Block:
    """Where one episode stands: its upper left corner and width, in pixels."""

    row: Row
    x: int
    y: int
    width: int

    def image_corner(self, index: int) -> tuple[int, int]:
        """Upper left corner of the cell of an image."""
        clip, end = divmod(index, 2)
        return self.x + clip * (PAIR + GAP_CLIPS) + end * (SIZE + GAP_ENDS), self.y + HEAD


def choose(kept: Sequence[Row], discarded: Sequence[Row]) -> list[Row]:
    """Which episodes are on the picture, of rows in the order of ``read_rows``: kept ones first."""
    few = discarded[: max(MOST_DISCARDED, MOST_ROWS - len(kept))]
    return by_kind(kept[: MOST_ROWS - len(few)]) + by_kind(few)


def arrange(rows: Sequence[Row]) -> tuple[list[Block], tuple[int, int]]:
    """Fill lines from left to right.

    Returns:
        The blocks, and width and height of the picture.
    """
    # Below the one pair of a discarded episode stands more to read than below a clip.
    pairs = [len(row.captions) if row.record.kept else 2 for row in rows]
    widths = [count * (PAIR + GAP_CLIPS) - GAP_CLIPS for count in pairs]
    width = max([WIDTH, *(w + 2 * MARGIN for w in widths)])
    blocks: list[Block] = []
    x, y = MARGIN, MARGIN + HEADLINE
    for row, needed in zip(rows, widths, strict=True):
        if x > MARGIN and x + needed > width - MARGIN:
            x, y = MARGIN, y + BLOCK + GAP_CLIPS
        blocks.append(Block(row, x, y, needed))
        x += needed + GAP_BLOCKS
    return blocks, (width, y + (BLOCK if rows else 0) + MARGIN)


def contact_sheet(rows: Sequence[Row], headline: str) -> bytes:
    """PNG of the rows, each episode's images exactly as in its thumbnails."""
    blocks, size = arrange(rows)
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    _text(draw, (MARGIN, MARGIN), headline, size[0] - 2 * MARGIN, _INK, bold=True, points=22)
    for block in blocks:
        _draw_words(draw, block)
        for index, data in enumerate(block.row.images[: 2 * len(block.row.captions)]):
            _paste(sheet, block.image_corner(index), data)
    memory = io.BytesIO()
    sheet.save(memory, "PNG")
    return memory.getvalue()


def _draw_words(draw: ImageDraw.ImageDraw, block: Block) -> None:
    record = block.row.record
    task = _broken(words.plain(record.task), block.width, _font(bold=True, points=POINTS), 2)
    for index, line in enumerate(reversed(task)):  # upwards from the line above the images
        _text(draw, (block.x, block.y + (1 - index) * LINE), line, block.width, _INK, bold=True)
    episode = f"{words.plain(record.episode_id, 60)} · {record.steps} steps"
    _text(draw, (block.x, block.y + 2 * LINE), episode, block.width, _SOFT)
    below = block.y + HEAD + SIZE + 4
    if not record.kept:
        _text(draw, (block.x, below), words.plain(record.discard), block.width, _LOSS, bold=True)
        for index, line in enumerate(block.row.evidence):
            _text(draw, (block.x, below + (1 + index) * LINE), line, block.width, _SOFT)
        return
    for index, (prompt, steps) in enumerate(block.row.captions):
        x = block.image_corner(2 * index)[0]
        used = _text(draw, (x, below), f"{index + 1}  {prompt}", PAIR, _INK, lines=2)
        _text(draw, (x, below + used * LINE), f"{steps} steps, {steps * record.step_s:.1f} s", PAIR, _SOFT)


def _paste(sheet: Image.Image, corner: tuple[int, int], data: bytes) -> None:
    """An image in the middle of its cell; the empty cell if it is lost or damaged."""
    sheet.paste(_NONE, (*corner, corner[0] + SIZE, corner[1] + SIZE))
    try:
        image = Image.open(io.BytesIO(data), formats=["JPEG"]).convert("RGB")
    except OSError:
        return
    image.thumbnail((SIZE, SIZE))
    sheet.paste(image, (corner[0] + (SIZE - image.width) // 2, corner[1] + (SIZE - image.height) // 2))


def _text(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    text: str,
    width: int,
    colour: str,
    *,
    lines: int = 1,
    bold: bool = False,
    points: int = POINTS,
) -> int:
    """Write into at most so many lines of a width, cut with an ellipsis; the number of lines used."""
    font = _font(bold, points)
    written = _broken(text, width, font, lines)
    for index, line in enumerate(written):
        draw.text((corner[0], corner[1] + index * LINE), line, fill=colour, font=font)
    return len(written)


def _broken(text: str, width: int, font: ImageFont.FreeTypeFont, lines: int) -> list[str]:
    found: list[str] = []
    rest = text.split()
    while rest and len(found) < lines:
        line = rest.pop(0)
        while rest and font.getlength(f"{line} {rest[0]}") <= width:
            line += f" {rest.pop(0)}"
        found.append(line)
    if rest:
        found[-1] += " " + " ".join(rest)
    return [_cut(line, width, font) for line in found]


def _cut(line: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(line + "…") > width:
        line = line[:-1]
    return line.rstrip() + "…"


@cache
def _font(bold: bool, points: int) -> ImageFont.FreeTypeFont:
    """A font that every installation has: Matplotlib brings it along."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), points)
