"""Imagination of logged episodes as data: the latents of every skill, with their time base, into a latent store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from world2act_core.episodes.chunks import tiled_frames
from world2act_core.types import Episode, Skill
from world2act_core.world_model.composition import Planned, imagine_skills
from world2act_core.world_model.protocol import WorldModel
from world2act_core.world_model.store import LatentWriter


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
) -> Iterator[tuple[str, torch.Tensor, dict[str, Any]]]:
    """Key, latents ``(C, chunks + 1, H, W)`` and what is to be known of every skill of an episode.

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
        meta = {
            "episode": episode.episode_id,
            "prompt": clip.prompt,
            "start_step": clip.start,
            "steps_per_latent": chunk_length,
            "mask": list(clip.mask),
        }
        yield clip_key(episode.episode_id, index), part, meta


def imagine_into(
    writer: LatentWriter,
    model: WorldModel,
    episodes: Iterable[Episode],
    cameras: Sequence[str],
    *,
    size: int,
    chunk_length: int,
    begin: From,
) -> tuple[int, int]:
    """Imagine every episode of which the store does not hold all clips; how many clips were made, and were there."""
    made = there = 0
    for episode in episodes:
        keys = [clip_key(episode.episode_id, index) for index in range(len(skill_plan(episode, chunk_length)))]
        held = [key for key in keys if writer.holds(key)]
        there += len(held)
        if len(held) == len(keys):
            continue
        clips = imagine_episode(model, episode, cameras, size=size, chunk_length=chunk_length, begin=begin)
        for key, latents, meta in clips:
            if not writer.holds(key):
                writer.add(key, latents, meta)
                made += 1
    return made, there
