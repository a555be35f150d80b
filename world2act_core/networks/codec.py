"""Frames ↔ latents: a linear patch codec, fitted in seconds and decodable by its transpose.

Each ``p x p`` patch, after subtracting the mean image, is projected on the leading principal
components of all patches. That is the best linear autoencoder of that stride, it needs no gradient steps, and unlike a
pooled embedding it keeps *where* things are, which reading actions from small latents depends on.
"""

from __future__ import annotations

import torch
from torch import nn


class PatchCodec(nn.Module):
    """uint8 ``(B, S, V S, 3)``, V views side by side, ↔ float latents ``(B, C, S / p, V S / p)``."""

    mean: torch.Tensor
    basis: torch.Tensor
    scale: torch.Tensor

    def __init__(self, size: int = 64, views: int = 1, patch: int = 8, channels: int = 16) -> None:
        super().__init__()
        self.shape = {"size": size, "views": views, "patch": patch, "channels": channels}  # what makes another like it
        self.size, self.width, self.patch, self.channels = size, views * size, patch, channels
        self.register_buffer("mean", torch.zeros(3, self.size, self.width))
        self.register_buffer("basis", torch.zeros(3 * patch * patch, channels))
        self.register_buffer("scale", torch.ones(channels))

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        return self.channels, self.size // self.patch, self.width // self.patch

    def fit(self, frames: torch.Tensor) -> None:
        """Take mean image, principal components and channel scales from uint8 ``(N, S, V S, 3)`` frames."""
        images = frames.permute(0, 3, 1, 2).float() / 255.0
        self.mean.copy_(images.mean(0))
        patches = self._patches(images - self.mean).reshape(-1, self.basis.shape[0])  # (N h w, 3 p p)
        _, vectors = torch.linalg.eigh(patches.T @ patches)  # ascending
        leading = vectors[:, -self.channels :].flip(-1)
        signs = leading[leading.abs().argmax(0), torch.arange(self.channels)].sign()
        self.basis.copy_(leading * signs)  # a fixed sign, so that a refit gives the same latents
        spread = (patches @ self.basis).std(0).clamp_min(1e-4)
        # Half-way between equal channels, in which noise drowns motion, and raw ones, in which fine motion is lost.
        self.scale.copy_((spread * spread[0]).sqrt())

    def _patches(self, images: torch.Tensor) -> torch.Tensor:
        """``(B, 3, S, V S)`` → ``(B, h, w, 3 p p)``."""
        pieces = images.unflatten(3, (-1, self.patch)).unflatten(2, (-1, self.patch))  # (B, 3, h, p, w, p)
        return pieces.permute(0, 2, 4, 1, 3, 5).flatten(3)

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        images = frames.permute(0, 3, 1, 2).float() / 255.0
        coefficients = self._patches(images - self.mean) @ self.basis / self.scale
        return coefficients.permute(0, 3, 1, 2).contiguous()

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        coefficients = latents.permute(0, 2, 3, 1) * self.scale  # (B, h, w, C)
        pieces = (coefficients @ self.basis.T).unflatten(3, (3, self.patch, self.patch))  # (B, h, w, 3, p, p)
        images = pieces.permute(0, 3, 1, 4, 2, 5).reshape(-1, 3, self.size, self.width) + self.mean
        return images.clamp_(0, 1).mul_(255).round_().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
