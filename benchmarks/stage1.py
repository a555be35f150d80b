"""Stage 1: chunks aligned a second, ours against a straightforward loop in the shape of the public code.

Run: ``python -m benchmarks.stage1 [--threads 1] [--repeats 3]``. Both train on the same synthetic clips, which lie in
files (their values do not matter to speed): random latents in the shape of the compact world model, then in that of
Cosmos-Predict2 at 480 x 832 pixels. A clip is one skill of one episode, 24 chunks long.

*The loop* (``_published_loop.py``): 16 clips a step, each read from its own file; a Conv1d action VAE (KL 1e-4); for
every video anchor 16 negatives, 75 % of them other demonstrations of its skill, each one's actions read from its own
file (its latents are not: only videos are anchors); temperature 0.07; AdamW 1e-4, weight decay 1e-2, betas (0.9, 0.95),
gradients clipped to 1. Its losses are those of Stage 1 in one direction.

*Ours*: ``train_alignment`` as it stands, with checkpoints and progress bar. "whole clips" aligns the same chunks a step
as the loop; "default" draws 8 chunks of each of 16 clips. The files are read once, which is timed apart.

Chunks aligned are those of the anchors, 16 x 24 or 16 x 8 a step: no clip is so short that one would be padding. The
two take turns, so that another load of the machine meets both; the figures are medians over the turns.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks._machine import machine
from benchmarks._published_loop import Clip, PublishedLoop
from world2act_core.alignment.train import Stage1Config, train_alignment
from world2act_core.episodes.chunks import ChunkTable

CHUNKS = 24
"""Of a clip, as in Cosmos-Predict2's 93 frames."""
M, A = 4, 7
SKILLS = 8
BATCH = 16


@dataclass(frozen=True)
class Case:
    """Latents of one world model, how many clips of them, and how many steps a turn takes of the loop and of ours."""

    name: str
    shape: tuple[int, int, int]
    clips: int
    loop_steps: int
    our_steps: int


CASES = (
    Case("compact world model", (16, 8, 16), clips=256, loop_steps=20, our_steps=150),
    Case("Cosmos-Predict2", (16, 60, 104), clips=48, loop_steps=2, our_steps=6),
)


def write_clips(case: Case, folder: Path) -> list[Clip]:
    """Every clip as two files: latents ``(CHUNKS + 1, C, h, w)`` at the ends of its chunks, actions ``(CHUNKS M, A)``."""
    rng = np.random.default_rng(0)
    clips = []
    for number in range(case.clips):
        clip = Clip(folder / f"{number}.latents.npy", folder / f"{number}.actions.npy", number % SKILLS)
        np.save(clip.latents, rng.standard_normal((CHUNKS + 1, *case.shape), dtype=np.float32))
        np.save(clip.actions, rng.uniform(-1, 1, (CHUNKS * M, A)).astype(np.float32))
        clips.append(clip)
    return clips


def read_all(clips: list[Clip]) -> tuple[ChunkTable, torch.Tensor]:
    """The same clips as Stage 1 reads them: a chunk table, and the latents of all of its frames."""
    latents = torch.from_numpy(np.concatenate([np.load(clip.latents) for clip in clips]))
    actions = np.concatenate([np.load(clip.actions).reshape(CHUNKS, M, A) for clip in clips])
    episode, chunk = np.divmod(np.arange(len(actions)), CHUNKS)
    before = episode * (CHUNKS + 1) + chunk
    names = tuple(str(number) for number in range(len(clips)))
    table = ChunkTable(
        frames=np.zeros((len(latents), 1, 1, 3), np.uint8),  # Stage 1 sees latents only
        before=before,
        after=before + 1,
        previous=np.where(chunk > 0, before - 1, before),
        proprio=np.zeros((len(actions), 1), np.float32),
        actions=actions,
        labelled=np.ones(len(actions), bool),
        clock=chunk,
        episode=episode,
        prompts=tuple(f"skill {clips[number].skill}" for number in episode),
        episode_ids=names,
        start_ids=names,
    )
    return table, latents
