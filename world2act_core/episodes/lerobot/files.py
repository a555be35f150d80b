"""The files that are being written: rows, frames and episode records that get their names together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from world2act_core.episodes.lerobot import layout
from world2act_core.episodes.lerobot.features import Features, arrow_schema, cameras_of
from world2act_core.episodes.lerobot.statistics import Stats
from world2act_core.episodes.lerobot.video import Codec, VideoWriter
from world2act_core.types import Array

MB = 1 << 20
Record = dict[str, Any]


@dataclass(frozen=True)
class FileLimits:
    """When a file is full. The first episode that reaches one of these closes it; episodes are never divided.

    Attributes:
        data_mb, video_mb: megabytes of rows, and of one camera's video (LeRobot's own defaults).
        seconds: of robot time, which bounds what a kill may cost: small videos take hours to reach 200 MB.
    """

    data_mb: float = 100
    video_mb: float = 200
    seconds: float = 900


DEFAULT_LIMITS = FileLimits()


class OpenFiles:
    """The ``number``-th data file, one video a camera, and the records of the episodes in them.

    Everything is written as ``*.part`` and named in `finish`, the records last: an episode that has a record is whole.
    """

    def __init__(self, root: Path, number: int, features: Features, codec: Codec, fps: int) -> None:
        self.number, self.fps = number, fps
        self._features = features
        self._data = root / layout.DATA_PATH.format(**layout.place(number))
        self._records_path = root / layout.EPISODES_PATH.format(**layout.place(number))
        self._paths = {
            name: root / layout.VIDEO_PATH.format(video_key=f"{layout.IMAGES}{name}", **layout.place(number))
            for name in cameras_of(features)
        }
        for path in (self._data, self._records_path, *self._paths.values()):
            path.parent.mkdir(parents=True, exist_ok=True)
        self.records: list[Record] = []
        self.stats: list[dict[str, Stats]] = []
        self.rows = 0
        self._videos: dict[str, VideoWriter] = {}
        self._writer = pq.ParquetWriter(
            layout.part(self._data), arrow_schema(features), compression="snappy", write_page_checksum=True
        )
        try:
            for name, size in cameras_of(features).items():
                self._videos[name] = VideoWriter(layout.part(self._paths[name]), codec, fps, *size)
        except BaseException:
            self.abandon()
            raise

    def append(
        self, rows: pa.Table, images: dict[str, Array], held: Array, record: Record, stats: dict[str, Stats]
    ) -> None:
        """Add an episode: its rows as one row group, and of each camera the frame that each row shows.

        Args:
            rows: ``N`` rows.
            images: camera → ``(K, H, W, 3)`` uint8.
            held: ``(N,)`` which image each row shows.
            record: what else its row in ``meta/episodes`` says.
            stats: of its features.
        """
        where = layout.place(self.number)
        located: Record = {f"data/{key}": value for key, value in where.items()}
        for name, video in self._videos.items():
            begin = video.frames
            video.write(images[name], held)
            at = f"videos/{layout.IMAGES}{name}"
            located |= {f"{at}/{key}": value for key, value in where.items()}
            located |= {f"{at}/from_timestamp": begin / self.fps, f"{at}/to_timestamp": video.frames / self.fps}
        self._writer.write_table(rows)
        self.rows += len(rows)
        self.records.append({**record, **located, **{f"meta/episodes/{key}": value for key, value in where.items()}})
        self.stats.append(stats)

    def full(self, limits: FileLimits) -> bool:
        """Whether the files have reached a limit."""
        return (
            self.rows / self.fps >= limits.seconds
            or layout.part(self._data).stat().st_size >= limits.data_mb * MB
            or any(video.size >= limits.video_mb * MB for video in self._videos.values())
        )

    def finish(self) -> None:
        """Complete the files and give them their names."""
        self._writer.close()
        for video in self._videos.values():
            video.close()
        pq.write_table(
            _records_table(self.records, self.stats), layout.part(self._records_path), write_page_checksum=True
        )
        for path in (self._data, *self._paths.values(), self._records_path):
            layout.publish(path)

    def abandon(self) -> None:
        """Throw away what was not finished."""
        for video in self._videos.values():
            video.abandon()
        self._writer.close()
        layout.part(self._data).unlink(missing_ok=True)
        layout.part(self._records_path).unlink(missing_ok=True)


def remove_files(root: Path, number: int) -> None:
    """Remove what a kill left of the ``number``-th files, complete or not."""
    templates = [layout.DATA_PATH, layout.EPISODES_PATH]
    templates += [layout.VIDEO_PATH.replace("{video_key}", folder.name) for folder in root.glob("videos/*")]
    for template in templates:
        path = root / template.format(**layout.place(number))
        path.unlink(missing_ok=True)
        layout.part(path).unlink(missing_ok=True)


def _records_table(records: list[Record], stats: list[dict[str, Stats]]) -> pa.Table:
    """The records with flattened statistics. Types are stated: a column may hold nothing but nulls in one file."""
    columns = {name: pa.array([record[name] for record in records], _record_type(name)) for name in records[0]}
    for feature, values in stats[0].items():
        for key in values:
            cells = [episode[feature][key].tolist() for episode in stats]
            columns[f"stats/{feature}/{key}"] = pa.array(cells, _nested(values[key]))
    return pa.table(columns)


def _record_type(name: str) -> pa.DataType:
    if name == "tasks":
        return pa.list_(pa.string())
    if name == layout.SUCCESS:
        return pa.bool_()
    if name.startswith(layout.OURS):
        return pa.string()
    return pa.float64() if name.endswith("_timestamp") else pa.int64()


def _nested(value: Array) -> pa.DataType:
    kind = pa.int64() if np.issubdtype(value.dtype, np.integer) else pa.float64()
    for _ in range(value.ndim):
        kind = pa.list_(kind)
    return kind
