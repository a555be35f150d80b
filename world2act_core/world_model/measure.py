"""How well a world model imagines what really happened: latent errors by horizon, drift over whole tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch

from world2act_core.episodes.chunks import ChunkTable
from world2act_core.types import Array
from world2act_core.world_model.composition import Planned, imagine_skills
from world2act_core.world_model.protocol import WorldModel

BATCH = 64


@dataclass(frozen=True)
class ErrorCurve:
    """Mean squared latent errors by horizon.

    Attributes:
        model, copy: ``(K,)`` of the model and of copying the frame from which it started; entry k is chunk k + 1.
        count: ``(K,)`` how many imaginations reach so far.
    """

    model: Array
    copy: Array
    count: Array

    @property
    def gain(self) -> Array:
        """``(K,)`` share by which the model's error is below that of copying."""
        return 1 - self.model / self.copy


def horizon_errors(model: WorldModel, table: ChunkTable, chunks: int = 8) -> ErrorCurve:
    """From every chunk of a table that is followed by enough others: ``chunks`` chunks ahead, skill by skill.

    The model is told the skills that then were carried out and how long each took, as a plan would.
    """
    rows = [row for row in range(len(table)) if len(followers(table, row, chunks)) == chunks]
    return _errors(model, table, [(row, plan_from(table, row, chunks)) for row in rows])


def task_drift(model: WorldModel, table: ChunkTable, whole: Sequence[str] | None = None) -> ErrorCurve:
    """From the first frame of every episode to its end, by plan; entry k is over the episodes that last so long.

    Args:
        whole: the instruction of each episode: the model is then asked for the whole task at once, as one skill. None
            asks it skill by skill.
    """
    first = [int(np.flatnonzero(table.episode == episode)[0]) for episode in range(len(table.episode_ids))]
    plans = []
    for episode, row in enumerate(first):
        length = len(followers(table, row, len(table)))
        plan = plan_from(table, row, length) if whole is None else [Planned(whole[episode], length)]
        plans.append((row, plan))
    return _errors(model, table, plans)


def imagined_and_real(
    model: WorldModel, table: ChunkTable, asked: Sequence[tuple[int, Sequence[Planned]]]
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """For each (row, plan): imagined and real latents ``(C, T + 1, H, W)``, both beginning at the row's first frame."""
    for begin in range(0, len(asked), BATCH):
        part = asked[begin : begin + BATCH]
        rows = [row for row, _ in part]
        seen = np.stack([table.frames[table.previous[rows]], table.frames[table.before[rows]]], 1)
        plans = [plan for _, plan in part]
        latents, mask = imagine_skills(model, torch.from_numpy(seen), plans, [int(table.clock[row]) for row in rows])
        for (row, _), imagined, there in zip(part, latents, mask, strict=True):
            length = int(there.sum())
            follow = followers(table, row, length)
            frames = table.frames[[int(table.before[row]), *(int(table.after[each]) for each in follow)]]
            real = model.encode(torch.from_numpy(frames)[:, None])[:, :, 0].transpose(0, 1)
            yield imagined[:, : length + 1], real


def _errors(model: WorldModel, table: ChunkTable, asked: Sequence[tuple[int, Sequence[Planned]]]) -> ErrorCurve:
    longest = max(sum(skill.chunks for skill in plan) for _, plan in asked)
    sums, count = np.zeros((2, longest)), np.zeros(longest)
    for imagined, real in imagined_and_real(model, table, asked):
        off = (imagined - real).square().mean((0, 2, 3))[1:].numpy()
        still = (real[:, :1] - real).square().mean((0, 2, 3))[1:].numpy()
        sums[0, : len(off)] += off
        sums[1, : len(off)] += still
        count[: len(off)] += 1
    return ErrorCurve(sums[0] / count, sums[1] / count, count)


def followers(table: ChunkTable, row: int, most: int) -> list[int]:
    """A row and those that come next in the same episode without a gap, at most so many."""
    rows = [row]
    while len(rows) < most and rows[-1] + 1 < len(table) and table.after[rows[-1]] == table.before[rows[-1] + 1]:
        rows.append(rows[-1] + 1)
    return rows


def plan_from(table: ChunkTable, row: int, chunks: int) -> list[Planned]:
    """The skills that were carried out from a row on. A skill that begins anew under the same prompt is another one."""
    rows = followers(table, row, chunks)
    begun = np.cumsum([table.clock[each] == 0 for each in rows])
    parts = groupby(zip(begun, rows, strict=True), key=lambda pair: pair[0])
    plan = []
    for _, part in parts:
        members = [each for _, each in part]
        plan.append(Planned(table.prompts[members[0]], len(members)))
    return plan
