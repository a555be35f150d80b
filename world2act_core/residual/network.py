"""The residual policy f_theta (World2Act, section 3.3)."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import nn

from world2act_core.alignment.adapters import Alignment
from world2act_core.errors import World2ActError
from world2act_core.networks.blocks import PatchEncoder, Standardise, start_at_zero, to_float
from world2act_core.networks.codec import PatchCodec


@dataclass(frozen=True)
class ResidualConfig:
    """Architecture of the residual. Widths are the paper's where it gives them."""

    heads: int = 4
    layers: int = 2
    image: str = "patches"  # ours: through the world model's frozen patch codec; "convolutions" are the paper's
    bound: float = 0.0  # ours: largest correction of an action, in action units; 0 sets none
    dropout: float = 0.2  # of the image token
    noise: float = 0.05  # on its latents while training


class Residual(nn.Module):
    """Three tokens (base action, proprioception, images) → a correction of the base chunk.

    The correction is made in the latent space (ours): with z = B_a(a_base) and a correction delta of it,

        a_final = a_base + D_a(z + delta) - D_a(z)

    so the base is recovered exactly at delta = 0, which is where training starts, and what is added stays a difference
    of two decoded actions. D_a starts as Stage 1's decoder and is trained along; B_a stays frozen.
    """

    def __init__(
        self, config: ResidualConfig, alignment: Alignment, proprio: int, used: torch.Tensor, codec: PatchCodec
    ) -> None:
        """
        Args:
            proprio: P, size of proprioception.
            used: ``(A,)`` bool, False for action dimensions that the residual must never touch.
            codec: of the cameras, tiled as in the frames that ``forward`` is given; kept frozen.
        """
        super().__init__()
        self.config, size = config, alignment.config.size
        self.standardise = Standardise(proprio)
        self.proprio = nn.Sequential(nn.Linear(proprio, 128), nn.ReLU(), nn.Linear(128, size), nn.LayerNorm(size))
        self.codec = copy.deepcopy(codec)
        self.image = nn.Sequential(_image_head(config, self.codec, size), nn.LayerNorm(size))
        self.action = copy.deepcopy(alignment.action).requires_grad_(False)
        self.decoder = copy.deepcopy(alignment.decoder).requires_grad_(True)
        layer = nn.TransformerEncoderLayer(size, config.heads, 4 * size, dropout=0.0, batch_first=True, norm_first=True)
        self.transformer = nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False)
        self.kind = nn.Parameter(0.02 * torch.randn(3, size))
        self.head = nn.Sequential(nn.LayerNorm(size), nn.Linear(size, 128), nn.ReLU(), nn.Linear(128, size))
        start_at_zero(self.head[-1])
        self.used: torch.Tensor
        self.register_buffer("used", used.float())

    def see(self, frames: torch.Tensor) -> torch.Tensor:
        """Tiled frames uint8 ``(B, S, V S, 3)`` → what the image token is made of; nothing here is trained."""
        return self.codec.encode(frames) if self.config.image == "patches" else to_float(frames)

    def forward(self, base: torch.Tensor, proprio: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """Base chunk ``(B, M, A)``, proprioception ``(B, P)``, ``see(frames)`` → residual ``(B, M, A)``."""
        z = self.action(base)
        tokens = torch.stack([z, self.proprio(self.standardise(proprio)), self.image(seen)], 1) + self.kind
        delta = self.head(self.transformer(tokens)[:, 0])
        correction = self.decoder(z + delta) - self.decoder(z)
        if self.config.bound:
            correction = self.config.bound * torch.tanh(correction / self.config.bound)
        return correction * self.used


def _image_head(config: ResidualConfig, codec: PatchCodec, size: int) -> nn.Module:
    if config.image == "patches":
        features = PatchEncoder(math.prod(codec.latent_shape), 128, dropout=config.dropout, noise=config.noise)
        return nn.Sequential(features, nn.Linear(128, size))
    if config.image == "convolutions":
        return nn.Sequential(
            nn.Conv2d(3, 16, 8, stride=4, padding=2),
            nn.ReLU(),
            nn.Conv2d(16, 32, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, stride=1, padding=1),
            nn.Flatten(),
            nn.Linear(32 * (codec.size // 8) * (codec.width // 8), size),
        )
    raise World2ActError(f"the residual's image is {config.image!r}, expected 'patches' or 'convolutions'")
