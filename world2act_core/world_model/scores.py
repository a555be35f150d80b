"""What a world model is worth on videos that it has not seen: all metrics by horizon, and examples to look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from world2act_core.episodes.chunks import ChunkTable
from world2act_core.errors import World2ActError
from world2act_core.types import Array
from world2act_core.world_model.composition import Planned
from world2act_core.world_model.measure import ErrorCurve, followers, horizon_errors, imagined_and_real, plan_from
from world2act_core.world_model.metrics import (
    PromptSensitivity,
    prompt_sensitivity,
    psnr,
    ssim,
    temporal_consistency,
)
from world2act_core.world_model.protocol import WorldModel

HORIZON = 8
"""Chunks ahead that are measured: no skill of the demo is imagined further without looking again."""
MOST_PSNR = 60.0
"""dB; equal frames would make every mean infinite."""


@dataclass(frozen=True)
class Pictures:
    """``(K,)`` means by horizon, entry k is k + 1 chunks ahead.

    Attributes:
        imagined: decoded imagination against the real frames.
        copied: the frame from which it started against the real frames.
        coded: the real frames through the model's own codec: what no imagination can exceed.
    """

    imagined: Array
    copied: Array
    coded: Array


@dataclass(frozen=True)
class Scores:
    """Figures of one model on one set of videos.

    Attributes:
        latent: errors in latent space, of the model and of copying.
        psnr, ssim: dB, and -1 to 1.
        consistency: mean temporal consistency of decoded clips of K chunks against the real ones.
        sensitivity: None where all videos have the same prompt.
        episodes: how many were measured.
    """

    latent: ErrorCurve
    psnr: Pictures
    ssim: Pictures
    consistency: float
    sensitivity: PromptSensitivity | None
    episodes: int

    @property
    def horizon(self) -> int:
        """K, chunks ahead."""
        return len(self.latent.model)


@dataclass(frozen=True)
class Example:
    """One imagined clip beside the real one: ``(K + 1, S, V S, 3)`` uint8 each, from the same first frame."""

    episode_id: str
    prompts: tuple[str, ...]
    imagined: Array
    real: Array


def score(model: WorldModel, table: ChunkTable) -> Scores:
    """Measure a model on a table of videos.

    Raises:
        World2ActError: no episode has two chunks in a row.
    """
    horizon = longest(table)
    rows = [row for row in range(len(table)) if len(followers(table, row, horizon)) == horizon]
    psnrs, ssims, consistent = np.zeros((3, horizon)), np.zeros((3, horizon)), []
    for row, (imagined, latents) in zip(rows, _imagined(model, table, rows, horizon), strict=True):
        real = frames_from(table, row, horizon)
        seen = model.decode(torch.stack([imagined, latents]))
        pairs = (seen[0], real[:1].expand_as(real), seen[1])
        psnrs += np.stack([psnr(frames, real)[1:].clamp(max=MOST_PSNR).numpy() for frames in pairs])
        ssims += np.stack([ssim(frames, real)[1:].numpy() for frames in pairs])
        consistent.append(float(temporal_consistency(seen[0], real)))
    return Scores(
        latent=horizon_errors(model, table, horizon),
        psnr=Pictures(*psnrs / len(rows)),
        ssim=Pictures(*ssims / len(rows)),
        consistency=float(np.nanmean(consistent)),
        sensitivity=_sensitivity(model, table, horizon),
        episodes=len({int(table.episode[row]) for row in rows}),
    )


def examples(model: WorldModel, table: ChunkTable, most: int) -> list[Example]:
    """From the first frame of up to so many episodes, evenly chosen, as far as is measured."""
    horizon = longest(table)
    first = {int(table.episode[row]): row for row in reversed(range(len(table)))}
    rows = [row for _, row in sorted(first.items()) if len(followers(table, row, horizon)) == horizon]
    rows = [rows[i] for i in np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int))]
    found = []
    for row, (imagined, _) in zip(rows, _imagined(model, table, rows, horizon), strict=True):
        prompts = tuple(skill.prompt for skill in plan_from(table, row, horizon))
        frames, real = model.decode(imagined[None])[0].numpy(), frames_from(table, row, horizon).numpy()
        found.append(Example(table.episode_ids[int(table.episode[row])], prompts, frames, real))
    return found


def longest(table: ChunkTable) -> int:
    """Chunks ahead that can be measured on a table: `HORIZON`, or as long as its longest episode."""
    most = max(len(followers(table, row, HORIZON)) for row in range(len(table)))
    if most < 2:
        raise World2ActError("the videos to measure on hold single chunks only: record whole episodes")
    return most


def frames_from(table: ChunkTable, row: int, chunks: int) -> torch.Tensor:
    """The real frames ``(chunks + 1, S, V S, 3)`` uint8 from a row's first one on."""
    follow = followers(table, row, chunks)
    return torch.from_numpy(table.frames[[int(table.before[row]), *(int(table.after[each]) for each in follow)]])


def _imagined(
    model: WorldModel, table: ChunkTable, rows: Sequence[int], chunks: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Imagined and real latents of each row, by the skills that were carried out."""
    return imagined_and_real(model, table, [(row, plan_from(table, row, chunks)) for row in rows])


def _sensitivity(model: WorldModel, table: ChunkTable, horizon: int) -> PromptSensitivity | None:
    """From every frame at which a skill begins (later ones give it away by themselves), under every prompt."""
    prompts = sorted(set(table.prompts))
    begins = np.flatnonzero(table.clock == 0).tolist()
    lengths = {row: plan_from(table, row, horizon)[0].chunks for row in begins}
    length = int(np.median(list(lengths.values()))) if begins else 0
    begins = [row for row in begins if lengths[row] >= length]  # one length for all, which half of the skills have
    pairs = [(row, prompt) for row in begins for prompt in prompts if prompt != table.prompts[row]]
    if not pairs:
        return None
    own = dict(zip(begins, _told(model, table, [(row, table.prompts[row]) for row in begins], length), strict=True))
    other = _told(model, table, pairs, length)
    return prompt_sensitivity(
        torch.stack([own[row][0] for row, _ in pairs]),
        torch.stack([imagined for imagined, _ in other]),
        torch.stack([real for _, real in other]),
    )


def _told(
    model: WorldModel, table: ChunkTable, told: Sequence[tuple[int, str]], chunks: int
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Imagined and real latents behind the first frame, ``(C, chunks, H, W)`` each."""
    asked = [(row, [Planned(prompt, chunks)]) for row, prompt in told]
    return [(imagined[:, 1:], real[:, 1:]) for imagined, real in imagined_and_real(model, table, asked)]
