"""Stage 1 as a straightforward loop in the shape of the public code: what ours is measured against.

Written from a description of that code, not from the code: a Conv1d action VAE, contrast from video anchors to one
positive and 16 sampled negatives, every sample read from its own file in every step. Where the description leaves
something open, the loop does what costs least: one process reads ``.npy`` files from the page cache, of negatives only
their actions are read and encoded, anchors and negatives pass through the networks as one batch, which is padded to its
longest anchor. Padding is masked, as it should be.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from world2act_core.types import Array

SIZE = 32
TEMPERATURE, CONTRAST, KL = 0.07, 0.1, 1e-4
NEGATIVES, HARD = 16, 12


@dataclass(frozen=True)
class Clip:
    """Files of one demonstration of one skill: latents ``(T + 1, C, h, w)`` and actions ``(T M, A)``."""

    latents: Path
    actions: Path
    skill: int


class VideoAdapter(nn.Module):
    """The paper's (section 3.2): a latent ``(B, C, h, w)`` → ``(B, D)``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(channels, 64, 3, stride=2, padding=1),
            nn.GroupNorm(8, 64),
            nn.GELU(),
            nn.Conv2d(64, 128, 3, stride=2, padding=1),
            nn.GroupNorm(8, 128),
            nn.GELU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(128, SIZE),
        )

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return self.net(latents)


class ActionVAE(nn.Module):
    """Actions ``(B, A, T M)`` ↔ one latent a chunk ``(B, D, T)``, by convolutions along time."""

    def __init__(self, actions: int, chunk: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv1d(actions, 64, 3, padding=1),
            nn.GELU(),
            nn.Conv1d(64, 128, chunk, stride=chunk),
            nn.GELU(),
            nn.Conv1d(128, 2 * SIZE, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv1d(SIZE, 128, 1),
            nn.GELU(),
            nn.ConvTranspose1d(128, 64, chunk, stride=chunk),
            nn.GELU(),
            nn.Conv1d(64, actions, 3, padding=1),
        )

    def encode(self, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """A sample of the latent, its mean and its logarithmic variance."""
        mean, log_variance = self.encoder(actions).chunk(2, 1)
        return mean + torch.randn_like(mean) * (0.5 * log_variance).exp(), mean, log_variance


class PublishedLoop:
    """The training loop over clips of ``chunk`` actions a latent."""

    def __init__(self, clips: list[Clip], batch: int, chunk: int, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.clips, self.batch, self.chunk, self.random = clips, batch, chunk, random.Random(seed)
        channels, actions = np.load(clips[0].latents).shape[1], np.load(clips[0].actions).shape[1]
        self.video, self.vae = VideoAdapter(channels), ActionVAE(actions, chunk)
        self.parameters = [*self.video.parameters(), *self.vae.parameters()]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-4, weight_decay=1e-2, betas=(0.9, 0.95))

    def negatives(self, anchor: Clip) -> list[Clip]:
        """Other demonstrations of the anchor's skill, and demonstrations of other skills."""
        same = [clip for clip in self.clips if clip.skill == anchor.skill and clip is not anchor]
        other = [clip for clip in self.clips if clip.skill != anchor.skill]
        return self.random.choices(same, k=HARD) + self.random.choices(other, k=NEGATIVES - HARD)

    def step(self) -> int:
        """Draw, read, one update; returns how many chunks of video were aligned with their actions."""
        anchors = self.random.sample(self.clips, self.batch)
        shown = [clip for anchor in anchors for clip in (anchor, *self.negatives(anchor))]
        videos = [np.load(clip.latents)[1:] for clip in anchors]
        lengths = torch.tensor([len(video) for video in videos])
        longest = int(lengths.max())
        valid = torch.arange(longest) < lengths[:, None]  # (B, T)
        latents = torch.from_numpy(np.stack([_padded(video, longest) for video in videos]))  # (B, T, C, h, w)
        acted = [_padded(np.load(clip.actions), self.chunk * longest) for clip in shown]
        actions = torch.from_numpy(np.stack(acted)).mT  # (17 B, A, T M)
        z_v = self.video(latents.flatten(0, 1)).unflatten(0, (self.batch, -1))  # (B, T, D)
        z_a, mean, log_variance = self.vae.encode(actions)
        own = slice(None, None, 1 + NEGATIVES)
        errors = (self.vae.decoder(z_a[own]) - actions[own]).square().mean(1).unflatten(1, (longest, -1)).mean(-1)
        divergence = -0.5 * (1 + log_variance[own] - mean[own].square() - log_variance[own].exp()).mean(1)
        reconstruction = ((errors + KL * divergence) * valid).sum() / valid.sum()
        z_a = z_a.mT.unflatten(0, (self.batch, 1 + NEGATIVES))  # (B, 17, T, D), the positive first
        cosines = F.cosine_similarity(z_v[:, None], z_a, dim=-1) * valid[:, None]
        similarity = cosines.sum(-1) / lengths[:, None]
        contrast = F.cross_entropy(similarity / TEMPERATURE, torch.zeros(self.batch, dtype=torch.long))
        loss = reconstruction + CONTRAST * contrast
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        return int(lengths.sum())


def _padded(sequence: Array, length: int) -> Array:
    """``(L, ...)`` → ``(length, ...)``: cut, or zeros behind it."""
    if len(sequence) >= length:
        return sequence[:length]
    return np.concatenate([sequence, np.zeros((length - len(sequence), *sequence.shape[1:]), sequence.dtype)])
