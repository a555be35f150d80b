"""The residual policy f_theta (World2Act, section 3.3)."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn

from world2act_core.alignment.adapters import Alignment
from world2act_core.errors import World2ActError
from world2act_core.policies.networks import SpatialSoftmax, Standardise, start_at_zero


@dataclass(frozen=True)
class ResidualConfig:
    """Architecture of the residual. Widths are the paper's where it gives them."""

    heads: int = 4
    layers: int = 2
    pooling: str = "spatial"  # ours; "flat" is the paper's image head


class Residual(nn.Module):
    """Three tokens (base action, proprioception, image) → a correction of the base chunk.

    The correction is made in the latent space (ours): with z = B_a(a_base) and a correction delta of it,

        a_final = a_base + D_a(z + delta) - D_a(z)

    so the base is recovered exactly at delta = 0, which is where training starts, and what is added stays a difference
    of two decoded actions. D_a starts as Stage 1's decoder and is trained along; B_a stays frozen.
    """

    def __init__(self, config: ResidualConfig, alignment: Alignment, proprio: int, used: torch.Tensor) -> None:
        """``used``: ``(A,)`` bool, False for action dimensions that the residual must never touch."""
        super().__init__()
        size = alignment.config.size
        self.standardise = Standardise(proprio)
        self.proprio = nn.Sequential(nn.Linear(proprio, 128), nn.ReLU(), nn.Linear(128, size), nn.LayerNorm(size))
        self.image = nn.Sequential(
            nn.Conv2d(3, 16, 8, stride=4, padding=2),
            nn.ReLU(),
            nn.Conv2d(16, 32, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, stride=1, padding=1),
            *_image_head(config.pooling, size),
            nn.LayerNorm(size),
        )
        self.action = copy.deepcopy(alignment.action).requires_grad_(False)
        self.decoder = copy.deepcopy(alignment.decoder).requires_grad_(True)
        layer = nn.TransformerEncoderLayer(size, config.heads, 4 * size, dropout=0.0, batch_first=True, norm_first=True)
        self.transformer = nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False)
        self.kind = nn.Parameter(0.02 * torch.randn(3, size))
        self.head = nn.Sequential(nn.LayerNorm(size), nn.Linear(size, 128), nn.ReLU(), nn.Linear(128, size))
        start_at_zero(self.head[-1])
        self.used: torch.Tensor
        self.register_buffer("used", used.float())

    def forward(self, base: torch.Tensor, proprio: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """Base chunk ``(B, M, A)``, proprioception ``(B, P)``, images ``(B, 3, S, S)`` → residual ``(B, M, A)``."""
        z = self.action(base)
        tokens = torch.stack([z, self.proprio(self.standardise(proprio)), self.image(images)], 1) + self.kind
        delta = self.head(self.transformer(tokens)[:, 0])
        return (self.decoder(z + delta) - self.decoder(z)) * self.used


def _image_head(pooling: str, size: int) -> list[nn.Module]:
    if pooling == "spatial":
        return [SpatialSoftmax(), nn.Linear(64, size)]
    if pooling == "flat":
        return [nn.Flatten(), nn.LazyLinear(size)]
    raise World2ActError(f"pooling is {pooling!r}, expected 'spatial' or 'flat'")
