"""Pixel-space supervision in the style of DreamGen (Jang et al. 2025, arXiv 2505.12705).

The world model dreams whole videos, an inverse dynamics model (IDM) that was trained on real labelled pairs says which
actions they show, and a policy is cloned from them. What the world model draws wrong, the policy learns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from world2act_core.embodiment import Embodiment
from world2act_core.embodiment.displacement import placed_dimensions
from world2act_core.episodes.chunks import ChunkTable
from world2act_core.errors import ContractError
from world2act_core.networks.blocks import SpatialSoftmax, to_float
from world2act_core.runs import Checkpointed, fit
from world2act_core.runs.training import Losses
from world2act_core.types import Array
from world2act_core.world_model.compact import CompactWorldModel


@dataclass(frozen=True)
class IdmConfig:
    """Training of the inverse dynamics model."""

    steps: int = 1500
    batch: int = 64
    learning_rate: float = 1e-3
    width: int = 24


class InverseDynamics(nn.Module):
    """Frames uint8 ``(B, S, V S, 3)`` around a chunk → its actions ``(B, M, A)``, from pixels."""

    def __init__(self, views: int, chunk_length: int, actions: int, width: int) -> None:
        super().__init__()
        self.views = views
        self.eyes = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(6, width, 5, stride=2, padding=2),
                nn.ReLU(),
                nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
                nn.ReLU(),
                nn.Conv2d(2 * width, 2 * width, 3, padding=1),
                SpatialSoftmaxAndValue(2 * width),
            )
            for _ in range(views)
        )
        self.head = nn.Sequential(
            nn.Linear(views * 6 * width, 128),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(128, chunk_length * actions),
            nn.Unflatten(-1, (chunk_length, actions)),
        )

    def forward(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        seen, then = to_float(before), to_float(after)
        views = torch.cat([seen, then - seen], 1).chunk(self.views, dim=3)
        return self.head(torch.cat([eye(view) for eye, view in zip(self.eyes, views, strict=True)], -1))


class SpatialSoftmaxAndValue(nn.Module):
    """Where each feature map looks, and what it sees there on average: ``(B, K, H, W)`` → ``(B, 3 K)``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.where = SpatialSoftmax()
        self.value = nn.Conv2d(channels, channels, 1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.where(maps), self.value(maps).mean((2, 3))], -1)


def train_idm(
    table: ChunkTable, config: IdmConfig, seed: int, checkpoint: Path, label: str = "inverse dynamics"
) -> tuple[InverseDynamics, list[dict[str, float]]]:
    """Train on the labelled chunks of a table; resumes from ``checkpoint``."""
    torch.manual_seed(seed)
    _, chunk_length, actions = table.actions.shape
    size = table.frames.shape[1]
    model = InverseDynamics(table.frames.shape[2] // size, chunk_length, actions, config.width)
    frames, wanted = torch.from_numpy(table.frames), torch.from_numpy(table.actions)
    labelled = np.flatnonzero(table.labelled)

    def losses(rng: np.random.Generator) -> Losses:
        rows = rng.choice(labelled, config.batch)
        return {"loss": F.mse_loss(model(frames[table.before[rows]], frames[table.after[rows]]), wanted[rows])}

    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=1e-4)
    history = fit(Checkpointed(model, optimizer, checkpoint), losses, steps=config.steps, seed=seed, label=label)
    return model, history


@torch.no_grad()
def dreamed(
    model: CompactWorldModel,
    idm: InverseDynamics,
    table: ChunkTable,
    chunks: int,
    embodiment: Embodiment,
    used: Array,
) -> ChunkTable:
    """Videos that the world model dreams from the first frame of every episode of a table, labelled by the IDM.

    Args:
        chunks: length of each dream.
        used: ``(A,)`` bool; other action dimensions are set to nothing.

    Returns:
        As many episodes as the table has; frames are decoded pixels, proprioception is unknown (zero)
        throughout, so what is cloned from them must not read it (``CompactConfig.proprioception``).

    Raises:
        ContractError: actions say where to go, and in a dream nobody knows where the arm stands.
    """
    if placed_dimensions(embodiment):
        raise ContractError(f"pixels: no dream says where an arm stands, and {embodiment.name}'s actions go from there")
    first = np.asarray([np.flatnonzero(table.episode == number)[0] for number in np.unique(table.episode)])
    pictures, actions = [], []
    for rows in np.array_split(first, -(-len(first) // 32)):
        now = model.encode_frames(torch.from_numpy(table.frames[table.before[rows]]))
        prompts = [table.prompts[row] for row in rows]
        clips = model.decode(model.predict(now, now, prompts, torch.zeros(len(rows)), chunks))  # (B, chunks + 1, ...)
        pictures.append(clips.numpy())
        actions += [idm(clip[:-1], clip[1:]).numpy() for clip in clips]
    video, n = np.concatenate(pictures), len(first)
    base = (chunks + 1) * np.arange(n)[:, None]
    order = np.arange(chunks)[None]
    return replace(
        table,
        frames=video.reshape(-1, *video.shape[2:]),
        before=(base + order).ravel(),
        after=(base + order + 1).ravel(),
        previous=(base + np.maximum(order - 1, 0)).ravel(),
        proprio=np.zeros((n * chunks, table.proprio.shape[1]), np.float32),
        actions=embodiment.decided(np.concatenate(actions)) * used,
        labelled=np.ones(n * chunks, bool),
        clock=np.tile(np.arange(chunks), n),
        step=np.tile(np.arange(chunks) * table.actions.shape[1], n),
        episode=np.repeat(np.unique(table.episode), chunks),
        prompts=tuple(table.prompts[row] for row in first for _ in range(chunks)),
        base=None,
        standing=None,
        states=None,
    )
