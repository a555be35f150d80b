"""The adapters of Stage 1: video B_v, action B_a, and the action decoder D_a (World2Act, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from world2act_core.alignment.motion import Motion
from world2act_core.embodiment.displacement import Displacement
from world2act_core.errors import World2ActError
from world2act_core.networks.blocks import Dropout, SpatialSoftmax, Standardise, WideLinear
from world2act_core.networks.codec import PatchCodec

POOLINGS = ("average", "spatial", "patches", "flow")
"""What becomes of the feature maps: the paper's global average; ours, a few spatial tokens; ours, every patch's own.
Or, ours, no maps: how far things moved on the decoded pictures."""


@dataclass(frozen=True)
class AdapterConfig:
    """Shapes of the adapters; ``pooling`` is one of ``POOLINGS``.

    Attributes:
        scene_dropout: ours: share of training samples in which the video adapter sees only what changed, not the scene.
            Else it may guess the action from where the policy usually goes, not from what moved. Flow never sees it.
        codec: shape of the codec whose latents are read, for ``flow``; see ``PatchCodec.shape``.
        units: ``(A,)`` of the displacements that action chunks are read as; empty for actions that are displacements
            already (see ``embodiment.displacement``).
    """

    latent_shape: Sequence[int] = (16, 8, 8)
    chunk_length: int = 4
    actions: int = 7
    size: int = 32  # D
    pooling: str = "patches"
    scene_dropout: float = 0.5
    codec: Mapping[str, int] | None = None
    units: Sequence[float] = ()


class VideoAdapter(nn.Module):
    """B_v: the two latents around a chunk → ``(B, D)``.

    The paper's causal video VAE gives one latent that summarises the M frames of a chunk. A per-frame codec does not,
    so B_v reads the latents before and after the chunk: their difference is what the chunk's actions did.

    Attributes:
        motion: what is seen of the latents before anything that is learned; None for the latents themselves.
    """

    motion: Motion | None

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        channels, height, width = config.latent_shape
        if config.pooling not in POOLINGS:
            raise World2ActError(f"pooling is {config.pooling!r}, expected one of {', '.join(POOLINGS)}")
        self.scene_dropout, self.pooling, self.motion = config.scene_dropout, config.pooling, None
        if config.pooling == "average":
            self.net = _convolutional(channels, config.size)
        elif config.pooling == "spatial":
            self.net = _keypoints(channels, config.size)
        elif config.pooling == "patches":
            self.net = _patches(channels * height * width, config.size)
        else:
            if config.codec is None:
                raise World2ActError("flow is seen on pictures: it needs the codec that decodes the latents to them")
            self.motion = Motion(PatchCodec(**config.codec))
            self.net = _flow(self.motion.values, config.size)

    def forward(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        return self.read(*self.see(before, after))

    def see(self, before: torch.Tensor, after: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Latents ``(B, C, h, w)`` around chunks → what is read of them, in which nothing is learned: both, or flow."""
        return (before, after) if self.motion is None else (self.motion(before, after).flatten(1),)

    def read(self, *seen: torch.Tensor) -> torch.Tensor:
        """What ``see`` gave → ``(B, D)``."""
        if self.motion is not None:
            return self.net(*seen)
        before, after = seen
        known = before
        if self.training:
            known = before * (torch.rand(len(before), 1, 1, 1) >= self.scene_dropout).to(before.dtype)
        return self.net(torch.cat([known, after - before], 1))


def _convolutional(channels: int, size: int) -> nn.Sequential:
    """The paper's adapter: two strided convolutions and a global average."""
    return nn.Sequential(
        nn.Conv2d(2 * channels, 64, 3, stride=2, padding=1),
        nn.GroupNorm(8, 64),
        nn.GELU(),
        nn.Conv2d(64, 128, 3, stride=2, padding=1),
        nn.GroupNorm(8, 128),
        nn.GELU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, size),
    )


def _keypoints(channels: int, size: int) -> nn.Sequential:
    """Ours: attention maps keep where things are. No normalisation: how large a change is tells how fast it went."""
    return nn.Sequential(
        nn.Conv2d(2 * channels, 64, 3, padding=1),
        nn.GELU(),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.GELU(),
        _SpatialTokens(64, 32),
        nn.Linear(3 * 32, 128),
        nn.GELU(),
        nn.Linear(128, size),
    )


def _patches(values: int, size: int) -> nn.Sequential:
    """Ours, for a camera that stands still: every patch keeps its place. Dropout, because pairs are few."""
    return nn.Sequential(
        nn.Flatten(),
        Dropout(0.2),
        WideLinear(2 * values, 256),
        nn.GELU(),
        Dropout(0.2),
        nn.Linear(256, 128),
        nn.GELU(),
        nn.Linear(128, size),
    )


def _flow(values: int, size: int) -> nn.Sequential:
    """Ours, for flow. Its scale is that of what it is trained on; a cell in which nothing ever moves stays quiet."""
    return nn.Sequential(
        Standardise(values),
        Dropout(0.2),
        nn.Linear(values, 256),
        nn.GELU(),
        Dropout(0.2),
        nn.Linear(256, 128),
        nn.GELU(),
        nn.Linear(128, size),
    )


class _SpatialTokens(nn.Module):
    """Feature maps → for each of ``keypoints`` attention maps: where it looks, and how strong a value it sees there."""

    def __init__(self, channels: int, keypoints: int) -> None:
        super().__init__()
        self.attend = nn.Conv2d(channels, keypoints, 1)
        self.value = nn.Conv2d(channels, keypoints, 1)
        self.where = SpatialSoftmax()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        maps = self.attend(features)
        seen = (maps.flatten(2).softmax(-1) * self.value(features).flatten(2)).sum(-1)
        return torch.cat([self.where(maps), seen], -1)


class ActionAdapter(nn.Module):
    """B_a: an action chunk ``(B, M, A)`` → ``(B, D)``."""

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Flatten(),
            nn.Linear(config.chunk_length * config.actions, 128),
            nn.GELU(),
            nn.Linear(128, 64),
            nn.GELU(),
            nn.Linear(64, config.size),
        )

    def forward(self, actions: torch.Tensor) -> torch.Tensor:
        return self.net(actions)


class ActionDecoder(nn.Module):
    """D_a: a chunk's latent ``(B, D)`` → its actions ``(B, M, A)``."""

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(config.size, 64),
            nn.GELU(),
            nn.Linear(64, 128),
            nn.GELU(),
            nn.Linear(128, config.chunk_length * config.actions),
            nn.Unflatten(-1, (config.chunk_length, config.actions)),
        )

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return self.net(latents)


class Alignment(nn.Module):
    """B_v, B_a and D_a together: what Stage 1 trains and Stage 2 keeps frozen.

    Attributes:
        imagined: B_v for imagined latents, where there is one (see ``alignment.calibrate``).
    """

    imagined: VideoAdapter | None

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        self.config, self.imagined = config, None
        self.video = VideoAdapter(config)
        self.action = ActionAdapter(config)
        self.decoder = ActionDecoder(config)

    @property
    def displacement(self) -> Displacement:
        """Between actions and what B_a and D_a go by."""
        return Displacement(tuple(self.config.units))

    @property
    def reader_of_imagined(self) -> VideoAdapter:
        """B_v for imagined latents: the one of real latents where there is no other."""
        return self.video if self.imagined is None else self.imagined


def cosine(video: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
    """cos(z^v, z^a) along the last axis."""
    return F.cosine_similarity(video, action, dim=-1)


def save_alignment(path: Path, alignment: Alignment) -> None:
    config = {**asdict(alignment.config), "latent_shape": list(alignment.config.latent_shape)}
    torch.save({"config": config, "weights": alignment.state_dict()}, path)


def load_alignment(path: Path) -> Alignment:
    saved = torch.load(path, weights_only=True)
    alignment = Alignment(AdapterConfig(**saved["config"]))
    if any(name.startswith("imagined.") for name in saved["weights"]):
        alignment.imagined = VideoAdapter(alignment.config)
    alignment.load_state_dict(saved["weights"])
    return alignment.eval()
