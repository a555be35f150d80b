"""Where the episodes of a skill dataset go: a LeRobot v3 dataset, or bags, one an episode."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from types import TracebackType
from typing import Protocol
from urllib.parse import quote

from world2act_core.embodiment import Embodiment
from world2act_core.episodes.lerobot.writer import LeRobotWriter
from world2act_core.episodes.writer import write_whole_bag
from world2act_core.errors import World2ActError
from world2act_core.types import Episode

FORMS = ("lerobot", "bags")
LONGEST_NAME = 150
"""Characters of a file name made of an episode's id; file systems allow 255 bytes."""


class Sink(Protocol):
    """Takes whole episodes; a context manager. What it holds survives a kill."""

    def holds(self, episode_id: str) -> bool:
        """Whether the episode is safely there."""

    def write(self, episode: Episode) -> None:
        """Add an episode with its skills."""

    def __enter__(self) -> Sink: ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class BagSink:
    """One bag an episode in ``folder``, each of which appears only when it is whole."""

    def __init__(self, folder: Path, embodiment: Embodiment) -> None:
        self._folder, self._embodiment = folder, embodiment

    def holds(self, episode_id: str) -> bool:
        return self._bag(episode_id).exists()

    def write(self, episode: Episode) -> None:
        write_whole_bag(episode, self._bag(episode.episode_id), self._embodiment)

    def __enter__(self) -> BagSink:
        self._folder.mkdir(parents=True, exist_ok=True)
        for left_over in self._folder.glob(".*"):  # of a build that was killed
            shutil.rmtree(left_over)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def _bag(self, episode_id: str) -> Path:
        return self._folder / file_name(episode_id)


class LeRobotSink:
    """A LeRobot v3 dataset; the episodes of a file that a kill left unfinished are written again."""

    def __init__(self, folder: Path, embodiment: Embodiment, codec: str) -> None:
        self._writer = LeRobotWriter(folder, embodiment, codec=codec, resume=True)

    def holds(self, episode_id: str) -> bool:
        return episode_id in self._writer.episode_ids

    def write(self, episode: Episode) -> None:
        self._writer.write_episode(episode)

    def __enter__(self) -> LeRobotSink:
        self._writer.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.__exit__(kind, value, trace)


def open_sink(form: str, folder: Path, embodiment: Embodiment, codec: str) -> Sink:
    """The sink of a form in ``FORMS``."""
    if form == "lerobot":
        return LeRobotSink(folder, embodiment, codec)
    if form == "bags":
        return BagSink(folder, embodiment)
    raise World2ActError(f"no form {form!r} of a skill dataset: choose one of {', '.join(FORMS)}")


def file_name(episode_id: str) -> str:
    """A file name for any id: different ids get different names."""
    name = quote(episode_id, safe="+#=@ ").replace(".", "%2E") or "%00"
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(episode_id.encode()).hexdigest()[:16]
    return f"{name[: LONGEST_NAME - 17]}~{digest}"
