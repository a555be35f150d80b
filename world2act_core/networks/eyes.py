"""How the compact policy and the residual see: all cameras of one tiled frame, by one of two encoders."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from world2act_core.errors import World2ActError
from world2act_core.networks.blocks import ImageEncoder, PatchEncoder, to_float
from world2act_core.networks.codec import PatchCodec


@dataclass(frozen=True)
class EyesConfig:
    """Architecture of the eyes.

    Attributes:
        encoder: ``convolutions`` (a network of its own for each camera, under a spatial softmax) or ``patches`` (all
            cameras through a frozen patch codec).
        features: that come out, of each camera for convolutions, of all of them for patches.
        width: of the first convolution.
        shift: convolutions: in training, each camera's image moves by up to this many pixels.
        dropout, noise: patches: in training, of values, and on latents whose spread is about one.

    Raises:
        World2ActError: there is no such encoder.
    """

    encoders: ClassVar[tuple[str, ...]] = ("convolutions", "patches")

    encoder: str = "convolutions"
    features: int = 64
    width: int = 16
    shift: int = 2
    dropout: float = 0.2
    noise: float = 0.05

    def __post_init__(self) -> None:
        if self.encoder not in self.encoders:
            raise World2ActError(f"encoder is {self.encoder!r}, expected one of {', '.join(self.encoders)}")


class Eyes(nn.Module):
    """Tiled frames → features, in two steps: ``see``, in which nothing is learned, and ``forward``.

    Attributes:
        size: how many features there are.
        codec: frozen, for patches only; it must be fitted before its latents mean anything.
    """

    codec: PatchCodec | None

    def __init__(self, config: EyesConfig, codec: PatchCodec) -> None:
        """``codec`` says what a frame looks like: size and number of views; for patches a copy of it is kept."""
        super().__init__()
        self.config, self.views = config, codec.shape["views"]
        if config.encoder == "patches":
            self.codec = copy.deepcopy(codec)
            values = math.prod(codec.latent_shape)
            encoder = PatchEncoder(values, config.features, dropout=config.dropout, noise=config.noise)
            self.encoders = nn.ModuleList([encoder])
        else:
            self.codec = None
            self.encoders = nn.ModuleList(ImageEncoder(config.width, config.features) for _ in range(self.views))
        self.size = config.features * len(self.encoders)

    def see(self, frames: torch.Tensor) -> torch.Tensor:
        """Frames uint8 ``(B, S, V S, 3)`` → images ``(B, 3, S, V S)`` in [0, 1], or latents ``(B, C, h, w)``."""
        return to_float(frames) if self.codec is None else self.codec.encode(frames)

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        """What ``see`` gave → ``(B, size)``."""
        if self.codec is not None:
            return self.encoders[0](seen)
        images = seen.chunk(self.views, dim=3)
        if self.training:
            images = tuple(shifted(image, self.config.shift) for image in images)
        return torch.cat([encoder(image) for encoder, image in zip(self.encoders, images, strict=True)], -1)


def shifted(images: torch.Tensor, by: int) -> torch.Tensor:
    """Move each image ``(B, C, H, W)`` by up to ``by`` pixels, repeating its border; torch's own source decides."""
    b, _, h, w = images.shape
    ys, xs = (torch.arange(size) + torch.randint(-by, by + 1, (b, 1)) for size in (h, w))
    rows, columns = ys.clamp(0, h - 1)[:, :, None], xs.clamp(0, w - 1)[:, None]
    return images[torch.arange(b)[:, None, None], :, rows, columns].permute(0, 3, 1, 2)
