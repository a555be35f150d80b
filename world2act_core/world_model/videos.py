"""Logged episodes as the compact world model reads them: tiled frames at chunk boundaries, and no action."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np

from world2act_core.embodiment import Embodiment
from world2act_core.episodes.chunks import ChunkTable, chunk_table
from world2act_core.episodes.messages import HOW_EPISODES_ARE_MARKED
from world2act_core.episodes.reader import BagReport
from world2act_core.episodes.sources import find_sources, iterate_source
from world2act_core.errors import World2ActError
from world2act_core.runs.stage import file_digest
from world2act_core.types import Episode

HELD_OUT = 0.1


@dataclass(frozen=True)
class Videos:
    """Chunks of many episodes, and the instruction of each episode."""

    table: ChunkTable
    tasks: tuple[str, ...]

    def only(self, episode_ids: Sequence[str]) -> ChunkTable:
        """The chunks of some of the episodes, by id."""
        wanted = set(episode_ids)
        numbers = [number for number, name in enumerate(self.table.episode_ids) if name in wanted]
        return self.table.select(np.flatnonzero(np.isin(self.table.episode, numbers)))


def videos_in(
    inputs: Sequence[Path], embodiment: Embodiment, cameras: Sequence[str] | None = None, progress: bool = False
) -> Iterator[Episode]:
    """Every usable episode of some bags and data sets, one at a time, with frames at chunk boundaries only.

    What a recording lost is left out, as everywhere; episodes shorter than a chunk too.

    Raises:
        World2ActError: there is nothing at an input, or nothing that can be opened.
        ContractError: an unknown camera, or an episode without one that is asked for.
    """
    from tqdm import tqdm

    m = embodiment.chunk_length
    with tqdm(desc="episodes", unit=" episodes", mininterval=0.5, disable=not progress) as bar:
        for source in find_sources(inputs):
            for episode in iterate_source(source, embodiment, cameras, frame_every=m, report=BagReport()):
                bar.update()
                if episode.images and any(True for _ in episode.chunk_starts(m)):
                    yield episode.without_actions()


def cameras_of(inputs: Sequence[Path], embodiment: Embodiment) -> tuple[str, ...]:
    """The cameras of the first video, in the order of the contract.

    Raises:
        World2ActError: no input holds a video.
    """
    for episode in videos_in(inputs, embodiment):
        return tuple(name for name in embodiment.cameras if name in episode.images)
    raise _no_videos(inputs, embodiment)


def read_videos(
    inputs: Sequence[Path], embodiment: Embodiment, cameras: Sequence[str], size: int, progress: bool = False
) -> Videos:
    """All episodes as one table; images are made small as they are read, so that only these stay in memory.

    Raises:
        World2ActError: as `videos_in`, or no input holds a video, or two episodes have the same id.
    """
    tasks: dict[str, str] = {}

    def noted() -> Iterator[Episode]:
        for episode in videos_in(inputs, embodiment, cameras, progress):
            if episode.episode_id in tasks:
                raise World2ActError(
                    f"two episodes are called {episode.episode_id}: give each recording once, and data sets with equal "
                    "ids one at a time"
                )
            tasks[episode.episode_id] = episode.task
            # Proprioception is no part of a video, but a table has the column.
            yield replace(episode, state={name: episode.state[name] for name in stream})

    stream = tuple(embodiment.state)[:1]
    episodes = noted()
    first = next(episodes, None)
    if first is None:
        raise _no_videos(inputs, embodiment, cameras)
    table = chunk_table(chain([first], episodes), embodiment, cameras, stream, size)
    return Videos(table, tuple(tasks.values()))


def split(videos: Videos) -> tuple[list[str], list[str]]:
    """Ids to train on and to measure on: of every instruction the last tenth of its episodes, of all at least one.

    By instruction, because recordings lie task by task: the last tenth of everything would be one task.

    Raises:
        World2ActError: there is only one episode.
    """
    names, by_task = videos.table.episode_ids, dict.fromkeys(videos.tasks)
    if len(names) < 2:
        raise World2ActError(f"the only video is {names[0]}: a world model needs one to train and one to measure on")
    held_out: list[str] = []
    for task in by_task:
        own = [name for name, told in zip(names, videos.tasks, strict=True) if told == task]
        held_out += own[len(own) - round(HELD_OUT * len(own)) :]
    held_out = held_out or [names[-1]]
    return [name for name in names if name not in set(held_out)], held_out


def digest_of(inputs: Sequence[Path]) -> str:
    """SHA-256 over what the inputs hold, wherever they lie."""
    digest = hashlib.sha256()
    for source in find_sources(inputs):
        files = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
        for file in files:
            name = file.relative_to(source.parent)
            digest.update(f"{name}\0{file_digest(file)}\n".encode())
    return digest.hexdigest()


def _no_videos(inputs: Sequence[Path], embodiment: Embodiment, cameras: Sequence[str] = ()) -> World2ActError:
    seen = f" from {', '.join(cameras)}" if cameras else ""
    return World2ActError(
        f"no episode below {', '.join(map(str, inputs))} has frames{seen} at every {embodiment.chunk_length}th step of "
        f"{embodiment.name}: record bags with cameras, or name the embodiment they were made with "
        f"({HOW_EPISODES_ARE_MARKED})"
    )
