"""The compact world model: a patch codec and a small UNet that predicts the next latent.

It learns from action-free videos: given the last two latents (two, so that motion is visible), the skill prompt and a
clock, what does the scene look like one chunk later? Longer imagination feeds its own predictions back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from world2act_core.episodes.chunks import ChunkTable
from world2act_core.policies.networks import start_at_zero
from world2act_core.runs import Checkpointed, fit
from world2act_core.world_model.codec import PatchCodec
from world2act_core.world_model.prompts import PROMPT_SIZE, embed_prompts


@dataclass(frozen=True)
class CompactWorldModelConfig:
    """Architecture and training of the compact world model."""

    image_size: int = 64
    views: int = 1  # cameras tiled side by side
    patch: int = 8
    channels: int = 16
    width: int = 48
    steps: int = 600
    batch: int = 48
    learning_rate: float = 2e-3
    clock_dropout: float = 0.3  # share of samples without clock: the policy may be slower than the videos
    input_noise: float = 0.05  # latents it starts from are its own predictions in longer imagination


class Block(nn.Module):
    """Two 3x3 convolutions with a residual connection, modulated by the condition (FiLM, Perez et al. 2018)."""

    def __init__(self, inside: int, outside: int, condition: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inside, outside, 3, padding=1)
        self.norm = nn.GroupNorm(8, outside)
        self.film = nn.Linear(condition, 2 * outside)
        self.second = nn.Conv2d(outside, outside, 3, padding=1)
        self.skip = nn.Conv2d(inside, outside, 1) if inside != outside else nn.Identity()

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        gain, shift = self.film(condition)[..., None, None].chunk(2, 1)
        hidden = F.silu(self.norm(self.first(x)) * (1 + gain) + shift)
        return self.skip(x) + self.second(hidden)


class Dynamics(nn.Module):
    """(previous latent, current latent, prompt, clock) → next latent; all latents ``(B, C, h, w)``."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        condition = 64
        self.condition = nn.Sequential(
            nn.Linear(PROMPT_SIZE + 9, condition), nn.SiLU(), nn.Linear(condition, condition)
        )
        self.enter = nn.Conv2d(2 * channels + 2, width, 3, padding=1)
        self.down1 = Block(width, width, condition)
        self.down2 = Block(width, 2 * width, condition)
        self.middle = Block(2 * width, 2 * width, condition)
        self.up2 = Block(4 * width, width, condition)
        self.up1 = Block(2 * width, width, condition)
        self.leave = nn.Conv2d(width, channels, 3, padding=1)
        start_at_zero(self.leave)

    def forward(
        self, previous: torch.Tensor, current: torch.Tensor, prompt: torch.Tensor, clock: torch.Tensor
    ) -> torch.Tensor:
        condition = self.condition(torch.cat([prompt, clock_features(clock)], -1))
        high = self.enter(torch.cat([current, current - previous, _coordinates(current)], 1))
        high = self.down1(high, condition)  # 8 rows
        low = self.down2(F.avg_pool2d(high, 2), condition)  # 4 rows
        deep = self.middle(F.avg_pool2d(low, 2), condition)  # 2 rows
        low = self.up2(torch.cat([low, _double(deep)], 1), condition)
        high = self.up1(torch.cat([high, _double(low)], 1), condition)
        return current + self.leave(high)


def _double(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def _coordinates(like: torch.Tensor) -> torch.Tensor:
    """Two channels that tell a convolution where it is, ``(B, 2, h, w)`` in [-1, 1]."""
    b, _, h, w = like.shape
    ys, xs = torch.linspace(-1, 1, h), torch.linspace(-1, 1, w)
    return torch.stack(torch.meshgrid(ys, xs, indexing="ij")).expand(b, 2, h, w)


def clock_features(clock: torch.Tensor) -> torch.Tensor:
    """``(B,)`` chunks since the skill began (negative: unknown) → ``(B, 9)``."""
    known = (clock >= 0).float()[:, None]
    phase = clock.float()[:, None] / torch.tensor([4.0, 8.0, 16.0, 32.0]) * torch.pi / 2
    return torch.cat([known, known * phase.sin(), known * phase.cos()], -1)


class CompactWorldModel(nn.Module):
    """Codec and dynamics behind the world model protocol."""

    def __init__(self, config: CompactWorldModelConfig) -> None:
        super().__init__()
        self.config = config
        self.codec = PatchCodec(config.image_size, config.views, config.patch, config.channels)
        self.dynamics = Dynamics(config.channels, config.width)
        self.latent_shape = self.codec.latent_shape

    @torch.no_grad()
    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.codec.encode(part) for part in frames.split(256)])

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return self.codec.decode(latents)

    @torch.no_grad()
    def imagine(
        self, previous: torch.Tensor, current: torch.Tensor, prompts: Sequence[str], clock: torch.Tensor, chunks: int
    ) -> torch.Tensor:
        prompt, imagined = embed_prompts(prompts), [current]
        for ahead in range(chunks):
            previous, current = current, self.dynamics(previous, current, prompt, clock + ahead)
            imagined.append(current)
        return torch.stack(imagined, 1)


def imagine_next(model: CompactWorldModel, table: ChunkTable, latents: torch.Tensor, batch: int = 256) -> torch.Tensor:
    """What the model imagines behind every chunk of a table, from the real frames before it.

    Args:
        latents: ``(F, C, h, w)`` of the table's frames.

    Returns:
        ``(N, C, h, w)`` imagined latents; row n stands at the time of ``table.after[n]``.
    """
    clock = torch.from_numpy(table.clock)
    parts = []
    for rows in np.array_split(np.arange(len(table)), max(1, -(-len(table) // batch))):
        prompts = [table.prompts[row] for row in rows]
        previous, before = latents[table.previous[rows]], latents[table.before[rows]]
        parts.append(model.imagine(previous, before, prompts, clock[rows], 1)[:, 1])
    return torch.cat(parts)


def train_world_model(
    table: ChunkTable, config: CompactWorldModelConfig, seed: int, checkpoint: Path, label: str = "world model"
) -> tuple[CompactWorldModel, list[dict[str, float]]]:
    """Fit codec and dynamics to videos; actions in the table are never read. Resumes from ``checkpoint``."""
    torch.manual_seed(seed)
    model = CompactWorldModel(config)
    frames = torch.from_numpy(table.frames)
    model.codec.fit(frames)
    latents, prompts = model.encode(frames), embed_prompts(table.prompts)
    clock = torch.from_numpy(table.clock)

    def losses(rng: np.random.Generator) -> dict[str, torch.Tensor]:
        rows = rng.integers(0, len(table), config.batch)
        noise = config.input_noise * torch.from_numpy(
            rng.standard_normal((2, config.batch, *model.latent_shape), dtype=np.float32)
        )
        dropped = torch.from_numpy(rng.random(config.batch) < config.clock_dropout)
        time = torch.where(dropped, torch.full((config.batch,), -1), clock[rows])
        previous, current = latents[table.previous[rows]] + noise[0], latents[table.before[rows]] + noise[1]
        predicted = model.dynamics(previous, current, prompts[rows], time)
        return {"loss": F.mse_loss(predicted, latents[table.after[rows]])}

    optimizer = torch.optim.AdamW(model.dynamics.parameters(), lr=config.learning_rate, weight_decay=1e-4)
    state = Checkpointed(model, optimizer, checkpoint)
    history = fit(state, losses, steps=config.steps, seed=seed, label=label)
    return model, history


@torch.no_grad()
def latent_errors(model: CompactWorldModel, table: ChunkTable) -> dict[str, float]:
    """One-chunk latent error of the model and of copying the current frame, on a table (mean squared)."""
    latents = model.encode(torch.from_numpy(table.frames))
    truth, current = latents[table.after], latents[table.before]
    imagined = imagine_next(model, table, latents)
    return {"model": float(F.mse_loss(imagined, truth)), "copy": float(F.mse_loss(current, truth))}


def save_world_model(path: Path, model: CompactWorldModel) -> None:
    torch.save({"config": asdict(model.config), "weights": model.state_dict()}, path)


def load_world_model(path: Path) -> CompactWorldModel:
    saved = torch.load(path, weights_only=True)
    model = CompactWorldModel(CompactWorldModelConfig(**saved["config"]))
    model.load_state_dict(saved["weights"])
    return model.eval()
