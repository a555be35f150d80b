"""The residual policy f_theta (World2Act, section 3.3)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from world2act_core.alignment.adapters import Alignment
from world2act_core.networks.blocks import Standardise, start_at_zero, to_float
from world2act_core.networks.codec import PatchCodec
from world2act_core.networks.eyes import Eyes, EyesConfig
from world2act_core.types import Array


@dataclass(frozen=True)
class ResidualConfig(EyesConfig):
    """Architecture of the residual. Widths are the paper's where it gives them; ``encoder`` may also be ``paper``:
    three convolutions over the tiled frame and a linear layer."""

    encoders: ClassVar[tuple[str, ...]] = (*EyesConfig.encoders, "paper")

    heads: int = 4
    layers: int = 2
    bound: float = 0.0  # ours: largest correction of an action, in action units; 0 sets none


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
            codec: of the cameras, tiled as in the frames that ``see`` is given; kept frozen, by ``patches`` only.
        """
        super().__init__()
        self.config, size = config, alignment.config.size
        self.standardise = Standardise(proprio)
        self.proprio = nn.Sequential(nn.Linear(proprio, 128), nn.ReLU(), nn.Linear(128, size), nn.LayerNorm(size))
        self.codec_shape = codec.shape
        self.eyes = _PaperEyes(codec) if config.encoder == "paper" else Eyes(config, codec)
        self.image = nn.Sequential(nn.Linear(self.eyes.size, size), nn.LayerNorm(size))
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
        return self.eyes.see(frames)

    def forward(self, base: torch.Tensor, proprio: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """Base chunk ``(B, M, A)``, proprioception ``(B, P)``, ``see(frames)`` → residual ``(B, M, A)``."""
        z = self.action(base)
        tokens = torch.stack([z, self.proprio(self.standardise(proprio)), self.image(self.eyes(seen))], 1) + self.kind
        delta = self.head(self.transformer(tokens)[:, 0])
        correction = self.decoder(z + delta) - self.decoder(z)
        if self.config.bound:
            correction = self.config.bound * torch.tanh(correction / self.config.bound)
        return correction * self.used

    @torch.inference_mode()
    def correct(self, base: Array, proprio: Array, frames: Array) -> Array:
        """As ``forward``, from and to numpy; ``frames`` are those that ``see`` is given."""
        seen = self.see(torch.from_numpy(frames))
        correction: Array = self(torch.from_numpy(base), torch.from_numpy(proprio), seen).numpy()
        return correction


class _PaperEyes(nn.Module):
    """The paper's image head: convolutions 3 → 16 → 32 → 32, strides 4, 2, 2, whose maps are laid out flat."""

    def __init__(self, codec: PatchCodec) -> None:
        """``codec`` tells the size of a frame."""
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 16, 8, stride=4, padding=2),
            nn.ReLU(),
            nn.Conv2d(16, 32, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.size = 32 * (codec.size // 16) * (codec.width // 16)

    def see(self, frames: torch.Tensor) -> torch.Tensor:
        return to_float(frames)

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        return self.net(seen)
