"""Batches of Stage 1: sequences of consecutive chunks, padded and masked, with negatives that are what they claim."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from world2act_core.episodes.chunks import ChunkTable
from world2act_core.types import Array


@dataclass(frozen=True)
class SequenceBatch:
    """``B`` sequences, each from one skill of one episode, the first being the anchor.

    Attributes:
        rows: ``(B, L)`` rows of the chunk table; padding repeats the sequence's last row.
        mask: ``(B, L)`` bool, False where padded.
        hard: ``(B, B)`` bool, True where two sequences are demonstrations of the same skill in different episodes.
    """

    rows: Array
    mask: Array
    hard: Array


class SequenceSampler:
    """Draws batches of labelled sequences.

    Negatives come in two kinds (World2Act, section 3.2): *hard* ones are other demonstrations of the anchor's skill,
    *easy* ones are of other skills. ``hard_ratio`` is the share of hard negatives among the anchor's, as far
    as the table allows: with one skill all negatives are hard. No hard negative shares the anchor's
    episode.
    """

    def __init__(self, table: ChunkTable, length: int, batch: int, hard_ratio: float = 0.25) -> None:
        self.length, self.batch, self.hard_ratio = length, batch, hard_ratio
        runs: dict[tuple[int, str], list[int]] = {}  # one skill of one episode each
        for row in np.flatnonzero(table.labelled):
            runs.setdefault((int(table.episode[row]), table.prompts[row]), []).append(int(row))
        if len({episode for episode, _ in runs}) < 2:
            raise ValueError("contrast needs at least two labelled episodes")
        self._rows = np.concatenate([np.asarray(rows, np.int64) for rows in runs.values()])
        self._length_of = np.asarray([len(rows) for rows in runs.values()])
        self._first_of = np.cumsum(self._length_of) - self._length_of
        self._episode = np.asarray([episode for episode, _ in runs])
        self._skill = np.asarray([skill for _, skill in runs])

    def draw(self, rng: np.random.Generator) -> SequenceBatch:
        anchor = int(rng.integers(len(self._length_of)))
        same_skill = self._skill == self._skill[anchor]
        same = np.flatnonzero(same_skill & (self._episode != self._episode[anchor]))
        other = np.flatnonzero(~same_skill)
        wanted = min(self.batch - 1, len(same) + len(other))
        hard = min(len(same), max(round(self.hard_ratio * wanted), wanted - len(other)))
        negatives = [rng.choice(same, hard, replace=False), rng.choice(other, wanted - hard, replace=False)]
        return self._sequences([anchor, *(int(index) for part in negatives for index in part)], rng)

    def _sequences(self, chosen: list[int], rng: np.random.Generator) -> SequenceBatch:
        lengths = self._length_of[chosen]
        first = rng.integers(np.maximum(1, lengths - self.length + 1))
        place = first[:, None] + np.arange(self.length)  # of each chunk in its run
        mask = place < lengths[:, None]
        rows = self._rows[self._first_of[chosen][:, None] + np.minimum(place, lengths[:, None] - 1)]
        skills, episodes = self._skill[chosen], self._episode[chosen]
        hard = (skills[:, None] == skills[None]) & (episodes[:, None] != episodes[None])
        return SequenceBatch(rows, mask, hard)
