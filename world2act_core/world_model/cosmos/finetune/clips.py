"""Skill clips: which frames of an episode the world model learns a skill from.

A clip has ``1 + 4 k`` frames, one a control step: its first latent is its first frame, each further latent is four
frames, and these are the four control steps of one action chunk (see ``world_model.protocol``). The rules:

1. A clip begins with the frame in which its skill begins and ends with the one in which it ends: as in composition,
   the next clip's first frame is this clip's last.
2. Where that is no whole number of chunks, the clip goes on into the frames that follow, at most three of them; where
   the episode ends before, the clip ends with the last whole chunk. Nothing is padded: every latent shows real frames.
3. What is longer than Cosmos' 93 frames is cut into the fewest pieces, as equal as can be, that share their boundary
   frames: one long and one very short piece would teach how a skill does not end.
4. What is shorter than one chunk is left out.

An episode without skills is one skill, its instruction: that trains the world model that the paper compares with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from world2act_core.errors import ContractError
from world2act_core.types import Array, Episode, Skill

FRAMES_PER_LATENT = 4
LONGEST = 93
"""Frames of Cosmos-Predict2's own clips: 24 latents."""


@dataclass(frozen=True)
class Clip:
    """Frames ``[first, first + frames)`` of an episode, counted in control steps, and what happens in them."""

    episode_id: str
    prompt: str
    first: int
    frames: int

    @property
    def latents(self) -> int:
        return 1 + (self.frames - 1) // FRAMES_PER_LATENT


def skill_clips(episode: Episode) -> list[Clip]:
    """The clips of an episode, in order; a skill that is too short for one has none."""
    skills = episode.skills or (Skill(episode.task, 0, episode.steps),)
    return [
        Clip(episode.episode_id, skill.prompt, first, 1 + chunks * FRAMES_PER_LATENT)
        for skill in skills
        for first, chunks in _pieces(skill, episode.steps)
    ]


def _pieces(skill: Skill, steps: int) -> Iterator[tuple[int, int]]:
    """First frame and number of chunks of each piece of a skill."""
    wanted = -(-(skill.end - skill.start) // FRAMES_PER_LATENT)
    there = (steps - skill.start) // FRAMES_PER_LATENT
    chunks, longest = min(wanted, there), (LONGEST - 1) // FRAMES_PER_LATENT
    first = skill.start
    for part in np.array_split(np.arange(chunks), max(1, -(-chunks // longest))):
        if len(part):
            yield first, len(part)
            first += len(part) * FRAMES_PER_LATENT


def clip_frames(episode: Episode, clip: Clip) -> Array:
    """Rows of ``episode.images`` that a clip is made of, ``(frames,)``.

    Raises:
        ContractError: the episode has no frame at one of the clip's control steps.
    """
    row_of_step = {int(step): row for row, step in enumerate(episode.frame_steps)}
    steps = range(clip.first, clip.first + clip.frames)
    missing = [step for step in steps if step not in row_of_step]
    if missing:
        raise ContractError(
            f"episode {episode.episode_id} has no frame at control step {missing[0]}: Cosmos sees one frame a control "
            "step, so record (or render) one at every step"
        )
    return np.asarray([row_of_step[step] for step in steps])
