"""The compact world model: a patch codec and a small UNet that predicts the next latent.

It learns from action-free videos of skills: given the last two latents (two, so that motion is visible), the skill
prompt and a clock, what does the scene look like one chunk later? Longer imagination feeds its own predictions back,
and so does training: an error that is only seen one chunk ahead is never taught to stay small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from world2act_core.episodes.chunks import ChunkTable
from world2act_core.networks.blocks import start_at_zero
from world2act_core.networks.codec import PatchCodec
from world2act_core.runs import Checkpointed, fit
from world2act_core.types import Array
from world2act_core.world_model.prompts import PROMPT_SIZE, embed_prompts


@dataclass(frozen=True)
class CompactWorldModelConfig:
    """Architecture and training of the compact world model."""

    image_size: int = 64
    views: int = 1  # cameras tiled side by side
    patch: int = 8
    channels: int = 16
    width: int = 32
    steps: int = 600
    batch: int = 48
    unroll: int = 3  # chunks that training looks ahead through the model's own predictions
    learning_rate: float = 2e-3
    clock_dropout: float = 0.3  # share of samples without clock: the policy may be slower than the videos
    input_noise: float = 0.05  # latents it starts from are its own predictions in longer imagination


class Dynamics(nn.Module):
    """(previous latent, current latent, prompt, clock) → next latent; all latents ``(B, C, h, w)``.

    The network is diffusers' UNet; prompt and clock modulate its blocks (scale and shift, Dhariwal and Nichol 2021).
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        from diffusers import UNet2DModel

        self.condition = nn.Sequential(nn.Linear(PROMPT_SIZE + 9, 64), nn.SiLU(), nn.Linear(64, 4 * width))
        unet: Any = UNet2DModel(
            in_channels=2 * channels + 2,
            out_channels=channels,
            block_out_channels=(width, 2 * width, 2 * width),
            down_block_types=("DownBlock2D",) * 3,
            up_block_types=("UpBlock2D",) * 3,
            layers_per_block=1,
            norm_num_groups=8,
            add_attention=False,
            resnet_time_scale_shift="scale_shift",
            class_embed_type="identity",  # the condition takes the place of a class
        )
        start_at_zero(unet.conv_out)
        self.unet = unet

    def forward(
        self, previous: torch.Tensor, current: torch.Tensor, prompt: torch.Tensor, clock: torch.Tensor
    ) -> torch.Tensor:
        condition = self.condition(torch.cat([prompt, clock_features(clock)], -1))
        seen = torch.cat([current, current - previous, _coordinates(current)], 1)
        return current + self.unet(seen, 0, class_labels=condition).sample


def _coordinates(like: torch.Tensor) -> torch.Tensor:
    """Two channels that tell a convolution where it is, ``(B, 2, h, w)`` in [-1, 1]."""
    b, _, h, w = like.shape
    ys, xs = (torch.linspace(-1, 1, size, device=like.device) for size in (h, w))
    return torch.stack(torch.meshgrid(ys, xs, indexing="ij")).expand(b, 2, h, w)


def clock_features(clock: torch.Tensor) -> torch.Tensor:
    """``(B,)`` chunks since the skill began (negative: unknown) → ``(B, 9)``."""
    known = (clock >= 0).float()[:, None]
    phase = clock.float()[:, None] / torch.tensor([4.0, 8.0, 16.0, 32.0], device=clock.device) * torch.pi / 2
    return torch.cat([known, known * phase.sin(), known * phase.cos()], -1)


class CompactWorldModel(nn.Module):
    """Codec and dynamics behind the world model protocol; one frame a chunk."""

    frames_per_latent = 1

    def __init__(self, config: CompactWorldModelConfig) -> None:
        super().__init__()
        self.config = config
        self.codec = PatchCodec(config.image_size, config.views, config.patch, config.channels)
        self.dynamics = Dynamics(config.channels, config.width)
        self.latent_shape = self.codec.latent_shape

    @torch.no_grad()
    def encode(self, video: torch.Tensor) -> torch.Tensor:
        return self.encode_frames(video.flatten(0, 1)).unflatten(0, video.shape[:2]).transpose(1, 2)

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        frames = latents.transpose(1, 2)  # (B, T, C, h, w)
        return self.codec.decode(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])

    @torch.no_grad()
    def encode_frames(self, frames: torch.Tensor) -> torch.Tensor:
        """Single frames, uint8 ``(F, S, V S, 3)`` → ``(F, C, h, w)``."""
        return torch.cat([self.codec.encode(part) for part in frames.split(256)])

    @torch.no_grad()
    def imagine(self, context: torch.Tensor, prompts: Sequence[str], clock: torch.Tensor, chunks: int) -> torch.Tensor:
        seen = self.encode(context)
        return self.predict(seen[:, :, max(-2, -seen.shape[2])], seen[:, :, -1], prompts, clock, chunks)

    @torch.no_grad()
    def predict(
        self, previous: torch.Tensor, current: torch.Tensor, prompts: Sequence[str], clock: torch.Tensor, chunks: int
    ) -> torch.Tensor:
        """`imagine` from latents ``(B, C, h, w)`` one chunk ago and now."""
        prompt, clock = embed_prompts(prompts).to(current.device), clock.to(current.device)
        imagined = [current]
        for ahead in range(chunks):
            time = torch.where(clock < 0, clock, clock + ahead)
            previous, current = current, self.dynamics(previous, current, prompt, time)
            imagined.append(current)
        return torch.stack(imagined, 2)


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
        parts.append(model.predict(previous, before, prompts, clock[rows], 1)[:, :, 1])
    return torch.cat(parts)


def train_world_model(
    table: ChunkTable, config: CompactWorldModelConfig, seed: int, checkpoint: Path, label: str = "world model"
) -> tuple[CompactWorldModel, list[dict[str, float]]]:
    """Fit codec and dynamics to videos; actions in the table are never read. Resumes from ``checkpoint``."""
    torch.manual_seed(seed)
    model = CompactWorldModel(config)
    frames = torch.from_numpy(table.frames)
    model.codec.fit(frames)
    latents, prompts = model.encode_frames(frames), embed_prompts(table.prompts)
    clock, follows = torch.from_numpy(table.clock), torch.from_numpy(_follows(table))

    def losses(rng: np.random.Generator) -> dict[str, torch.Tensor]:
        rows = torch.from_numpy(rng.integers(0, len(table), config.batch))
        noise = config.input_noise * torch.from_numpy(
            rng.standard_normal((2, config.batch, *model.latent_shape), dtype=np.float32)
        )
        timeless = torch.from_numpy(rng.random(config.batch) < config.clock_dropout)
        previous, current = latents[table.previous[rows]] + noise[0], latents[table.before[rows]] + noise[1]
        errors, there = [], torch.ones(config.batch)
        for _ in range(config.unroll):
            time = torch.where(timeless, -1, clock[rows])
            previous, current = current, model.dynamics(previous, current, prompts[rows], time)
            errors.append(there * (current - latents[table.after[rows]]).square().mean((1, 2, 3)))
            there = there * follows[rows]
            rows = torch.where(follows[rows], rows + 1, rows)
        return {"loss": torch.stack(errors).sum() / config.batch / config.unroll}

    optimizer = torch.optim.AdamW(model.dynamics.parameters(), lr=config.learning_rate, weight_decay=1e-4)
    state = Checkpointed(model, optimizer, checkpoint)
    history = fit(state, losses, steps=config.steps, seed=seed, label=label)
    return model, history


def _follows(table: ChunkTable) -> Array:
    """``(N,)`` bool: the next row is the chunk that comes next in the same episode."""
    return np.append(table.after[:-1] == table.before[1:], False)


@torch.no_grad()
def latent_errors(model: CompactWorldModel, table: ChunkTable) -> dict[str, float]:
    """One-chunk latent error of the model and of copying the current frame, on a table (mean squared)."""
    latents = model.encode_frames(torch.from_numpy(table.frames))
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
