"""From where the world model imagines, and with which imagined chunk a real one is matched.

A rollout is slower or faster than the world model expects. The paper imagines a skill once, from its first frame, and
matches chunk t of the rollout with chunk t of the imagination (section 3.3). Ours: imagine again at every chunk, so
that there is nothing to match; or match by progress, the real frame with the imagined one that looks most like it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from world2act_core.episodes.chunks import ChunkTable
from world2act_core.errors import World2ActError
from world2act_core.types import Array
from world2act_core.world_model.chunk_latents import InMemoryLatents, imagined_latents
from world2act_core.world_model.compact import CompactWorldModel

STARTS = ("chunk", "skill", "episode")
"""At whose first real frame imagination begins anew."""

MATCHES = ("index", "progress")


@dataclass(frozen=True)
class ImaginationConfig:
    """How Stage 2 gets its targets.

    Attributes:
        start: one of ``STARTS``. ``chunk``: from every real frame, one chunk ahead (ours). ``skill``: again at each
            skill's first frame, then on its own (the paper's). ``episode``: once, from the first frame of the episode.
        match: one of ``MATCHES``; says nothing where start is ``chunk``. ``index``: the chunk of the same number (the
            paper's). ``progress``: the imagined chunk whose beginning is nearest to the real frame, never earlier than
            the last one's and at most ``leap`` later (ours).
        leap: in chunks.
    """

    start: str = "chunk"
    match: str = "index"
    leap: int = 2

    def __post_init__(self) -> None:
        for name, known in (("start", STARTS), ("match", MATCHES)):
            if (value := getattr(self, name)) not in known:
                raise World2ActError(f"imagination.{name} is {value!r}, expected one of {', '.join(known)}")
        if self.match == "progress" and self.start == "chunk":
            raise World2ActError(
                "imagination.match: progress has nothing to match where start is chunk: set start to skill or episode"
            )
        if self.leap < 1:
            raise World2ActError(f"imagination.leap is {self.leap}, expected at least 1")


def targets(model: CompactWorldModel, table: ChunkTable, config: ImaginationConfig) -> InMemoryLatents:
    """The imagined latents around each chunk of a table, by the table's rows; its ``after`` is never read.

    The rows of an episode must stand together and in order.
    """
    if config.start == "chunk":
        return imagined_latents(model, table)
    real = model.encode_frames(torch.from_numpy(table.frames))
    clips: list[torch.Tensor] = []
    before = np.zeros(len(table), np.int64)
    place = 0
    for rows in _runs(table.episode):
        for imagined, skill in _imagined_skills(model, table, real, rows, again=config.start == "skill"):
            at = np.arange(len(skill))
            if config.match == "progress":
                at = progress(imagined[:-1], real[table.before[skill]], config.leap)
            before[skill] = place + at
            clips.append(imagined)
            place += len(imagined)
    return InMemoryLatents(torch.cat(clips), before, before + 1)


def progress(imagined: torch.Tensor, real: torch.Tensor, leap: int) -> Array:
    """Which imagined latent each real one has reached: ``(T, C, h, w)`` and ``(N, C, h, w)`` → ``(N,)`` indices, the
    first 0, none before the last one's, none more than ``leap`` behind it."""
    distance = torch.cdist(real.flatten(1), imagined.flatten(1)).numpy()
    reached = np.zeros(len(real), np.int64)
    for n in range(1, len(real)):
        last = reached[n - 1]
        reached[n] = last + int(np.argmin(distance[n, last : last + leap + 1]))
    return reached


def _imagined_skills(
    model: CompactWorldModel, table: ChunkTable, real: torch.Tensor, rows: Array, *, again: bool
) -> list[tuple[torch.Tensor, Array]]:
    """For each skill of an episode the latents ``(n + 1, C, h, w)`` around its n chunks, and their rows."""
    found = []
    previous, current = (real[index[rows[:1]]] for index in (table.previous, table.before))
    for skill in _runs(np.cumsum(np.diff(table.clock[rows], prepend=-1) != 1)):
        here = rows[skill]
        if again:
            previous, current = (real[index[here[:1]]] for index in (table.previous, table.before))
        clock = torch.from_numpy(table.clock[here[:1]])
        imagined = model.predict(previous, current, [table.prompts[here[0]]], clock, len(here))[0].transpose(0, 1)
        found.append((imagined, here))
        previous, current = imagined[-2][None], imagined[-1][None]
    return found


def _runs(values: Array) -> list[Array]:
    """Indices of each stretch of equal neighbours."""
    return np.split(np.arange(len(values)), np.flatnonzero(np.diff(values)) + 1)
