"""The contact sheet: first and last frame of each clip, so that a person sees in seconds whether they are right."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from world2act_core.skills.journal import Record
from world2act_core.skills.report import words
from world2act_core.skills.thumbnails import THUMBNAILS, kind_of

OPEN_ROWS = 24
"""Episodes that are seen at once; the others are folded away below them."""

SHEET_STYLE = """
.sheet { display: flex; flex-wrap: wrap; gap: 22px 30px; align-items: flex-start; margin: 14px 0 4px; }
.sheet article { max-width: 100%; }
.sheet header { margin: 0 0 6px; width: 0; min-width: 100%; line-height: 1.3; }
.sheet h3 { margin: 0; font-size: 15px; overflow-wrap: anywhere; }
.halves { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr)); gap: 8px 28px; }
.halves h3 { margin: 6px 0 0; font-size: 15px; }
.halves small { color: var(--soft); font-size: 13px; }
.sheet small { color: var(--soft); font-size: 13px; overflow-wrap: anywhere; }
.sheet .why { color: var(--loss); }
.clips { display: flex; flex-wrap: wrap; gap: 10px 14px; }
.clips figure { margin: 0; width: 228px; }
.clips .ends { display: flex; gap: 4px; }
.clips img, .clips .gone { width: 112px; height: 112px; object-fit: contain; border-radius: 5px; display: block;
  background: var(--none-tint); }
.clips .gone { display: grid; place-items: center; color: var(--faint); font-size: 13px; }
.clips figcaption { font-size: 14px; line-height: 1.3; margin-top: 5px; overflow-wrap: anywhere; }
.clips figcaption small { display: block; }
"""


@dataclass(frozen=True)
class Row:
    """One episode of the sheet.

    Attributes:
        record: what became of it.
        images: JPEG files in the order of ``record.thumbnails``; b"" where one is lost.
    """

    record: Record
    images: tuple[bytes, ...]

    @property
    def captions(self) -> list[tuple[str, int]]:
        """Prompt and length in control steps of each pair of images; the whole episode has no prompt."""
        clips = [(words.plain(skill.prompt), skill.end - skill.start) for skill in self.record.skills]
        return clips or [("", self.record.steps)]

    @property
    def evidence(self) -> list[str]:
        """Of a discarded episode: the events that were seen, and the steps asked for or why there are none."""
        asked = ", ".join(words.plain(step.prompt) for step in self.record.plan)
        return [
            f"seen: {words.events(self.record.events)}",
            f"asked: {asked}" if asked else words.plain(self.record.reason),
        ]


def read_rows(folder: Path, records: Sequence[Record], most_bytes: int) -> list[Row]:
    """The episodes that have thumbnails, the first of every kind before the second of any.

    Args:
        folder: of the dataset.
        records: of its journal.
        most_bytes: of all images together; what comes later is left out.
    """
    rows, used = [], 0
    for record in _in_turn(records):
        images = tuple(_read(folder / THUMBNAILS / Path(name).name) for name in record.thumbnails)
        used += sum(map(len, images))
        if used > most_bytes:
            break
        rows.append(Row(record, images))
    return rows


def by_kind(rows: Sequence[Row]) -> list[Row]:
    """The same rows with those of one kind next to each other."""
    kinds = list(dict.fromkeys(kind_of(row.record) for row in rows))
    place = {kind: index for index, kind in enumerate(kinds)}
    return sorted(rows, key=lambda row: place[kind_of(row.record)])


def sheet_html(rows: Sequence[Row]) -> str:
    """The rows as HTML, all texts escaped; many of them partly folded away."""
    shown, folded = by_kind(rows[:OPEN_ROWS]), by_kind(rows[OPEN_ROWS:])
    html = f'<div class="sheet">{"".join(map(_row, shown))}</div>'
    if folded:
        html += f"<details><summary>{len(folded)} more</summary>"
        html += f'<div class="sheet">{"".join(map(_row, folded))}</div></details>'
    return html


def _in_turn(records: Sequence[Record]) -> Iterator[Record]:
    rank: Counter[tuple[bool, str]] = Counter()
    keyed = []
    for record in records:
        if record.thumbnails:
            keyed.append((rank[kind_of(record)], record))
            rank[kind_of(record)] += 1
    return (record for _, record in sorted(keyed, key=lambda pair: pair[0]))


def _read(path: Path) -> bytes:
    """A thumbnail; only ever from the folder of thumbnails, whatever a journal says."""
    return path.read_bytes() if path.is_file() else b""


def _row(row: Row) -> str:
    record = row.record
    name, length = words.plain(record.episode_id, 60), f"{record.steps} steps, {record.steps * record.step_s:.1f} s"
    header = f"<h3>{escape(words.plain(record.task))}</h3><small>{escape(name)} · {length}</small>"
    if record.kept:
        captions = [
            f"<b>{index + 1}</b> {escape(prompt)}<small>{steps} steps, {steps * record.step_s:.1f} s</small>"
            for index, (prompt, steps) in enumerate(row.captions)
        ]
    else:
        why, said = words.plain(record.discard), "".join(f"<small>{escape(line)}</small>" for line in row.evidence)
        captions = [f'<b class="why">{escape(why)}</b>{said}']
    figures = "".join(
        _figure(f"clip {index + 1}" if record.kept else "episode", row.images[2 * index : 2 * index + 2], caption)
        for index, caption in enumerate(captions)
    )
    return f'<article><header>{header}</header><div class="clips">{figures}</div></article>'


def _figure(name: str, ends: Sequence[bytes], caption: str) -> str:
    pictures = [_picture(data, f"{end} frame of {name}") for end, data in zip(("first", "last"), ends, strict=False)]
    return f'<figure><div class="ends">{"".join(pictures)}</div><figcaption>{caption}</figcaption></figure>'


def _picture(data: bytes, name: str) -> str:
    if not data:
        return '<div class="gone">no image</div>'
    return f'<img alt="{name}" src="data:image/jpeg;base64,{base64.b64encode(data).decode()}">'
