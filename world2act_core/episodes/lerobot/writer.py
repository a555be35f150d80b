"""Writing skill data sets in LeRobot v3.0: streaming, killed and resumed without loss of what was complete."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import pyarrow as pa

from world2act_core.embodiment import Embodiment
from world2act_core.episodes.lerobot import layout, rows
from world2act_core.episodes.lerobot.features import Features, arrow_schema, cameras_of, dataset_features
from world2act_core.episodes.lerobot.files import DEFAULT_LIMITS, FileLimits, OpenFiles, Record, remove_files
from world2act_core.episodes.lerobot.metadata import Records, read_info, read_records
from world2act_core.episodes.lerobot.sentences import Sentences
from world2act_core.episodes.lerobot.statistics import Stats, image_stats, joined, vector_stats
from world2act_core.episodes.lerobot.tables import matrix
from world2act_core.episodes.lerobot.video import DEFAULT_CODEC, codec_named
from world2act_core.errors import ContractError, World2ActError
from world2act_core.types import Episode


class LeRobotWriter:
    """Context manager that writes one data set, see `rows` for how an episode becomes rows.

    Episodes are appended to the open files. A full file gets its name, then the files in ``meta`` are brought up to
    date, ``info.json`` last: from then on its episodes are safe and LeRobot can load them. The first episode decides
    whether the set has actions and which cameras and streams it has; the others must agree. A writer to which nothing
    was written leaves an empty folder.

    Args:
        path: folder of the data set; must not exist unless ``resume``.
        embodiment: contract that all episodes follow; its control rate must be whole frames a second.
        codec: ``av1`` (LeRobot's default), ``h264`` or ``lossless``.
        resume: go on with a set that was begun with the same settings. What a kill left unfinished is dropped;
            ``episode_ids`` says what is there.
        limits: when a file is full.
        language_columns: also write skills as ``language_persistent``, where LeRobot from 0.6 on looks for subtasks.
            Its releases 0.4 and 0.5, which read ``subtask_index``, cannot load a set that has this column.

    Raises:
        World2ActError: the folder exists, is in use, holds another data set, or the disk is full.
        ContractError: the control rate cannot be a LeRobot frame rate.
    """

    def __init__(
        self,
        path: str | Path,
        embodiment: Embodiment,
        *,
        codec: str = DEFAULT_CODEC,
        resume: bool = False,
        limits: FileLimits = DEFAULT_LIMITS,
        language_columns: bool = False,
    ) -> None:
        if embodiment.control_rate_hz % 1:
            raise ContractError(
                f"{embodiment.file}: control_rate_hz is {embodiment.control_rate_hz:g}, LeRobot knows whole frames a "
                "second only"
            )
        self.path, self.embodiment = Path(path), embodiment
        self._fps = int(embodiment.control_rate_hz)
        self._codec, self._limits = codec_named(codec), limits
        self._resume, self._language = resume, language_columns
        self._features: Features | None = None
        self._stats: dict[str, Stats] = {}
        self._ids: set[str] = set()
        self._episodes = self._rows = self._files = 0  # finished
        self._open: OpenFiles | None = None
        self._lock: int | None = None

    def __enter__(self) -> LeRobotWriter:
        with self._reporting(), self._dropping():
            try:
                self.path.mkdir(parents=True, exist_ok=self._resume)
            except FileExistsError:
                raise World2ActError(
                    f"{self.path} exists already: give another path, or resume to go on with this data set"
                ) from None
            self._take_lock()
            self._tasks = Sentences(self.path / layout.TASKS, "task")
            self._subtasks = Sentences(self.path / layout.SUBTASKS, "subtask")
            self._subtasks.add("")  # index 0: steps under no skill
            if (self.path / layout.INFO).exists():
                self._take_over()
            remove_files(self.path, self._files)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def episode_ids(self) -> Set[str]:
        """Ids of the episodes in the data set: after ``resume`` those that are safe, then also those written since."""
        return self._ids

    def write_episode(self, episode: Episode) -> None:
        """Append an episode. It is safe once its file is full or the writer is closed.

        Raises:
            ContractError: the episode does not follow the embodiment or is unlike the others; nothing was written.
            World2ActError: it is there already, or writing failed and the open files were dropped.
        """
        if self._lock is None:
            raise World2ActError(f"{self.path}: the data set is not open, nothing more can be written to it")
        if episode.episode_id in self._ids:
            raise World2ActError(f"{self.path}: episode {episode.episode_id} is there already")
        rows.check_episode(episode, self.embodiment)
        features = self._agreed_features(episode)
        with self._reporting(), self._dropping():
            if self._open is None:
                self._open = OpenFiles(self.path, self._files, features, self._codec, self._fps)
            self._features = features
            self._append(episode, self._open, features)
            self._ids.add(episode.episode_id)
            if self._open.full(self._limits):
                self._finish_files()

    def close(self) -> None:
        """Finish the open files. Does nothing if the writer was closed or has failed."""
        if self._lock is None:
            return
        with self._reporting(), self._dropping():
            self._finish_files()
        self._let_go()

    def _append(self, episode: Episode, files: OpenFiles, features: Features) -> None:
        first_row = self._rows + files.rows
        for prompt in rows.prompts(episode):
            self._subtasks.add(prompt)
        table = rows.episode_table(
            episode,
            self.embodiment,
            arrow_schema(features),
            episode_index=self._episodes + len(files.records),
            first_row=first_row,
            task_index=self._tasks.add(episode.task),
            subtask_index=self._subtasks.index,
        )
        held = rows.held_frames(episode)
        stats = {name: vector_stats(matrix(table[name])) for name in table.column_names if name != layout.LANGUAGE}
        stats |= {f"{layout.IMAGES}{name}": image_stats(episode.images[name], held) for name in cameras_of(features)}
        record: Record = {
            "episode_index": self._episodes + len(files.records),
            "tasks": [episode.task],
            "length": len(table),
            "dataset_from_index": first_row,
            "dataset_to_index": first_row + len(table),
            layout.EPISODE_ID: episode.episode_id,
            layout.SOURCE: episode.source,
            layout.START_ID: episode.start_id,
            layout.SUCCESS: episode.success,
            layout.SKILLS: rows.skills_json(episode.skills),
        }
        files.append(table, dict(episode.images), held, record, stats)

    def _finish_files(self) -> None:
        """Name the open files and bring ``meta`` up to date."""
        files = self._open
        if files is None or self._features is None:
            return
        files.finish()
        self._open = None
        self._tasks.save()
        self._subtasks.save()
        self._count(files.stats, files.rows)
        layout.replace_json(
            self.path / layout.STATS,
            {name: {key: value.tolist() for key, value in stats.items()} for name, stats in self._stats.items()},
        )
        layout.replace_json(self.path / layout.INFO, self._info(self._features))

    def _count(self, stats: list[dict[str, Stats]], rows: int) -> None:
        self._episodes += len(stats)
        self._rows += rows
        self._files += 1
        self._stats = joined([self._stats, *stats] if self._stats else stats)

    def _info(self, features: Features) -> dict[str, Any]:
        return {
            "codebase_version": layout.CODEBASE_VERSION,
            "robot_type": self.embodiment.name,
            "total_episodes": self._episodes,
            "total_frames": self._rows,
            "total_tasks": len(self._tasks),
            "chunks_size": layout.FILES_PER_CHUNK,
            "data_files_size_in_mb": max(1, round(self._limits.data_mb)),
            "video_files_size_in_mb": max(1, round(self._limits.video_mb)),
            "fps": self._fps,
            "splits": {"train": f"0:{self._episodes}"},
            "data_path": layout.DATA_PATH,
            "video_path": layout.VIDEO_PATH if cameras_of(features) else None,
            "features": features,
        }

    def _agreed_features(self, episode: Episode) -> Features:
        """The data set's features, if the episode has the same."""
        features = dataset_features(self.embodiment, episode, self._codec, self._language)
        known = features if self._features is None else self._features
        where = f"{self.path}: episode {episode.episode_id}"
        if (layout.ACTION in features) != (layout.ACTION in known):
            has, others = ("no actions", "have") if layout.ACTION in known else ("actions", "have none")
            raise ContractError(
                f"{where} has {has}, the episodes before it {others}: write labelled and action-free episodes to "
                "data sets of their own"
            )
        if cameras_of(features) != cameras_of(known):
            raise ContractError(
                f"{where} has cameras {list(cameras_of(features))}, the data set {list(cameras_of(known))}"
            )
        if features != known:
            raise ContractError(
                f"{where} gives other features than the data set has: state streams or the codec differ"
            )
        return known

    def _take_over(self) -> None:
        """Go on with the episodes that an earlier writer finished."""
        info = read_info(self.path)
        if info.get("robot_type") != self.embodiment.name:
            raise World2ActError(f"{self.path} is a data set of {info.get('robot_type')}, not {self.embodiment.name}")
        self._features = info["features"]
        for records in read_records(self.path, info["total_episodes"]):
            self._take_over_file(records)

    def _take_over_file(self, records: Records) -> None:
        if layout.EPISODE_ID not in records.rows[0]:
            raise World2ActError(f"{self.path} was not written by World2Act: write to a data set of its own")
        self._ids.update(str(row[layout.EPISODE_ID]) for row in records.rows)
        self._count(records.stats(), sum(row["length"] for row in records.rows))

    def _take_lock(self) -> None:
        self._lock = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise World2ActError(f"another process is writing to {self.path}: wait for it") from None

    def _let_go(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @contextmanager
    def _dropping(self) -> Iterator[None]:
        """Whatever interrupts writing leaves files that are no use: drop them."""
        try:
            yield
        except BaseException:
            files, self._open = self._open, None
            if files is not None:
                files.abandon()
            self._let_go()
            raise

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        """Say what happened on an error of the system or of the encoder."""
        try:
            yield
        except (OSError, av.FFmpegError, pa.ArrowException) as error:
            raise World2ActError(
                f"{self.path}: writing the data set failed ({error}); the files finished before are whole, resume to "
                "go on behind them"
            ) from error
