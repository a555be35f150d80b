"""Stage 1: reconstruction + bidirectional chunk-wise InfoNCE (World2Act, section 3.2), and cross-decoding (ours)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from world2act_core.alignment.adapters import AdapterConfig, Alignment
from world2act_core.alignment.losses import bidirectional_info_nce, sequence_similarity
from world2act_core.alignment.sampling import SequenceSampler
from world2act_core.episodes.chunks import ChunkTable
from world2act_core.runs import Checkpointed, fit


@dataclass(frozen=True)
class Stage1Config:
    """Training of the adapters. Temperature, batch and hard ratio are the paper's."""

    size: int = 32
    pooling: str = "patches"
    steps: int = 1200
    batch: int = 16
    length: int = 8  # chunks a sequence
    hard_ratio: float = 0.25
    temperature: float = 0.1
    contrast: float = 1.0
    decode: float = 1.0  # ours: D_a(B_v(V)) should read the actions from the video
    learning_rate: float = 1e-3
    precision: str = "float32"  # of B_v's layers in training; "bfloat16" where the processor computes in it


def train_alignment(
    table: ChunkTable, latents: torch.Tensor, config: Stage1Config, seed: int, checkpoint: Path, label: str = "stage 1"
) -> tuple[Alignment, list[dict[str, float]]]:
    """Train B_v, B_a and D_a on the labelled chunks of a table.

    Args:
        latents: ``(F, C, h, w)`` world-model latents of the table's frames; the world model stays frozen.
        checkpoint: file to resume from.
    """
    torch.manual_seed(seed)
    shape = (int(latents.shape[1]), int(latents.shape[2]), int(latents.shape[3]))
    _, chunk_length, actions = table.actions.shape
    alignment = Alignment(AdapterConfig(shape, chunk_length, actions, config.size, config.pooling))
    sampler = SequenceSampler(table, config.length, config.batch, config.hard_ratio)
    all_actions = torch.from_numpy(table.actions)

    def losses(rng: np.random.Generator) -> dict[str, torch.Tensor]:
        batch = sampler.draw(rng)
        shape, flat = batch.rows.shape, batch.rows.reshape(-1)
        a = all_actions[flat]
        z_a = alignment.action(a)
        with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bfloat16"):
            z_v = alignment.video(latents[table.before[flat]], latents[table.after[flat]]).float()
        valid = torch.from_numpy(batch.mask)
        similarity = sequence_similarity(z_v.unflatten(0, shape), z_a.unflatten(0, shape), valid)
        contrast = bidirectional_info_nce(similarity, config.temperature)
        reconstruction = masked_mse(alignment.decoder(z_a), a, valid.flatten())
        decode = masked_mse(alignment.decoder(z_v), a, valid.flatten())
        loss = reconstruction + config.contrast * contrast + config.decode * decode
        return {"loss": loss, "reconstruction": reconstruction, "contrast": contrast, "decode": decode}

    optimizer = torch.optim.AdamW(
        alignment.parameters(), lr=config.learning_rate, weight_decay=1e-2, betas=(0.9, 0.95), fused=True
    )
    state = Checkpointed(alignment, optimizer, checkpoint)
    return alignment, fit(state, losses, steps=config.steps, seed=seed, label=label)


def masked_mse(predicted: torch.Tensor, truth: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Mean squared error ``(N, M, A)`` over the rows with ``valid (N,)``; padding has no say."""
    errors = F.mse_loss(predicted, truth, reduction="none").mean((1, 2))
    return (errors * valid).sum() / valid.sum().clamp_min(1)


@torch.no_grad()
def video_latents(alignment: Alignment, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """z^v ``(N, D)`` of chunks between latents ``(N, C, h, w)``, in pieces that fit into memory."""
    parts = zip(before.split(256), after.split(256), strict=True)
    return torch.cat([alignment.video(first, second) for first, second in parts])


@torch.no_grad()
def action_r2(alignment: Alignment, table: ChunkTable, latents: torch.Tensor) -> dict[str, float]:
    """How well actions are read from video on a labelled table: R² overall (1 is perfect, 0 is the mean action)."""
    rows = np.flatnonzero(table.labelled)
    z_v = video_latents(alignment, latents[table.before[rows]], latents[table.after[rows]])
    read, truth = alignment.decoder(z_v), torch.from_numpy(table.actions[rows])
    spread = (truth - truth.mean((0, 1))).square().sum((0, 1))
    error = (read - truth).square().sum((0, 1))
    used = spread > 1e-3 * len(rows)
    per_dimension = 1 - error / spread.clamp_min(1e-9)
    found = {f"r2_{dim}": float(per_dimension[dim]) for dim in range(len(spread)) if used[dim]}
    return {"r2": float(1 - error[used].sum() / spread[used].sum()), **found}


@torch.no_grad()
def retrieval_accuracy(alignment: Alignment, table: ChunkTable, latents: torch.Tensor, seed: int = 0) -> float:
    """Share of sequences whose own actions are the most similar ones of a batch, averaged over 32 batches."""
    sampler, hits, total = SequenceSampler(table, 8, 16), 0, 0
    for step in range(32):
        batch = sampler.draw(np.random.default_rng((seed, step)))
        flat = batch.rows.reshape(-1)
        z_v = video_latents(alignment, latents[table.before[flat]], latents[table.after[flat]])
        z_a = alignment.action(torch.from_numpy(table.actions[flat]))
        shape, valid = batch.rows.shape, torch.from_numpy(batch.mask)
        similarity = sequence_similarity(z_v.unflatten(0, shape), z_a.unflatten(0, shape), valid)
        hits += int((similarity.argmax(1) == torch.arange(len(similarity))).sum())
        total += len(similarity)
    return hits / total
