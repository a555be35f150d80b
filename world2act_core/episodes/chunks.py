"""Episodes as flat tables of action chunks, which is how training reads them.

The time base, everywhere: chunk ``k`` of an episode covers control steps ``[k M, (k + 1) M)``; the frame before it was
taken at step ``k M`` and the frame after it at step ``(k + 1) M``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from world2act_core.embodiment import Embodiment
from world2act_core.embodiment.contract import as_vector
from world2act_core.embodiment.displacement import Displacement, placed_dimensions, standing
from world2act_core.errors import ContractError
from world2act_core.types import Array, Episode, Skill


def model_image(image: Array, size: int) -> Array:
    """An image as the compact models see it: ``(H, W, 3)`` uint8 → ``(size, size, 3)`` uint8, area-averaged."""
    if image.shape[:2] == (size, size):
        return image
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)


@dataclass(frozen=True)
class ChunkTable:
    """``N`` chunks of many episodes, and the ``F`` frames between which they lie.

    Attributes:
        frames: ``(F, S, V S, 3)`` uint8, the V cameras side by side (the paper tiles its views too).
        before: ``(N,)`` index of the frame at the chunk's first step.
        after: ``(N,)`` index of the frame at the first step behind the chunk.
        previous: ``(N,)`` index of the frame one chunk earlier (``before`` itself in an episode's first chunk).
        proprio: ``(N, P)`` float32 at the chunk's first step.
        actions: ``(N, M, A)`` float32, meaningless where ``labelled`` is False.
        labelled: ``(N,)`` bool, False for chunks of action-free videos.
        step: ``(N,)`` int64, control step of its episode at which the chunk begins.
        clock: ``(N,)`` chunks since the skill began that is under way at the chunk's first step.
        episode: ``(N,)`` index of the episode.
        prompts: skill prompt of each chunk.
        episode_ids, start_ids: of each episode.
        base: ``(N, M, A)`` float32, what a base policy answered when it was asked at the chunk's first step; None where
            none was asked.
        standing: ``(N, A)`` float32, where the arm stood at the chunk's first step (``embodiment.displacement``); None
            where actions are displacements.
        states: ``(N, 2 M + 1, P)`` float32, proprioception from the chunk's first step to the end of the next chunk,
            the episode's last state repeated behind it; None where it is not known.
    """

    frames: Array
    before: Array
    after: Array
    previous: Array
    proprio: Array
    actions: Array
    labelled: Array
    step: Array
    clock: Array
    episode: Array
    prompts: tuple[str, ...]
    episode_ids: tuple[str, ...]
    start_ids: tuple[str, ...]
    base: Array | None = None
    standing: Array | None = None
    states: Array | None = None

    def __len__(self) -> int:
        return len(self.before)

    def view(self, camera: int) -> Array:
        """The frames of one camera, ``(F, S, S, 3)`` uint8."""
        size = self.frames.shape[1]
        return self.frames[:, :, camera * size : (camera + 1) * size]

    def select(self, rows: Array) -> ChunkTable:
        """The table of some of the rows, with only the frames that these need."""
        kept = np.unique(np.concatenate([self.previous[rows], self.before[rows], self.after[rows]]))
        place = np.full(len(self.frames), -1)
        place[kept] = np.arange(len(kept))
        frames = {name: place[getattr(self, name)[rows]] for name in ("before", "after", "previous")}
        columns = {name: getattr(self, name)[rows] for name in _COLUMNS}
        prompts = tuple(self.prompts[row] for row in rows)
        known: dict[str, Any] = {name: None if (of := getattr(self, name)) is None else of[rows] for name in _IF_KNOWN}
        return replace(self, frames=self.frames[kept], prompts=prompts, **known, **frames, **columns)


def joined(tables: Sequence[ChunkTable]) -> ChunkTable:
    """Several tables of the same cameras and streams as one, in their order."""
    first_frame = np.cumsum([0, *(len(table.frames) for table in tables)])
    first_episode = np.cumsum([0, *(len(table.episode_ids) for table in tables)])
    moved = [
        replace(
            table,
            before=table.before + first_frame[number],
            after=table.after + first_frame[number],
            previous=table.previous + first_frame[number],
            episode=table.episode + first_episode[number],
        )
        for number, table in enumerate(tables)
    ]
    arrays: dict[str, Array] = {name: np.concatenate([getattr(table, name) for table in moved]) for name in _ARRAYS}
    prompts, ids, starts = (
        tuple(text for table in moved for text in getattr(table, name))
        for name in ("prompts", "episode_ids", "start_ids")
    )
    known: dict[str, Any] = {name: _together([getattr(table, name) for table in tables]) for name in _IF_KNOWN}
    return ChunkTable(**arrays, prompts=prompts, episode_ids=ids, start_ids=starts, **known)


def _together(parts: Sequence[Array | None]) -> Array | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if len(known) == len(parts) else None


_COLUMNS = ("proprio", "actions", "labelled", "step", "clock", "episode")
_ARRAYS = ("frames", "before", "after", "previous", *_COLUMNS)
_IF_KNOWN = ("base", "standing", "states")


def chunk_table(
    episodes: Iterable[Episode], embodiment: Embodiment, cameras: Sequence[str], streams: Sequence[str], size: int
) -> ChunkTable:
    """Cut episodes into complete chunks; steps behind an episode's last complete chunk are left out.

    Args:
        episodes: with frames of ``cameras`` at every chunk boundary.
        cameras: whose frames to take, each resized to ``size``, in the order in which they are tiled.
        streams: state streams that make up proprioception.

    Raises:
        ContractError: an episode of another embodiment, without a camera, or with no complete chunk.
    """
    m, a = embodiment.chunk_length, embodiment.action.size
    places = bool(placed_dimensions(embodiment))
    rows: dict[str, list[Array]] = {name: [] for name in (*_ARRAYS, "states", *["standing"] * places)}
    prompts: list[str] = []
    episode_ids: list[str] = []
    start_ids: list[str] = []
    offset = 0
    for number, episode in enumerate(episodes):
        _check(episode, embodiment, cameras)
        starts = np.asarray(list(episode.chunk_starts(m)), np.int64)
        if not len(starts):
            raise ContractError(f"episode {episode.episode_id} holds no complete chunk of {m} steps")
        row_of_step = {int(step): row for row, step in enumerate(episode.frame_steps)}
        before = np.asarray([row_of_step[int(step)] for step in starts], np.int64)
        after = np.asarray([row_of_step[int(step) + m] for step in starts], np.int64)
        previous = np.asarray([row_of_step.get(int(step) - m, row_of_step[int(step)]) for step in starts], np.int64)
        known = episode.actions
        actions = np.zeros((len(starts), m, a)) if known is None else np.stack([known[t : t + m] for t in starts])
        states = as_vector(embodiment, dict(episode.state), tuple(streams))
        onwards = np.minimum(starts[:, None] + np.arange(2 * m + 1), len(states) - 1)
        rows["frames"].append(tiled_frames(episode, cameras, size))
        rows["before"].append(before + offset)
        rows["after"].append(after + offset)
        rows["previous"].append(previous + offset)
        rows["proprio"].append(states[starts])
        rows["states"].append(states[onwards])
        if places:
            rows["standing"].append(standing(embodiment, episode.state)[starts])
        rows["actions"].append(actions.astype(np.float32))
        rows["labelled"].append(np.full(len(starts), known is not None))
        rows["step"].append(starts)
        skills = [skill_at(episode, int(step)) for step in starts]
        rows["clock"].append((starts - [skill.start for skill in skills]) // m)
        rows["episode"].append(np.full(len(starts), number, np.int64))
        prompts += [skill.prompt for skill in skills]
        episode_ids.append(episode.episode_id)
        start_ids.append(episode.start_id)
        offset += len(episode.frame_steps)
    if not episode_ids:
        raise ContractError("no episodes to cut into chunks: the bag holds none, or none is usable")
    arrays = {name: np.concatenate(parts) for name, parts in rows.items()}
    return ChunkTable(**arrays, prompts=tuple(prompts), episode_ids=tuple(episode_ids), start_ids=tuple(start_ids))


def labelled(table: ChunkTable) -> ChunkTable:
    """The chunks with actions; somebody's own logs may lack them here and there."""
    return table.select(np.flatnonzero(table.labelled))


def displaced(table: ChunkTable, displacement: Displacement) -> ChunkTable:
    """The table with its actions as displacements from where the arm stood at each chunk's first step."""
    return replace(table, actions=displacement.of(table.actions, table.standing))


def split_episodes(table: ChunkTable, share: float) -> tuple[ChunkTable, ChunkTable]:
    """The first ``share`` of the episodes that have chunks in the table and the rest; they have no frame in common."""
    present = np.unique(table.episode)
    first = present[: max(1, round(share * len(present)))]
    return (
        table.select(np.flatnonzero(np.isin(table.episode, first))),
        table.select(np.flatnonzero(~np.isin(table.episode, first))),
    )


def tiled_frames(episode: Episode, cameras: Sequence[str], size: int) -> Array:
    """The episode's frames as the world model sees them, ``(K, size, V size, 3)`` uint8."""
    views = [np.stack([model_image(image, size) for image in episode.images[camera]]) for camera in cameras]
    return np.concatenate(views, axis=2)


def _check(episode: Episode, embodiment: Embodiment, cameras: Sequence[str]) -> None:
    if episode.embodiment != embodiment.name:
        raise ContractError(
            f"episode {episode.episode_id} is of embodiment {episode.embodiment}, expected {embodiment.name}"
        )
    for camera in cameras:
        if camera not in episode.images:
            has = ", ".join(episode.images)
            raise ContractError(f"episode {episode.episode_id} has no camera {camera}, only {has}")


def skill_at(episode: Episode, step: int) -> Skill:
    """The skill that is under way at a step; the whole instruction where no skill was marked."""
    for skill in episode.skills:
        if skill.start <= step < skill.end:
            return skill
    return Skill(episode.task, 0, episode.steps)
