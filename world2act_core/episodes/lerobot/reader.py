"""Reading episodes from LeRobot v3 data sets, ours exactly and others as far as they go, one at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from world2act_core.embodiment import Embodiment
from world2act_core.episodes.lerobot import layout
from world2act_core.episodes.lerobot.columns import match_columns
from world2act_core.episodes.lerobot.metadata import Records, read_info, read_record_file, record_files
from world2act_core.episodes.lerobot.sentences import read_sentences
from world2act_core.episodes.lerobot.tables import DataFile, matrix
from world2act_core.episodes.lerobot.video import VideoReader
from world2act_core.episodes.reader import BagReport, Refused
from world2act_core.errors import ContractError, DamagedBagError, World2ActError
from world2act_core.types import Array, Episode, Skill

Record = dict[str, Any]


def iterate_lerobot(
    path: str | Path,
    embodiment: Embodiment,
    cameras: Sequence[str] | None = None,
    frame_every: int = 1,
    report: BagReport | None = None,
) -> Iterator[Episode]:
    """Yield the episodes of a data set one at a time; only one is in memory.

    What `LeRobotWriter` wrote comes back as it was (images as far as the codec keeps them). Of a data set of others an
    episode of N rows gives N - 1 steps, because its last action leads to a state that was not stored; every row has a
    frame, in the data set's own size; skills are its subtasks, if it has any. Streams that it lacks are left out.

    Args:
        path: folder that holds ``meta/info.json``.
        embodiment: contract that columns and cameras are matched to.
        cameras: which to decode; None takes those that data set and contract both have.
        frame_every: take frames only at steps that are multiples of this.
        report: takes refused episodes; a damaged file of ``meta/episodes``, whose episodes are then unknown, is its
            ``damage``. Without it a refused episode is raised where it stands, and damage behind all others.

    Raises:
        World2ActError: there is no such data set, or its ``meta`` is damaged.
        ContractError: it does not fit the contract; without ``report`` also an episode that is refused.
        DamagedBagError: only without ``report``.
    """
    source = _Source(Path(path), embodiment, cameras, frame_every)
    for records in source.records(report):
        for record in records.rows:
            name = source.name(record)
            try:
                episode = source.episode(record)
            except (World2ActError, ValueError) as error:
                if report is None:
                    raise ContractError(f"{source.root}: episode {name} cannot be used: {error}") from error
                report.refused.append(Refused(name, str(error)))
                continue
            yield episode


class _Source:
    """One data set: its ``meta``, and the file of rows that was read last."""

    def __init__(self, root: Path, embodiment: Embodiment, cameras: Sequence[str] | None, frame_every: int) -> None:
        self.root, self.embodiment, self.frame_every = root, embodiment, frame_every
        self.info = read_info(root)
        self.total: int = self.info["total_episodes"]
        self.features = self.info["features"]
        self.columns = match_columns(self.info, embodiment, cameras, str(root))
        self.tasks = read_sentences(root / layout.TASKS, "task")
        subtasks = layout.SUBTASK_INDEX in self.features and (root / layout.SUBTASKS).exists()
        self.subtasks = read_sentences(root / layout.SUBTASKS, "subtask") if subtasks else []
        self._file: DataFile | None = None

    def records(self, report: BagReport | None) -> Iterator[Records]:
        """The files of ``meta/episodes``; one that is damaged or missing is the report's damage."""
        found = 0
        damage: World2ActError | None = None
        for file in record_files(self.root):
            try:
                records = read_record_file(file, self.total)
            except World2ActError as error:
                damage = damage or error
                continue
            found += len(records.rows)
            yield records
        if found < self.total:
            lost = DamagedBagError(
                f"{self.root}: {self.total - found} of {self.total} episodes are lost with files of meta/episodes: "
                f"{damage or 'they are missing'}"
            )
            if report is None:
                raise lost from damage
            report.damage = lost

    def name(self, record: Record) -> str:
        """The episode's id; an episode of others is called by the folder and its number."""
        own = record.get(layout.EPISODE_ID)
        return str(own) if own is not None else f"{self.root.name}-{record['episode_index']:06d}"

    def episode(self, record: Record) -> Episode:
        """Read one episode; World2ActError or ValueError says why it cannot be used."""
        if layout.EPISODE_ID in record and self.info.get("robot_type") != self.embodiment.name:
            raise ContractError(
                f"it was recorded with embodiment {self.info.get('robot_type')!r}, not {self.embodiment.name!r}"
            )
        rows = self._rows(record)
        frame_steps = self._frame_steps(rows)
        return Episode(
            episode_id=self.name(record),
            task=self._task(rows),
            embodiment=self.embodiment.name,
            stamps=self._stamps(rows),
            state=self._state(rows),
            actions=self._actions(rows),
            frame_steps=frame_steps,
            images={camera: self._images(feature, record, rows, frame_steps)
                    for camera, feature in self.columns.cameras.items()},
            success=record.get(layout.SUCCESS),
            start_id=record.get(layout.START_ID) or "",
            source=record.get(layout.SOURCE) or "",
            skills=self._skills(record, rows),
        )  # fmt: skip

    def _rows(self, record: Record) -> pa.Table:
        place = {"chunk_index": record["data/chunk_index"], "file_index": record["data/file_index"]}
        path = self.root / _fill(self.info["data_path"], place)
        if self._file is None or self._file.path != path:
            self._file = None  # a file that cannot be opened must not leave another in its place
            self._file = DataFile(path, self._wanted())
        rows = self._file.rows(record["episode_index"])
        numbers = _numbers(rows, "frame_index")[:, 0] if len(rows) else np.zeros(0)
        if not record["length"] or not np.array_equal(numbers, np.arange(record["length"])):
            raise World2ActError(f"{path} has {len(rows)} rows of it that do not count from 0 to {record['length']}")
        return rows

    def _wanted(self) -> list[str]:
        """Columns to be read: images that are stored in rows are large."""
        optional = (layout.ACTION, layout.STAMP, layout.FRAME_AGE, layout.SUBTASK_INDEX, layout.LANGUAGE)
        images = [name for name in self.columns.cameras.values() if self.features[name]["dtype"] == "image"]
        has = [name for name in optional if name in self.features]
        return [layout.STATE, "frame_index", "episode_index", "task_index", *has, *images]

    def _stamps(self, rows: pa.Table) -> Array:
        if layout.STAMP in rows.column_names:
            return _numbers(rows, layout.STAMP)[:, 0].astype(np.float64)
        return np.arange(len(rows)) / self.columns.rate_hz

    def _state(self, rows: pa.Table) -> dict[str, Array]:
        values = _finite(rows, layout.STATE)
        picked = {entry.stream: (entry, values[:, list(entry.numbers)]) for entry in self.columns.state}
        return {
            name: np.ascontiguousarray(entry.convert(state) if entry.convert else state, np.float32)
            for name, (entry, state) in picked.items()
        }

    def _actions(self, rows: pa.Table) -> Array | None:
        if self.columns.action is None:
            return None
        values = _finite(rows, layout.ACTION)[:-1, list(self.columns.action)]
        return np.ascontiguousarray(values, np.float32)

    def _frame_steps(self, rows: pa.Table) -> Array:
        if not self.columns.cameras:
            return np.zeros(0, np.int64)
        steps = np.arange(len(rows))
        if layout.FRAME_AGE in rows.column_names:
            steps = np.flatnonzero(_numbers(rows, layout.FRAME_AGE)[:, 0] == 0)
        return steps[steps % self.frame_every == 0].astype(np.int64)

    def _images(self, feature: str, record: Record, rows: pa.Table, frame_steps: Array) -> Array:
        if not len(frame_steps):
            height, width = self.features[feature]["shape"][:2]
            return np.zeros((0, height, width, 3), np.uint8)
        if self.features[feature]["dtype"] == "image":
            images = _stored_images(rows[feature], frame_steps, self.root)
        else:
            images = self._frames(feature, record, frame_steps)
        return np.ascontiguousarray(images[:, :, ::-1]) if self.columns.mirrored else images

    def _frames(self, feature: str, record: Record, frame_steps: Array) -> Array:
        at = f"videos/{feature}"
        keys = [f"{at}/{key}" for key in ("chunk_index", "file_index", "from_timestamp")]
        if any(record.get(key) is None for key in keys):
            raise World2ActError(f"meta/episodes does not say where its video {feature} is")
        place = {"video_key": feature, "chunk_index": record[keys[0]], "file_index": record[keys[1]]}
        fps = float(self.info["fps"])
        with VideoReader(self.root / _fill(self.info.get("video_path") or "", place), fps) as video:
            return video.read(round(record[keys[2]] * fps) + frame_steps)

    def _task(self, rows: pa.Table) -> str:
        return _sentence(self.tasks, int(_numbers(rows, "task_index")[0, 0]), "task")

    def _skills(self, record: Record, rows: pa.Table) -> tuple[Skill, ...]:
        """Ours exactly; those of others are runs of rows with the same subtask."""
        own = record.get(layout.SKILLS)
        if own is not None:
            return _parsed_skills(own)
        prompts = self._prompts(rows)[: len(rows) - 1]
        runs = [
            (prompt, [t for t, _ in run]) for prompt, run in groupby(enumerate(prompts), key=lambda entry: entry[1])
        ]
        return tuple(Skill(prompt, steps[0], steps[-1] + 1) for prompt, steps in runs if prompt)

    def _prompts(self, rows: pa.Table) -> list[str]:
        if layout.LANGUAGE in rows.column_names:
            said = [row for row in rows[layout.LANGUAGE][0].as_py() or () if row.get("style") == "subtask"]
            starts = sorted((row["timestamp"], row["content"] or "") for row in said)
            times = np.arange(len(rows)) / float(self.info["fps"]) + 1e-4  # its timestamps are 32-bit seconds
            latest = np.searchsorted([time for time, _ in starts], times, side="right") - 1
            return [starts[k][1] if k >= 0 else "" for k in latest]
        if self.subtasks:
            numbers = _numbers(rows, layout.SUBTASK_INDEX)[:, 0].astype(int)
            return [_sentence(self.subtasks, int(number), "subtask") for number in numbers]
        return [""] * len(rows)


def _parsed_skills(text: str) -> tuple[Skill, ...]:
    try:
        return tuple(Skill(str(prompt), int(start), int(end)) for prompt, start, end in json.loads(text))
    except (ValueError, TypeError) as error:
        raise World2ActError(f"{layout.SKILLS} is not [[prompt, start, end], ...]: {error}") from error


def _numbers(rows: pa.Table, column: str) -> Array:
    """A column as ``(N, D)``."""
    try:
        return matrix(rows[column])
    except World2ActError as error:
        raise World2ActError(f"column {column}: {error}") from None


def _finite(rows: pa.Table, column: str) -> Array:
    values = _numbers(rows, column)
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        raise World2ActError(f"column {column} is not finite at row {bad[0][0]}")
    return values


def _sentence(sentences: list[str], index: int, kind: str) -> str:
    if not 0 <= index < len(sentences):
        raise World2ActError(f"{kind}_index {index} is none of the {len(sentences)} {kind}s")
    return sentences[index]


def _fill(template: str, place: dict[str, Any]) -> str:
    try:
        return template.format(**place)
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise World2ActError(f"{layout.INFO}: path template {template!r} cannot be filled in ({error})") from error


def _stored_images(column: pa.ChunkedArray, frame_steps: Array, root: Path) -> Array:
    """Images that stand in the rows as PNG or JPEG, ``(K, H, W, 3)`` uint8 RGB."""
    images = []
    for step in frame_steps:
        cell = column[int(step)].as_py() or {}
        data = cell.get("bytes") or (root / cell["path"]).read_bytes() if cell.get("path") else cell.get("bytes")
        decoded = None if not data else cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if decoded is None:
            raise World2ActError(f"the image of row {step} cannot be decoded")
        images.append(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB))
    return np.stack(images)
