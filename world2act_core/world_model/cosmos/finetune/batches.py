"""Which clips an optimiser step learns from, at which noise levels.

Everything that is random in step ``s`` comes from a generator seeded by ``(seed, s)``: the order of the data needs no
state, and a run that was killed goes on with the same clips, noise levels and noise.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch

from world2act_core.errors import World2ActError
from world2act_core.runs import step_generator
from world2act_core.world_model.cosmos.finetune.cache import CachedClip, LatentCache
from world2act_core.world_model.cosmos.finetune.objective import Noised
from world2act_core.world_model.cosmos.finetune.settings import FinetuneSettings

HIGH_NOISE = (200.0, 100_000.0)
"""Noise levels far beyond the sampler's first, 80 (NVIDIA's recipe: ``high_sigma_ratio`` 0.05, log-uniform)."""


@dataclass(frozen=True)
class Draw:
    """A clip as one step sees it.

    Attributes:
        sigma: noise level.
        given: how many first latents are given.
        prompt: the clip's, or "" where it was dropped.
        noise: seed of the noise.
    """

    clip: CachedClip
    sigma: float
    given: int
    prompt: str
    noise: int


def split(clips: Sequence[CachedClip], held_out: float) -> tuple[list[CachedClip], list[CachedClip]]:
    """Clips to train on and clips to measure on; no episode is on both sides.

    Which episodes are held out follows from their names alone, so a data set that grows nearly keeps its split.

    Raises:
        World2ActError: there is only one episode.
    """
    by_hash = sorted({c.clip.episode_id for c in clips}, key=lambda name: hashlib.sha256(name.encode()).digest())
    if len(by_hash) < 2:
        raise World2ActError("one episode cannot be both trained and measured on: cache at least two")
    kept = set(by_hash[: max(1, round(held_out * len(by_hash)))])
    return [c for c in clips if c.clip.episode_id not in kept], [c for c in clips if c.clip.episode_id in kept]


def draw_batch(clips: Sequence[CachedClip], settings: FinetuneSettings, step: int) -> list[Draw]:
    """The ``batch`` clips of a step; each consecutive ``micro_batch`` of them are of one length.

    Every clip is as likely as any other: the first of a micro-batch is any, the others any of its length.
    """
    rng = step_generator(settings.seed, step)
    lengths = np.array([clip.clip.latents for clip in clips])
    draws = []
    for _ in range(settings.batch // settings.micro_batch):
        first = int(rng.integers(len(clips)))
        alike = np.flatnonzero(lengths == lengths[first])
        for row in (first, *rng.choice(alike, settings.micro_batch - 1)):
            draws.append(_draw(clips[row], settings, rng))
    return draws


def _draw(cached: CachedClip, settings: FinetuneSettings, rng: np.random.Generator) -> Draw:
    latents = cached.clip.latents
    dropped = rng.random() < settings.text_dropout
    return Draw(
        clip=cached,
        sigma=_noise_level(latents, rng.standard_normal(), rng.random(), settings.high_noise, rng.random()),
        given=int(rng.integers(1, min(settings.most_given, latents - 1) + 1)),
        prompt="" if dropped else cached.clip.prompt,
        noise=int(rng.integers(2**63)),
    )


def _noise_level(latents: int, normal: float, chance: float, high_noise: float, how_high: float) -> float:
    """``sqrt(T) exp(N(0, 1))``, now and then far higher.

    Frames show nearly the same, so a video of T latents needs sqrt(T) times the noise of an image to be as unreadable;
    NVIDIA's recipe takes the sqrt(24) of its longest clips for all (``adjust_video_noise``).
    """
    if chance < high_noise:
        low, high = map(math.log, HIGH_NOISE)
        return math.exp(low + (high - low) * how_high)
    return math.sqrt(latents) * math.exp(normal)


def fixed_draws(held_out: Sequence[CachedClip], settings: FinetuneSettings) -> list[Draw]:
    """What the loss is measured on throughout a run: the same clips, noise and, evenly spread, noise levels."""
    rng = np.random.default_rng((settings.seed, 0, 1))
    count = min(settings.validation_clips, len(held_out))
    return [
        Draw(
            clip=held_out[row],
            sigma=_noise_level(held_out[row].clip.latents, NormalDist().inv_cdf((place + 0.5) / count), 1.0, 0.0, 0.0),
            given=1,
            prompt=held_out[row].clip.prompt,
            noise=int(rng.integers(2**63)),
        )
        for place, row in enumerate(rng.permutation(len(held_out))[:count])
    ]


def load_batch(cache: LatentCache, draws: Sequence[Draw], device: torch.device) -> Noised:
    """Read the clips of some draws, all of one length, and their noise."""
    clean = torch.stack([cache.latents(draw.clip) for draw in draws])
    # Drawn on the CPU: the same noise on every machine.
    noise = torch.stack([torch.randn(clean.shape[1:], generator=torch.Generator().manual_seed(draw.noise))
                         for draw in draws])  # fmt: skip
    return Noised(
        clean=clean.to(device),
        noise=noise.to(device),
        sigma=torch.tensor([draw.sigma for draw in draws], device=device),
        given=torch.tensor([draw.given for draw in draws], device=device),
        text=torch.stack([cache.text(draw.prompt) for draw in draws]).to(device),
    )
