"""The journal of a skill dataset: one line of JSON for every episode that was looked at, kept or discarded.

It is what a killed build resumes from and what the report is made of. A line that a kill cut off is dropped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from world2act_core.skills.types import Event, EventKind, Step, StepKind, Usage
from world2act_core.types import Skill

JOURNAL = "journal.jsonl"

UNREADABLE, FAILED = "could not be read", "the attempt failed"
"""Why an episode was discarded before it came to skills: such episodes say nothing about synchronisation."""


@dataclass(frozen=True)
class Record:
    """What became of one episode.

    Attributes:
        source: the file or folder it came from, as it was given.
        episode_id, task: of the episode; the task is the whole instruction.
        steps: T, control steps; 0 if the episode could not even be read.
        step_s: seconds a control step.
        events: as segmented.
        notes: what segmentation overruled, by name and count.
        plan: as decomposed.
        skills: the clips; empty if discarded.
        discard: why there are no clips, one of a few short phrases to count by; "" if there are.
        reason: the same in one sentence about this episode.
        usage: what the decomposition cost.
        thumbnails: file names beside the journal in the order first and last frame of each clip (of the whole episode
            if it was discarded); empty for most episodes.
    """

    source: str
    episode_id: str
    task: str
    steps: int
    step_s: float
    events: tuple[Event, ...] = ()
    notes: tuple[tuple[str, int], ...] = ()
    plan: tuple[Step, ...] = ()
    skills: tuple[Skill, ...] = ()
    discard: str = ""
    reason: str = ""
    usage: Usage = field(default_factory=Usage)
    thumbnails: tuple[str, ...] = ()

    @property
    def kept(self) -> bool:
        return bool(self.skills)


def to_line(record: Record) -> str:
    """One line of JSON, without its line feed."""
    return json.dumps(asdict(record))


def from_line(line: str) -> Record:
    """The inverse of `to_line`; ValueError, KeyError or TypeError if it is none."""
    raw: dict[str, Any] = json.loads(line)
    raw["events"] = tuple(Event(EventKind(e.pop("kind")), **e) for e in raw["events"])
    raw["plan"] = tuple(Step(kind=StepKind(s.pop("kind")), **s) for s in raw["plan"])
    raw["skills"] = tuple(Skill(**skill) for skill in raw["skills"])
    raw["notes"] = tuple((str(name), int(count)) for name, count in raw["notes"])
    raw["usage"] = Usage(**raw["usage"])
    raw["thumbnails"] = tuple(raw["thumbnails"])
    return Record(**raw)


def read_journal(folder: Path) -> list[Record]:
    """All whole lines of a dataset's journal; empty if there is none yet."""
    path = folder / JOURNAL
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    return [from_line(line) for line in lines]


def rewrite_journal(folder: Path, records: Iterable[Record]) -> None:
    """Replace the journal, so that a kill leaves the old one or the new one."""
    part = folder / f"{JOURNAL}.part"
    with part.open("w", encoding="utf-8") as file:
        file.writelines(f"{to_line(record)}\n" for record in records)
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / JOURNAL)


def append_record(folder: Path, record: Record) -> None:
    """Add one line; it is on disk when this returns."""
    with (folder / JOURNAL).open("a", encoding="utf-8") as file:
        file.write(f"{to_line(record)}\n")
        file.flush()
        os.fsync(file.fileno())
