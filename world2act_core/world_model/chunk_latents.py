"""The latents around action chunks: what Stage 1 and Stage 2 read, from memory or from a store on disk.

The time base is that of ``LatentClip``: the chunk that begins at control step ``s`` of an episode leads from the latent
that shows step ``s`` to the one that shows step ``s + M``. Those of a stored clip that begins at ``start_step`` are its
latents ``t`` and ``t + 1`` with ``t = (s - start_step) / M``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from world2act_core.episodes.chunks import ChunkTable
from world2act_core.errors import RunError
from world2act_core.types import Array
from world2act_core.world_model.compact import CompactWorldModel, imagine_next
from world2act_core.world_model.store import LatentStore


class ChunkLatents(Protocol):
    """The latents around each chunk of one table, by the table's rows."""

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, h, w) of one latent."""

    def pair(self, rows: Array) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents ``(B, C, h, w)`` at the beginning and at the end of the chunks ``rows (B,)``, float32."""


@dataclass(frozen=True)
class InMemoryLatents:
    """Latents held as one tensor.

    Attributes:
        latents: ``(L, C, h, w)``.
        before, after: ``(N,)`` which of them stand around each chunk.
    """

    latents: torch.Tensor
    before: Array
    after: Array

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        _, c, h, w = self.latents.shape
        return c, h, w

    def pair(self, rows: Array) -> tuple[torch.Tensor, torch.Tensor]:
        before, after = (torch.from_numpy(side[rows]) for side in (self.before, self.after))
        return self.latents.index_select(0, before), self.latents.index_select(0, after)  # a third of the time of [...]


def real_latents(model: CompactWorldModel, table: ChunkTable) -> InMemoryLatents:
    """Of the table's own frames: what really happened in each chunk."""
    return InMemoryLatents(model.encode_frames(torch.from_numpy(table.frames)), table.before, table.after)


def imagined_latents(model: CompactWorldModel, table: ChunkTable) -> InMemoryLatents:
    """Each chunk imagined from the real frame at its beginning; the table's ``after`` is never read."""
    latents = model.encode_frames(torch.from_numpy(table.frames))
    imagined = imagine_next(model, table, latents)
    return InMemoryLatents(torch.cat([latents, imagined]), table.before, len(latents) + np.arange(len(table)))


class StoredLatents:
    """Latents read from a store as they are asked for; opening it reads what the store says of its clips, no latent.

    A chunk is found by the id of its episode and the control step at which it begins. The latents it lies between must
    be those of one clip, and the chunk must not be masked there.

    Args:
        store: written by ``world2act wm imagine`` or ``encode``.
        table: whose chunks are asked for.

    Attributes:
        covered: ``(N,)`` bool, True for the chunks whose latents the store holds. For Stage 1 to draw no other:
            ``replace(table, labelled=table.labelled & latents.covered)``.

    Raises:
        RunError: the store's latents are not M control steps apart, it holds no chunk of the table, or two of the
            table's episodes have the same id.
    """

    def __init__(self, store: LatentStore, table: ChunkTable) -> None:
        self._store, self._table, self._clips = store, table, list(store)
        self._clip, self._latent = np.full(len(table), -1), np.zeros(len(table), np.int64)
        rows_of = self._rows_of_episodes()
        for number, key in enumerate(self._clips):
            rows = rows_of.get(key.rpartition("#")[0])
            if rows is not None:
                self._place(number, rows)
        self.covered: Array = self._clip >= 0
        if not self.covered.any():
            raise RunError(f"{store.folder} holds no latents of these episodes: name the store that was made of them")
        c, _, h, w = store[self._clips[self._clip.max()]].latents.shape
        self.latent_shape: tuple[int, int, int] = (c, h, w)

    def pair(self, rows: Array) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents ``(B, C, h, w)`` at the beginning and at the end of the chunks ``rows (B,)``, copied to memory.

        Raises:
            RunError: the store does not hold the latents of one of them.
        """
        clips, t = self._clip[rows], torch.from_numpy(self._latent[rows])
        if (clips < 0).any():
            raise RunError(self._missing(int(np.asarray(rows)[clips < 0][0])))
        before, after = torch.empty(2, len(clips), *self.latent_shape)
        for number in np.unique(clips):  # in the order in which they were written: a shard is opened once a batch
            here = torch.from_numpy(np.flatnonzero(clips == number))
            latents = self._store[self._clips[number]].latents.transpose(0, 1)  # (T, C, h, w)
            before[here], after[here] = latents[t[here]], latents[t[here] + 1]
        return before, after

    def _rows_of_episodes(self) -> dict[str, Array]:
        """Rows of each episode of the table, by id."""
        found: dict[str, Array] = {}
        for episode in np.unique(self._table.episode):
            name = self._table.episode_ids[episode]
            if name in found:
                raise RunError(f"two episodes are called {name}: latents are found by id, so read them as two tables")
            found[name] = np.flatnonzero(self._table.episode == episode)
        return found

    def _place(self, number: int, rows: Array) -> None:
        """Note which of an episode's rows a clip holds."""
        key, m = self._clips[number], self._table.actions.shape[1]
        meta = self._store[key].meta
        if meta["steps_per_latent"] != m:
            raise RunError(
                f"clip {key} of {self._store.folder} has a latent every {meta['steps_per_latent']} control steps, but "
                f"chunks have {m}: make the store for this robot's chunk length"
            )
        t, off = np.divmod(self._table.step[rows] - meta["start_step"], m)
        there = np.append(np.asarray(meta["mask"], bool), False)  # the last entry stands for every t outside the clip
        held = there[np.where((t >= 0) & (t < len(there)), t, -1)] & (off == 0)
        held &= self._clip[rows] < 0
        self._clip[rows[held]], self._latent[rows[held]] = number, t[held]

    def _missing(self, row: int) -> str:
        name, step = self._table.episode_ids[self._table.episode[row]], self._table.step[row]
        return (
            f"{self._store.folder} holds no latents of the chunk at step {step} of episode {name}: write those of its "
            "episode to the store, or leave out the chunks that are not covered"
        )
