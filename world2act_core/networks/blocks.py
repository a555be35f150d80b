"""Small building blocks shared by the compact models."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class SpatialSoftmax(nn.Module):
    """Feature maps → expected image coordinates, so that *where* survives the pooling (Levine et al. 2016, sec. 5.1).

    ``(B, K, H, W)`` → ``(B, 2 K)`` coordinates in [-1, 1].
    """

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        _, _, h, w = maps.shape
        attention = maps.flatten(2).softmax(-1)  # (B, K, H W)
        ys = torch.linspace(-1, 1, h, device=maps.device)
        xs = torch.linspace(-1, 1, w, device=maps.device)
        grid = torch.stack(torch.meshgrid(ys, xs, indexing="ij"), -1).reshape(h * w, 2)
        return (attention @ grid).flatten(1)


class ImageEncoder(nn.Module):
    """RGB ``(B, 3, S, S)`` in [0, 1] → ``(B, D)``: three convolutions and a spatial softmax."""

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, width, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            SpatialSoftmax(),
            nn.Linear(4 * width, features),
            nn.ReLU(),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.net(images)


class PatchEncoder(nn.Module):
    """Patch latents ``(B, C, h, w)`` of cameras tiled side by side → ``(B, D)``; every patch keeps its place.

    In trials on one task (docs/post-training-trials.md) a policy that sees so needed many episodes: cloned from 240 it
    did best of all, from ten it did far worse than one of convolutions (6 against 27 of 40 starts).
    """

    def __init__(
        self, values: int, features: int, hidden: int = 512, dropout: float = 0.2, noise: float = 0.05
    ) -> None:
        """``values``: C h w; ``noise`` is added to the latents in training, whose spread is about one."""
        super().__init__()
        self.noise = noise
        self.net = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(values, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, features),
            nn.GELU(),
        )

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        if self.training:
            latents = latents + self.noise * torch.randn_like(latents)
        return self.net(latents)


class Standardise(nn.Module):
    """``(x - mean) / std`` with statistics that travel with the weights."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))

    def fit(self, samples: torch.Tensor, floor: float = 1e-2) -> None:
        """Take the statistics of ``(N, size)`` samples; ``floor`` keeps constant dimensions from exploding."""
        self.mean.copy_(samples.mean(0))
        self.std.copy_(samples.std(0).clamp_min(floor))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.mean) / self.std


class Dropout(nn.Module):
    """As ``nn.Dropout``, in less than half of its time on a CPU: 16 bits of torch's random source decide on a value.

    Args:
        p: share of the values that are dropped in training, rounded to 1 in 65536.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.dropped = round(65536 * p)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device).random_(-(2**63), None)
        kept = draws.view(torch.int16)[: x.numel()].view(x.shape) >= self.dropped - 32768
        return (x * kept).mul_(65536 / (65536 - self.dropped))


class WideLinear(nn.Linear):
    """As ``nn.Linear``, trained through oneDNN on a CPU, where MKL took twice as long over large products on an AMD."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fits = x.device.type == "cpu" and x.dtype == torch.float32 and torch.backends.mkldnn.is_available()
        if not (self.training and fits):
            return super().forward(x)
        return F.linear(x.to_mkldnn(), self.weight, self.bias).to_dense()


def start_at_zero(layer: nn.Module) -> None:
    """Set every parameter of a layer to zero, so that what it adds is nothing before training."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def to_float(images: torch.Tensor) -> torch.Tensor:
    """uint8 ``(B, S, S, 3)`` → float ``(B, 3, S, S)`` in [0, 1]."""
    return images.permute(0, 3, 1, 2).float() / 255.0
