"""Where things lie in a LeRobot v3.0 data set, and how its small files are replaced.

The format is LeRobot's (huggingface/lerobot, ``CODEBASE_VERSION = "v3.0"``, releases 0.4 to 0.6)::

    meta/info.json                                   features, rate, path templates, totals
    meta/stats.json                                  statistics of every feature over the whole set
    meta/tasks.parquet, meta/subtasks.parquet        sentence ↔ task_index, subtask_index
    meta/episodes/chunk-000/file-000.parquet         a row an episode: where its rows and frames lie
    data/chunk-000/file-000.parquet                  a row a control step
    videos/<feature>/chunk-000/file-000.mp4          a frame a row
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

CODEBASE_VERSION = "v3.0"
INFO = "meta/info.json"
STATS = "meta/stats.json"
TASKS = "meta/tasks.parquet"
SUBTASKS = "meta/subtasks.parquet"
_FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
EPISODES_PATH = f"meta/episodes/{_FILE}.parquet"
DATA_PATH = f"data/{_FILE}.parquet"
VIDEO_PATH = f"videos/{{video_key}}/{_FILE}.mp4"
FILES_PER_CHUNK = 1000

STATE, ACTION, IMAGES = "observation.state", "action", "observation.images."
STAMP, FRAME_AGE, DONE = "stamp", "frame_age", "next.done"
SUBTASK_INDEX, LANGUAGE = "subtask_index", "language_persistent"

# Columns of meta/episodes that only World2Act knows; LeRobot carries them along unread.
OURS = "world2act/"
EPISODE_ID, SOURCE, START_ID, SUCCESS, SKILLS = (
    f"{OURS}{name}" for name in ("episode_id", "source", "start_id", "success", "skills")
)


def place(number: int) -> dict[str, int]:
    """``chunk_index`` and ``file_index`` of the ``number``-th file of a kind, to fill into a path template."""
    chunk, file = divmod(number, FILES_PER_CHUNK)
    return {"chunk_index": chunk, "file_index": file}


def part(path: Path) -> Path:
    """The name under which a file is written until it is complete."""
    return path.with_name(f"{path.name}.part")


def publish(path: Path) -> None:
    """Give a completely written file its name. A kill leaves the part or the whole, never a cut file."""
    with part(path).open("rb") as file:
        os.fsync(file.fileno())
    os.replace(part(path), path)


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Replace a small file by what ``write`` writes to the path it is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write(part(path))
    publish(path)


def replace_json(path: Path, content: Any) -> None:
    """Replace a JSON file; a NaN, which JSON does not have, is a ValueError."""
    text = json.dumps(content, indent=4, ensure_ascii=False, allow_nan=False)
    replace_file(path, lambda target: target.write_text(text, encoding="utf-8"))
