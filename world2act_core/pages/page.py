"""One HTML file with everything in it, to be opened anywhere, offline, and shown to colleagues."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from world2act_core.pages import charts
from world2act_core.pages.rates import MINUS
from world2act_core.pages.style import STYLE
from world2act_core.types import Array

# Anything from outside the file is forbidden, and every script but a page's own (by its hash), so that "self-contained"
# is enforced by the browser.
_POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"


def encode_png(image: Array) -> bytes:
    """``(H, W, 3)`` or ``(H, W)`` uint8 → PNG."""
    from PIL import Image

    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise ValueError(f"an image for the report is {image.dtype} {image.shape}: expected uint8 (H, W, 3) or (H, W)")
    memory = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(memory, "PNG", optimize=True)
    return memory.getvalue()


class Page:
    """Builds the page section by section, in the order of the calls. The same calls give the same bytes.

    Every text is plain text (escaped here), except the body of ``add_card``. Nothing is read from the clock or the
    machine: what should appear on the page is passed in.

    Args:
        title: the page's heading, e.g. ``LIBERO goal: put the bowl on the plate``.
    """

    extra_style = ""
    """Rules behind the common style sheet, for what only one kind of page has."""
    script = ""
    """JavaScript at the end of the page, for the one kind that has any. The browser runs this text and no other."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._sections: list[str] = []
        self._contents: list[tuple[str, str]] = []

    def add_verdict(self, line: str, css: str, numbers: Sequence[tuple[str, str, str]]) -> None:
        """What the page says, in one big line, and the numbers behind it.

        Args:
            line: the verdict in one sentence.
            css: ``better``, ``worse`` or ``same``.
            numbers: name, value and what is to be said about it in small.
        """
        cells = "".join(
            f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(small)}</small></dd></div>"
            for name, value, small in numbers
        )
        self._sections.append(
            f'<section class="verdict {css}"><p class="line">{escape(line)}</p>'
            f'<dl class="numbers">{cells}</dl></section>'
        )

    def add_facts(self, facts: Mapping[str, str]) -> None:
        """Short facts (task, robot, commit)."""
        items = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts.items())
        self._sections.append(f'<section class="card"><dl class="facts">{items}</dl></section>')

    def add_card(self, title: str, body: str, caption: str = "", *, half: bool = False) -> None:
        """A section with a body of HTML, in which the caller has escaped every text."""
        anchor = f"part{len(self._contents) + 1}"
        if title:
            self._contents.append((anchor, title))
        heading = f"<h2>{escape(title)}</h2>" if title else ""
        note = f'<p class="note">{escape(caption)}</p>' if caption else ""
        css = "card half" if half else "card"
        self._sections.append(f'<section class="{css}" id="{anchor}">{heading}{note}{body}</section>')

    def add_html(self, html: str) -> None:
        """What is no card, in which the caller has escaped every text."""
        self._sections.append(html)

    def add_curves(
        self,
        title: str,
        curves: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]],
        xlabel: str,
        ylabel: str,
        *,
        caption: str = "",
        log_y: bool = False,
        half: bool = True,
    ) -> None:
        """Lines, name → (x, y); two charts share a row where the screen is wide enough, unless ``half`` is False."""
        self.add_card(title, charts.line_chart(curves, xlabel, ylabel, log_y=log_y), caption, half=half)

    def add_video(self, title: str, mp4: bytes, caption: str = "", *, half: bool = False) -> None:
        """A video that plays by itself, silently and in a loop; ``mp4`` as ``video.encode_mp4`` returns it."""
        data = base64.b64encode(mp4).decode()
        body = (
            f'<video controls autoplay loop muted playsinline aria-label="{escape(title, quote=True)}" '
            f'src="data:video/mp4;base64,{data}"></video>'
        )
        self.add_card(title, body, caption, half=half)

    def add_images(
        self,
        title: str,
        rows: Mapping[str, Iterable[Array]],
        *,
        columns: Sequence[str] = (),
        caption: str = "",
    ) -> None:
        """A grid of images: row label → images ``(H, W, 3)`` uint8; ``columns`` labels them along the top."""
        head = ""
        if columns:
            cells = "".join(f"<th>{escape(column)}</th>" for column in columns)
            head = f"<thead><tr><th></th>{cells}</tr></thead>"
        lines = []
        for label, images in rows.items():
            cells = "".join(f"<td>{_image(image, f'{label} {i}')}</td>" for i, image in enumerate(images))
            lines.append(f"<tr><th>{escape(label)}</th>{cells}</tr>")
        table = f'<table class="frames">{head}<tbody>{"".join(lines)}</tbody></table>'
        self.add_card(title, f'<div class="scroll">{table}</div>', caption)

    def add_table(
        self,
        header: Sequence[str],
        rows: Sequence[Sequence[object]],
        *,
        title: str = "",
        caption: str = "",
        half: bool = False,
    ) -> None:
        """A table; columns that hold only numbers are set to the right.

        Raises:
            ValueError: a row's length differs from the header's.
        """
        texts = [[_cell_text(cell) for cell in row] for row in rows]
        for row in texts:
            if len(row) != len(header):
                raise ValueError(f"table {title!r}: a row has {len(row)} cells for {len(header)} columns")
        numeric = [bool(texts) and all(_looks_numeric(row[i]) for row in texts) for i in range(len(header))]
        css = [' class="number"' if right else "" for right in numeric]
        head = "".join(f"<th{c}>{escape(cell)}</th>" for c, cell in zip(css, header, strict=True))
        lines = (
            "<tr>" + "".join(f"<td{c}>{escape(cell)}</td>" for c, cell in zip(css, row, strict=True)) + "</tr>"
            for row in texts
        )
        body = f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
        self.add_card(title, body, caption, half=half)

    def add_manifest(self, details: Mapping[str, Any], *, title: str = "How this was made") -> None:
        """What a reader needs to repeat it: name → JSON values, each folded away."""
        items = "".join(
            f"<details><summary>{escape(name)}</summary>"
            f"<pre>{escape(json.dumps(value, indent=2, ensure_ascii=False, default=str))}</pre></details>"
            for name, value in details.items()
        )
        self.add_card(title, items)

    def html(self) -> str:
        """The page."""
        title = escape(self.title)
        links = "".join(f'<a href="#{anchor}">{escape(name)}</a>' for anchor, name in self._contents)
        nav = f"<nav>{links}</nav>" if len(self._contents) > 2 else ""
        script = f"<script>{self.script}</script>\n" if self.script else ""
        scripts = "with its script" if self.script else "no scripts"
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{_policy(self.script)}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<link rel="icon" href="data:,">\n<title>{title}</title>\n'
            f"<style>{STYLE}{self.extra_style}</style>\n</head>\n"
            "<body>\n<main>\n"
            f'<header><div class="brand">World2Act report</div><h1>{title}</h1>{nav}</header>\n'
            '<div class="cards">\n' + "\n".join(self._sections) + "\n</div>\n"
            f"<footer>One file, {scripts}, nothing loaded from elsewhere.</footer>\n</main>\n{script}</body>\n</html>\n"
        )

    def write(self, path: Path) -> None:
        """Write the page, whole or not at all."""
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text(self.html(), encoding="utf-8")
        os.replace(temporary, path)


def _policy(script: str) -> str:
    if not script:
        return _POLICY
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"{_POLICY}; script-src 'sha256-{digest}'"


def _image(image: Array, name: str) -> str:
    data = base64.b64encode(encode_png(image)).decode()
    return f'<img alt="{escape(name, quote=True)}" src="data:image/png;base64,{data}">'


def _cell_text(cell: object) -> str:
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, (float, np.floating)):
        return f"{cell:.4g}"
    return "" if cell is None else str(cell)


def _looks_numeric(text: str) -> bool:
    """Whether a cell reads as a number, perhaps with sign, unit or as ``32/40``."""
    return not text or text[0].isdigit() or (text[0] in "+-±" + MINUS and len(text) > 1 and text[1].isdigit())
