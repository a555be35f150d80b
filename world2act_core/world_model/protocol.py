"""The one protocol behind which every world model stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch


class WorldModel(Protocol):
    """Frames and skill prompts in, imagined latents out. One latent a chunk: see ``types.LatentClip``."""

    latent_shape: tuple[int, int, int]
    """(C, H, W) of one latent."""

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        """uint8 ``(B, S, V S, 3)``, V cameras side by side → latents ``(B, C, H, W)``."""

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents ``(B, C, H, W)`` → uint8 ``(B, S, V S, 3)``."""

    def imagine(
        self, previous: torch.Tensor, current: torch.Tensor, prompts: Sequence[str], clock: torch.Tensor, chunks: int
    ) -> torch.Tensor:
        """Imagine ``chunks`` chunks ahead.

        Args:
            previous: latents one chunk ago, ``(B, C, H, W)``.
            current: latents now.
            prompts: the skill under way in each.
            clock: ``(B,)`` chunks since the skill began.

        Returns:
            ``(B, chunks + 1, C, H, W)``: entry 0 is ``current``, entry k the scene after k chunks.
        """
