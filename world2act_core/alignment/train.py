"""Stage 1: reconstruction + bidirectional chunk-wise InfoNCE (World2Act, section 3.2), and cross-decoding (ours)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch.nn import functional as F

from world2act_core.alignment.adapters import POOLINGS, AdapterConfig, Alignment, VideoAdapter
from world2act_core.alignment.losses import DIRECTIONS, MATCHINGS, info_nce, sequence_similarity
from world2act_core.alignment.sampling import SequenceSampler
from world2act_core.episodes.chunks import ChunkTable
from world2act_core.errors import World2ActError
from world2act_core.networks.blocks import Standardise
from world2act_core.networks.codec import PatchCodec
from world2act_core.runs import Checkpointed, fit
from world2act_core.types import Array
from world2act_core.world_model.chunk_latents import ChunkLatents

FLOW_FLOOR = 0.03
"""Least spread of a cell's flow, in cells (a quarter of a pixel of 64): less is noise, and is not made larger."""


@dataclass(frozen=True)
class Stage1Config:
    """Training of the adapters. Temperature, batch and hard ratio are the paper's, and so are matching and directions.

    Raises:
        World2ActError: pooling, matching or directions are not known.
    """

    size: int = 32
    pooling: str = "patches"  # of the video adapter: one of POOLINGS
    matching: str = "chunks"  # of sequences, in the contrast: one of MATCHINGS
    directions: str = "both"  # of the contrast: one of DIRECTIONS
    steps: int = 1200
    batch: int = 16
    length: int = 8  # chunks a sequence
    hard_ratio: float = 0.25
    temperature: float = 0.1
    contrast: float = 1.0
    decode: float = 1.0  # ours: D_a(B_v(V)) should read the actions from the video
    learning_rate: float = 1e-3
    scene_dropout: float = 0.5  # ours: share of samples that show the adapter only what changed
    measure_every: int = 200  # steps between two measurements on held-out episodes

    def __post_init__(self) -> None:
        for name, known in (("pooling", POOLINGS), ("matching", MATCHINGS), ("directions", DIRECTIONS)):
            if (value := getattr(self, name)) not in known:
                raise World2ActError(f"{name} is {value!r}, expected one of {', '.join(known)}")


def train_alignment(
    table: ChunkTable,
    latents: ChunkLatents,
    config: Stage1Config,
    seed: int,
    checkpoint: Path,
    label: str = "stage 1",
    held_out: tuple[ChunkTable, ChunkLatents] | None = None,
    codec: PatchCodec | None = None,
    weight: Array | None = None,
    units: Sequence[float] = (),
) -> tuple[Alignment, list[dict[str, float]]]:
    """Train B_v, B_a and D_a on the labelled chunks of a table.

    Args:
        latents: the world model's, around the table's chunks; the world model stays frozen.
        checkpoint: file to resume from.
        held_out: episodes on which ``held_out_figures`` are measured, and printed, while it trains.
        codec: that made the latents, for an adapter that reads flow.
        weight: ``(N,)`` of each chunk in reconstruction and decoding (ours); None weighs all alike.
        units: of the displacements that the tables' actions are (see ``AdapterConfig``); kept with the adapters.

    Raises:
        World2ActError: the adapter is to read flow, and there is no codec.
    """
    torch.manual_seed(seed)
    alignment = new_alignment(table, latents, config, codec, units)
    seen = SeenChunks(alignment.video, latents, np.flatnonzero(table.labelled))
    seen.fit()
    sampler = SequenceSampler(table, config.length, config.batch, config.hard_ratio)
    all_actions = torch.from_numpy(table.actions)
    weights = torch.from_numpy(np.ones(len(table)) if weight is None else weight).float()

    def losses(rng: np.random.Generator) -> dict[str, torch.Tensor]:
        batch = sampler.draw(rng)
        shape, flat = batch.rows.shape, batch.rows.reshape(-1)
        a = all_actions[flat]
        z_a = alignment.action(a)
        z_v = alignment.video.read(*seen(flat))
        valid = torch.from_numpy(batch.mask)
        similarity = sequence_similarity(z_v.unflatten(0, shape), z_a.unflatten(0, shape), valid, config.matching)
        contrast = info_nce(similarity, config.temperature, directions=config.directions)
        counts = valid.flatten() * weights[flat]
        reconstruction = masked_mse(alignment.decoder(z_a), a, counts)
        decode = masked_mse(alignment.decoder(z_v), a, counts)
        loss = reconstruction + config.contrast * contrast + config.decode * decode
        return {"loss": loss, "reconstruction": reconstruction, "contrast": contrast, "decode": decode}

    optimizer = torch.optim.AdamW(
        alignment.parameters(), lr=config.learning_rate, weight_decay=1e-2, betas=(0.9, 0.95), fused=True
    )
    state = Checkpointed(alignment, optimizer, checkpoint)
    measure = None if held_out is None else lambda: held_out_figures(alignment, *held_out)
    return alignment, fit(
        state,
        losses,
        steps=config.steps,
        seed=seed,
        label=label,
        measure=measure,
        measure_every=config.measure_every,
    )


def new_alignment(
    table: ChunkTable,
    latents: ChunkLatents,
    config: Stage1Config,
    codec: PatchCodec | None = None,
    units: Sequence[float] = (),
) -> Alignment:
    """Untrained, for the shapes of a table and its latents."""
    _, chunk_length, actions = table.actions.shape
    shape = (latents.latent_shape, chunk_length, actions, config.size, config.pooling, config.scene_dropout)
    alignment = Alignment(AdapterConfig(*shape, None if codec is None else codec.shape, units))
    if alignment.video.motion is not None and codec is not None:
        alignment.video.motion.codec.load_state_dict(codec.state_dict())
    return alignment


class SeenChunks:
    """What a video adapter sees of chunks. Flow is costly and nothing in it is learned: each chunk is seen once."""

    def __init__(self, adapter: VideoAdapter, latents: ChunkLatents, rows: Array) -> None:
        """``rows (N,)``: all that will be asked for."""
        self._adapter, self._latents, self._rows = adapter, latents, rows
        self._flow: torch.Tensor | None = None
        if adapter.motion is not None:
            parts = [adapter.see(*latents.pair(rows[begin : begin + 256]))[0] for begin in range(0, len(rows), 256)]
            self._flow = torch.zeros(rows.max() + 1, parts[0].shape[1])
            self._flow[torch.from_numpy(rows)] = torch.cat(parts)

    def __call__(self, rows: Array) -> tuple[torch.Tensor, ...]:
        return self._latents.pair(rows) if self._flow is None else (self._flow[torch.from_numpy(rows)],)

    def fit(self) -> None:
        """Give the adapter the scale of what it sees, where it wants one."""
        if self._flow is not None:
            cast(Standardise, self._adapter.net[0]).fit(self._flow[torch.from_numpy(self._rows)], floor=FLOW_FLOOR)


def masked_mse(predicted: torch.Tensor, truth: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Mean squared error ``(N, M, A)`` over the rows, each with its weight ``valid (N,)``; padding's is 0."""
    errors = F.mse_loss(predicted, truth, reduction="none").mean((1, 2))
    return (errors * valid).sum() / valid.sum().clamp_min(1)


@torch.no_grad()
def video_latents(alignment: Alignment, latents: ChunkLatents, rows: Array, *, imagined: bool = False) -> torch.Tensor:
    """z^v ``(B, D)`` of the chunks ``rows (B,)``, in pieces that fit into memory.

    Args:
        imagined: the latents were imagined: the adapter of imagined latents reads them, where there is one.
    """
    read = alignment.reader_of_imagined if imagined else alignment.video
    parts = (rows[begin : begin + 256] for begin in range(0, len(rows), 256))
    return torch.cat([read(*latents.pair(part)) for part in parts])


def held_out_figures(alignment: Alignment, table: ChunkTable, latents: ChunkLatents) -> dict[str, float]:
    """How well actions are read from video (R²), and how often a video finds its own actions."""
    r2 = action_r2(alignment, table, latents)["r2"]
    return {"held_out_r2": r2, "held_out_retrieval": retrieval_accuracy(alignment, table, latents)}


@torch.no_grad()
def action_r2(alignment: Alignment, table: ChunkTable, latents: ChunkLatents) -> dict[str, float]:
    """How well actions are read from video on a labelled table: R² overall (1 is perfect, 0 is the mean action)."""
    rows = np.flatnonzero(table.labelled)
    z_v = video_latents(alignment, latents, rows)
    read, truth = alignment.decoder(z_v), torch.from_numpy(table.actions[rows])
    spread = (truth - truth.mean((0, 1))).square().sum((0, 1))
    error = (read - truth).square().sum((0, 1))
    used = spread > 1e-3 * len(rows)
    per_dimension = 1 - error / spread.clamp_min(1e-9)
    found = {f"r2_{dim}": float(per_dimension[dim]) for dim in range(len(spread)) if used[dim]}
    return {"r2": float(1 - error[used].sum() / spread[used].sum()), **found}


@torch.no_grad()
def retrieval_accuracy(alignment: Alignment, table: ChunkTable, latents: ChunkLatents, seed: int = 0) -> float:
    """Share of sequences whose own actions are the most similar ones of a batch, averaged over 32 batches."""
    sampler, hits, total = SequenceSampler(table, 8, 16), 0, 0
    batches = [sampler.draw(np.random.default_rng((seed, step))) for step in range(32)]
    drawn, place = np.unique(np.concatenate([batch.rows.reshape(-1) for batch in batches]), return_inverse=True)
    known = video_latents(alignment, latents, drawn)[torch.from_numpy(place)]  # most are drawn many times
    for batch, z_v in zip(batches, known.split([batch.rows.size for batch in batches]), strict=True):
        flat = batch.rows.reshape(-1)
        z_a = alignment.action(torch.from_numpy(table.actions[flat]))
        shape, valid = batch.rows.shape, torch.from_numpy(batch.mask)
        similarity = sequence_similarity(z_v.unflatten(0, shape), z_a.unflatten(0, shape), valid)
        hits += int((similarity.argmax(1) == torch.arange(len(similarity))).sum())
        total += len(similarity)
    return hits / total
