"""The one protocol behind which every world model stands, and its time base.

**Time base.** Latent ``t`` of a clip is the scene at control step ``t M`` of it; action chunk ``t`` (control steps
``[t M, (t + 1) M)``) leads from latent ``t`` to latent ``t + 1`` (see ``types.LatentClip``). A model reads
``frames_per_latent`` frames for every latent but the first:

- 1: one frame a chunk. Latent ``t`` is made of frame ``t`` alone (the compact world model).
- M: one frame a control step, through a *causal* video autoencoder. Latent 0 is made of frame 0 alone, latent ``t`` of
  frames ``(t - 1) M + 1`` to ``t M``: it ends with the frame at step ``t M``, so what it shows is what chunk ``t - 1``
  has done. Pairing chunk ``t`` with latent ``t`` instead is off by one (World2Act's published partial code does).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch


class WorldModel(Protocol):
    """Frames and skill prompts in, imagined latents out."""

    latent_shape: tuple[int, int, int]
    """(C, H, W) of one latent."""
    frames_per_latent: int
    """Frames that each latent but the first stands for, see the module's time base."""

    def encode(self, video: torch.Tensor) -> torch.Tensor:
        """uint8 ``(B, F, S, V S, 3)``, V views tiled → latents ``(B, C, T, H, W)``, ``F = 1 + (T - 1) r``."""

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents ``(B, C, T, H, W)`` → uint8 ``(B, 1 + (T - 1) r, S, V S, 3)``."""

    def imagine(self, context: torch.Tensor, prompts: Sequence[str], clock: torch.Tensor, chunks: int) -> torch.Tensor:
        """Imagine one skill ``chunks`` chunks ahead.

        Args:
            context: uint8 ``(B, F, S, V S, 3)``, the last of which is now: one frame, or ``r + 1`` frames, which also
                show how things move.
            prompts: the skill under way in each.
            clock: ``(B,)`` chunks since the skill began, negative where nobody knows.

        Returns:
            ``(B, C, chunks + 1, H, W)``: entry 0 is now, entry t the scene after t chunks.
        """


def frames_of(latents: int, frames_per_latent: int) -> int:
    """How many frames a clip of so many latents has."""
    return 1 + (latents - 1) * frames_per_latent


def last_step_of(latent: int, chunk_length: int) -> int:
    """The control step of a clip whose scene a latent shows."""
    return latent * chunk_length
