"""Latents of logged episodes as data: every skill imagined, or as it really went, with its time base, into a store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from world2act_core.episodes.chunks import tiled_frames
from world2act_core.errors import World2ActError
from world2act_core.types import Episode, Skill
from world2act_core.world_model.compact import CompactWorldModel
from world2act_core.world_model.composition import Planned, imagine_skills
from world2act_core.world_model.protocol import WorldModel
from world2act_core.world_model.store import LatentWriter

KeyedClip = tuple[str, torch.Tensor, dict[str, Any]]
"""Key, latents ``(C, chunks + 1, H, W)`` and what is to be known of a clip, as a `LatentWriter` takes them."""


class From(str, Enum):
    """Which real frames imagination of an episode begins from."""

    START = "start"
    """The first one alone; every skill begins with what was imagined of the one before it."""
    SKILLS = "skills"
    """The one at which a skill begins, again for every skill. Errors then grow for the length of one skill only:
    imagined from the first frame alone, later skills are too far from what happened to learn from."""


@dataclass(frozen=True)
class PlannedClip:
    """A skill of an episode as whole chunks.

    Attributes:
        start: control step at which its first chunk begins, a multiple of M.
        mask: ``(chunks,)`` bool, False for a chunk without a real frame at its start or its end.
    """

    prompt: str
    start: int
    mask: tuple[bool, ...]


def skill_plan(episode: Episode, chunk_length: int) -> list[PlannedClip]:
    """The skills of an episode; the whole instruction as one skill where none was marked.

    A chunk belongs to the skill that is under way at its first step. A skill in which no chunk begins is left out.
    """
    m, framed = chunk_length, {int(step) for step in episode.frame_steps}
    plan = []
    for skill in episode.skills or (Skill(episode.task, 0, episode.steps),):
        first = -(-skill.start // m) * m
        starts = range(first, min(skill.end, episode.steps - m + 1), m)
        mask = tuple(t in framed and t + m in framed for t in starts)
        if mask:
            plan.append(PlannedClip(skill.prompt, first, mask))
    return plan


def clip_key(episode_id: str, index: int) -> str:
    """Of the ``index``-th entry of an episode's `skill_plan` in a latent store."""
    return f"{episode_id}#{index}"


def imagine_episode(
    model: WorldModel,
    episode: Episode,
    cameras: Sequence[str],
    *,
    size: int,
    chunk_length: int,
    begin: From,
) -> Iterator[KeyedClip]:
    """The clips of an episode's skills as the model imagines them.

    Latent t of a clip is the scene at control step ``start_step + t * steps_per_latent`` of the episode. Latent 0 is
    the encoded real frame (and in mode START, from the second skill on, what the skill before it ended with). A skill
    whose first frame was not recorded is left out in mode SKILLS, an episode whose first is missing in mode START.
    """
    plan = list(enumerate(skill_plan(episode, chunk_length)))
    row_of = {int(step): row for row, step in enumerate(episode.frame_steps)}
    if begin is From.SKILLS:
        plan = [(index, clip) for index, clip in plan if clip.start in row_of]
    elif plan and plan[0][1].start not in row_of:
        plan = []
    if not plan:
        return
    frames = tiled_frames(episode, cameras, size)

    def seen(step: int) -> np.ndarray:
        return np.stack([frames[row_of.get(step - chunk_length, row_of[step])], frames[row_of[step]]])

    skills = [Planned(clip.prompt, len(clip.mask)) for _, clip in plan]
    if begin is From.SKILLS:
        context = np.stack([seen(clip.start) for _, clip in plan])
        latents, _ = imagine_skills(model, torch.from_numpy(context), [[skill] for skill in skills])
        parts = [each[:, : skill.chunks + 1] for each, skill in zip(latents, skills, strict=True)]
    else:
        context = seen(plan[0][1].start)[None]
        latents, _ = imagine_skills(model, torch.from_numpy(context), [skills])
        ends = np.cumsum([0, *(skill.chunks for skill in skills)])
        parts = [latents[0][:, a : b + 1] for a, b in pairwise(ends)]
    for (index, clip), part in zip(plan, parts, strict=True):
        yield _keyed(episode, index, clip, part, chunk_length)


def encode_episode(
    model: CompactWorldModel, episode: Episode, cameras: Sequence[str], *, size: int, chunk_length: int
) -> Iterator[KeyedClip]:
    """The clips of an episode's skills as they really went: keys and time base of `imagine_episode`, frames encoded.

    Where no frame was recorded, the clip holds the latent of an earlier one and the mask of the chunks on both sides is
    False. A skill none of whose chunks lies between two frames is left out.
    """
    frames = tiled_frames(episode, cameras, size)
    for index, clip in enumerate(skill_plan(episode, chunk_length)):
        if not any(clip.mask):
            continue
        steps = clip.start + chunk_length * np.arange(len(clip.mask) + 1)
        rows = np.searchsorted(episode.frame_steps, steps, side="right") - 1
        latents = model.encode(torch.from_numpy(frames[rows.clip(0)])[None])[0]
        yield _keyed(episode, index, clip, latents, chunk_length)


def write_clips(
    writer: LatentWriter,
    episodes: Iterable[Episode],
    clips_of: Callable[[Episode], Iterator[KeyedClip]],
    chunk_length: int,
) -> tuple[int, int]:
    """Make the clips of every episode of which the store does not hold all; how many were made, and were there.

    Raises:
        World2ActError: two episodes have the same id, so that their clips would have the same keys.
    """
    made = there = 0
    seen: set[str] = set()
    for episode in episodes:
        if episode.episode_id in seen:
            raise World2ActError(
                f"two episodes are called {episode.episode_id}: write data sets with equal ids to a store each"
            )
        seen.add(episode.episode_id)
        keys = [clip_key(episode.episode_id, index) for index in range(len(skill_plan(episode, chunk_length)))]
        held = [key for key in keys if writer.holds(key)]
        there += len(held)
        if len(held) == len(keys):
            continue
        for key, latents, meta in clips_of(episode):
            if not writer.holds(key):
                writer.add(key, latents, meta)
                made += 1
    return made, there


def _keyed(episode: Episode, index: int, clip: PlannedClip, latents: torch.Tensor, chunk_length: int) -> KeyedClip:
    meta = {
        "episode": episode.episode_id,
        "prompt": clip.prompt,
        "start_step": clip.start,
        "steps_per_latent": chunk_length,
        "mask": list(clip.mask),
    }
    return clip_key(episode.episode_id, index), latents, meta
