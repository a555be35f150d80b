"""Reading ``meta``: what the set is, and where each episode lies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from world2act_core.episodes.lerobot import layout
from world2act_core.episodes.lerobot.statistics import Stats
from world2act_core.episodes.lerobot.tables import UNREADABLE
from world2act_core.errors import World2ActError

Info = dict[str, Any]
_NEEDED: dict[str, tuple[type, ...]] = {
    "fps": (int, float),
    "features": (dict,),
    "total_episodes": (int,),
    "data_path": (str,),
}


def read_info(root: Path) -> Info:
    """``info.json`` of a data set.

    Raises:
        World2ActError: there is none, it is damaged, or it is of another version of the format.
    """
    path = root / layout.INFO
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise World2ActError(f"{root} is no LeRobot data set: {path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise World2ActError(f"{path} is no JSON: {error}") from error
    version = info.get("codebase_version") if isinstance(info, dict) else None
    if not str(version).startswith("v3."):
        raise World2ActError(
            f"{root} is a LeRobot data set of version {version}, v3.0 can be read: convert it with LeRobot's "
            "convert_dataset_v21_to_v30"
        )
    for key, kind in _NEEDED.items():
        if not isinstance(info.get(key), kind):
            raise World2ActError(f"{path}: {key} is {info.get(key)!r}, which no LeRobot data set can have")
    for name, feature in info["features"].items():
        shape = feature.get("shape") if isinstance(feature, dict) else None
        if not isinstance(shape, list) or not all(isinstance(size, int) for size in shape) or "dtype" not in feature:
            raise World2ActError(f"{path}: feature {name} has no shape or no dtype")
    return info


@dataclass(frozen=True)
class Records:
    """The rows of one file of ``meta/episodes``: a dict an episode, without statistics."""

    path: Path
    rows: list[dict[str, Any]]

    def stats(self) -> list[dict[str, Stats]]:
        """Statistics of each episode by feature."""
        table = pq.read_table(self.path).slice(0, len(self.rows))
        stats: list[dict[str, Stats]] = [{} for _ in self.rows]
        for name in table.column_names:
            if name.startswith("stats/"):
                _, feature, key = name.split("/")
                for episode, value in zip(stats, table[name].to_pylist(), strict=True):
                    episode.setdefault(feature, {})[key] = np.array(value)
        return stats


def record_files(root: Path) -> list[Path]:
    """The files of ``meta/episodes`` in order."""
    return sorted((root / "meta" / "episodes").glob("chunk-*/file-*.parquet"))


def read_record_file(path: Path, total: int) -> Records:
    """The finished episodes of one file.

    Args:
        path: in ``meta/episodes``.
        total: ``total_episodes`` of ``info.json``; a record behind it belongs to files that a kill left unfinished.

    Raises:
        World2ActError: the file is damaged.
    """
    try:
        names = [name for name in pq.read_schema(path).names if not name.startswith("stats/")]
        rows = pq.read_table(path, columns=names, page_checksum_verification=True).to_pylist()
    except UNREADABLE as error:
        raise World2ActError(f"{path} cannot be read: {error}") from error
    for column in ("episode_index", "length", "data/chunk_index", "data/file_index"):
        if column not in names:
            raise World2ActError(f"{path} has no column {column}, so it is no file of episodes")
    return Records(path, [row for row in rows if row["episode_index"] < total])


def read_records(root: Path, total: int) -> Iterator[Records]:
    """The files of ``meta/episodes`` that hold finished episodes.

    Raises:
        World2ActError: one is damaged or missing.
    """
    found = 0
    for path in record_files(root):
        records = read_record_file(path, total)
        found += len(records.rows)
        if records.rows:
            yield records
    if found != total:
        raise World2ActError(
            f"{root}: {layout.INFO} counts {total} episodes, meta/episodes has {found}: a file was lost"
        )
