"""How far a run has come, seen on held-out clips: a loss on fixed noise, and one clip imagined, decoded and kept.

The clip is imagined as the pipeline does it (see ``objective``): from noise down the scheduler's noise levels, by
Euler's steps, the first latent given. Every process computes the same, because weights that are sharded over processes
are only there while all of them work; the main process writes it down.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from world2act_core.episodes.lerobot.video import VideoWriter, codec_named
from world2act_core.types import Array
from world2act_core.world_model.cosmos.finetune.batches import Draw, load_batch
from world2act_core.world_model.cosmos.finetune.cache import LatentCache
from world2act_core.world_model.cosmos.finetune.objective import (
    Noised,
    Transformer,
    estimated_clean,
    flow_losses,
    predicted_velocity,
)
from world2act_core.world_model.cosmos.guardrail import Guardrail, UnsafeContentError
from world2act_core.world_model.cosmos.latents import decode_latents
from world2act_core.world_model.cosmos.model import CosmosSettings

GUIDANCE = CosmosSettings.guidance
STRIP = 6
"""Moments shown in the still picture."""


def noise_levels(scheduler: Any, steps: int) -> list[float]:
    """The falling noise levels of the pipeline, which adds these bounds to the scheduler's configuration."""
    scheduler.register_to_config(sigma_max=80.0, sigma_min=0.002, sigma_data=1.0, final_sigmas_type="sigma_min")
    scheduler.set_timesteps(sigmas=torch.linspace(0, 1, steps, dtype=torch.float64).numpy())
    return [float(sigma) for sigma in scheduler.sigmas[:-1]]


@torch.no_grad()
def denoise(
    transformer: Transformer,
    first: torch.Tensor,
    noise: torch.Tensor,
    text: Sequence[torch.Tensor],
    sigmas: Sequence[float],
    fps: float,
    dtype: torch.dtype,
) -> torch.Tensor:
    """Imagine a clip.

    Args:
        transformer: as prepared for training, or not.
        first: ``(1, C, g, h, w)`` given latents.
        noise: ``(1, C, T, h, w)`` standard normal.
        text: embeddings ``(1, L, E)`` of the prompt and of the empty prompt.
        sigmas: falling noise levels.
        fps: frames a second, as in training.
        dtype: precision of what the network reads.

    Returns:
        ``(1, C, T, h, w)``.
    """
    clean = torch.zeros_like(noise)
    clean[:, :, : first.shape[2]] = first
    given = torch.tensor([first.shape[2]], device=noise.device)
    latents = sigmas[0] * noise
    for sigma, lower in pairwise(sigmas):
        level = torch.tensor([sigma], device=noise.device)
        estimates = []
        for embedding in text:
            held = Noised(clean, (latents - clean) / sigma, level, given, embedding)  # clean + sigma noise = latents
            estimates.append(estimated_clean(predicted_velocity(transformer, held, fps, dtype), held))
        prompted, unprompted = estimates
        guided = prompted + GUIDANCE * (prompted - unprompted)
        latents = latents + (lower - sigma) * (latents - guided) / sigma
    return latents


class Screen:
    """Shows a clip: above what really happened, below what is imagined.

    Args:
        folder: takes pictures and videos.
        vae: decodes.
        guardrail: sees what was imagined before anybody else does.
        fps: whole frames a second of the videos.
    """

    def __init__(self, folder: Path, vae: Any, guardrail: Guardrail, fps: int) -> None:
        self.folder, self.vae, self.guardrail, self.fps = folder, vae, guardrail, fps

    def show(self, real: torch.Tensor, imagined: torch.Tensor, name: str) -> None:
        """Write ``NAME.mp4``, and some moments of it to ``NAME.png``; latents ``(C, T, h, w)`` both."""
        video = decode_latents(self.vae, torch.stack([real, imagined]))
        try:
            seen = self.guardrail.checked(video[1:], real.device)
        except UnsafeContentError as error:  # hours of training do not end with one bad video
            tqdm.write(f"{name}: {error}")
            return
        frames = torch.cat([video[0], seen[0]], 1).cpu().numpy()
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / name
        writer = VideoWriter(path.with_suffix(".mp4"), codec_named("h264"), self.fps, *frames.shape[1:3])
        writer.write(frames, np.arange(len(frames)))
        writer.close()
        Image.fromarray(_strip(frames)).save(path.with_suffix(".png"))


class Validation:
    """Looks at held-out clips.

    Args:
        cache: of the clips.
        draws: what the loss is measured on; the first one's clip is imagined.
        sigmas: falling noise levels of the sampler.
        screen: of the main process; the others have none.
        device: where batches go.
        fps: frames a second that the network is told.
        dtype: precision of what the network reads.
    """

    def __init__(
        self,
        cache: LatentCache,
        draws: Sequence[Draw],
        sigmas: Sequence[float],
        screen: Screen | None,
        device: torch.device,
        fps: float,
        dtype: torch.dtype,
    ) -> None:
        self.cache, self.draws, self.sigmas, self.screen = cache, draws, sigmas, screen
        self.device, self.fps, self.dtype = device, fps, dtype

    def look(self, transformer: Transformer, step: int) -> dict[str, float]:
        """Figures after so many steps: the loss, and the squared error of one imagined clip and of a still picture."""
        losses = self._losses(transformer)
        real, imagined = self._imagine(transformer)
        if self.screen is not None:
            self.screen.show(real, imagined, f"step-{step:06d}")
        off, still = (float((latents - real)[:, 1:].square().mean()) for latents in (imagined, real[:, :1]))
        return {"held_out_loss": float(np.mean(losses)), "latent_error": off, "copy_error": still}

    @torch.no_grad()
    def _losses(self, transformer: Transformer) -> list[float]:
        batches = (load_batch(self.cache, [draw], self.device) for draw in self.draws)
        return [float(flow_losses(transformer, batch, self.fps, self.dtype)) for batch in batches]

    def _imagine(self, transformer: Transformer) -> tuple[torch.Tensor, torch.Tensor]:
        """The first clip as it was and as it is imagined, ``(C, T, h, w)`` both."""
        batch = load_batch(self.cache, self.draws[:1], self.device)
        text = (batch.text, self.cache.text("")[None].to(self.device))
        first = batch.clean[:, :, :1]
        imagined = denoise(transformer, first, batch.noise, text, self.sigmas, self.fps, self.dtype)
        return batch.clean[0], imagined[0]


def _strip(frames: Array) -> Array:
    """Some moments ``(K, H, W, 3)`` side by side, from the first to the last."""
    return np.concatenate(frames[np.linspace(0, len(frames) - 1, STRIP).round().astype(int)], axis=1)
