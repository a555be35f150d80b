"""A video adapter for imagined latents (ours): B_v learns to read imagination as it reads the real thing.

A world model that minimises its squared error imagines means: blurred, and at the wrong places for an adapter that only
ever saw real latents. Action-free videos tell what to do about it. From each of their frames the world model imagines
the next chunk, and the adapter of what was imagined is trained to say what the frozen adapter says of what really
followed,

    || B_i(V_t, imagined V_{t+1}) - B_v(V_t, V_{t+1}) ||^2 + || D_a(B_i(..)) - D_a(B_v(..)) ||^2 ,

so what Stage 2 is led by is the expected embedding of the future, not the embedding of an expected picture. No action
is read.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from world2act_core.alignment.adapters import Alignment
from world2act_core.alignment.train import SeenChunks, video_latents
from world2act_core.runs import Checkpointed, fit
from world2act_core.runs.training import Losses
from world2act_core.world_model.chunk_latents import ChunkLatents


@dataclass(frozen=True)
class CalibrationConfig:
    """Training of the adapter of imagined latents; 0 steps leave it out: B_v then reads them as if real."""

    steps: int = 0
    batch: int = 128
    learning_rate: float = 1e-3


def calibrate(
    alignment: Alignment,
    real: ChunkLatents,
    imagined: ChunkLatents,
    chunks: int,
    config: CalibrationConfig,
    seed: int,
    checkpoint: Path,
    label: str = "calibration",
) -> list[dict[str, float]]:
    """Give an alignment its ``imagined`` adapter; the rest of it stays as it is. Resumes from ``checkpoint``.

    Args:
        real, imagined: the latents around the same ``chunks`` chunks of action-free videos.
    """
    alignment.eval().requires_grad_(False)
    with torch.no_grad():
        wanted = video_latents(alignment, real, np.arange(chunks))
        actions = alignment.decoder(wanted)
    adapter = copy.deepcopy(alignment.video).requires_grad_(True)
    seen = SeenChunks(adapter, imagined, np.arange(chunks))

    def losses(rng: np.random.Generator) -> Losses:
        rows = rng.integers(0, chunks, config.batch)
        z = adapter.read(*seen(rows))
        embedding = F.mse_loss(z, wanted[rows])
        decoded = F.mse_loss(alignment.decoder(z), actions[rows])
        return {"loss": embedding + decoded, "embedding": embedding, "decoded": decoded}

    optimizer = torch.optim.AdamW(adapter.parameters(), lr=config.learning_rate, weight_decay=1e-2)
    history = fit(Checkpointed(adapter, optimizer, checkpoint), losses, steps=config.steps, seed=seed, label=label)
    alignment.imagined = adapter.requires_grad_(False)
    return history
