"""From where imagination starts, and which imagined chunk a real one meets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.learning.scenes import EMBODIMENT, SIZE, STREAMS, square_episode, square_table
from world2act_core.episodes.chunks import ChunkTable, chunk_table
from world2act_core.errors import World2ActError
from world2act_core.types import Skill
from world2act_core.world_model.chunk_latents import imagined_latents
from world2act_core.world_model.compact import CompactWorldModel, CompactWorldModelConfig
from world2act_core.world_model.matching import ImaginationConfig, progress, targets

M, CHUNKS, FIRST = EMBODIMENT.chunk_length, 6, 2  # the second skill begins at chunk 2


@pytest.fixture(scope="module")
def table() -> ChunkTable:
    skills = (Skill("reach", 0, FIRST * M), Skill("push", FIRST * M, CHUNKS * M))
    made = [replace(square_episode(index, chunks=CHUNKS), skills=skills) for index in range(3)]
    return chunk_table(made, EMBODIMENT, ("agentview",), STREAMS, SIZE)


@pytest.fixture(scope="module")
def model() -> CompactWorldModel:
    torch.manual_seed(0)
    made = CompactWorldModel(CompactWorldModelConfig(image_size=SIZE, views=1, width=8)).eval()
    for parameter in made.dynamics.parameters():  # a new model imagines that nothing moves
        parameter.data += 0.05 * torch.randn_like(parameter)
    made.codec.fit(torch.from_numpy(square_table(24).frames))
    return made


def met(model: CompactWorldModel, table: ChunkTable, **config: object) -> tuple[torch.Tensor, torch.Tensor]:
    return targets(model, table, ImaginationConfig(**config)).pair(np.arange(len(table)))  # type: ignore[arg-type]


def test_by_chunk_is_one_chunk_ahead_of_every_real_frame(model, table) -> None:
    for ours, reference in zip(
        met(model, table), imagined_latents(model, table).pair(np.arange(len(table))), strict=True
    ):
        assert torch.equal(ours, reference)


@pytest.mark.parametrize(("start", "anew"), [("skill", [0, FIRST]), ("episode", [0])])
def test_imagination_begins_at_real_frames_and_goes_on_by_itself(model, table, start, anew) -> None:
    real = model.encode_frames(torch.from_numpy(table.frames))[table.before]
    before, after = met(model, table, start=start)
    for row in range(len(table)):
        chunk = row % CHUNKS
        assert torch.equal(before[row], real[row]) == (chunk in anew), f"chunk {chunk}"
        if chunk + 1 < CHUNKS and chunk + 1 not in anew:
            assert torch.equal(after[row], before[row + 1])


def test_episodes_do_not_mix(model, table) -> None:
    alone = table.select(np.flatnonzero(table.episode == 1))
    for all_of_them, one in zip(met(model, table, start="episode"), met(model, alone, start="episode"), strict=True):
        assert torch.allclose(all_of_them[table.episode == 1], one, atol=1e-5)


def test_progress_follows_a_slow_and_a_fast_rollout() -> None:
    imagined = torch.arange(6.0).view(6, 1, 1, 1)
    slow = torch.tensor([0, 0.1, 0.9, 1.1, 2.0]).view(-1, 1, 1, 1)
    fast = torch.tensor([0, 2.1, 3.9, 5.0]).view(-1, 1, 1, 1)
    assert progress(imagined, slow, 2).tolist() == [0, 0, 1, 1, 2]
    assert progress(imagined, fast, 2).tolist() == [0, 2, 4, 5]


def test_progress_never_goes_back_nor_leaps() -> None:
    imagined = torch.arange(6.0).view(6, 1, 1, 1)
    wild = torch.tensor([0, 5.0, 0.0, 5.0]).view(-1, 1, 1, 1)
    assert progress(imagined, wild, 2).tolist() == [0, 2, 2, 4]


def test_a_rollout_that_stands_still_is_led_by_the_first_chunk(model, table) -> None:
    still = replace(table, before=np.repeat(table.before[::CHUNKS], CHUNKS))
    real = model.encode_frames(torch.from_numpy(table.frames))
    before, _ = met(model, still, start="skill", match="progress")
    assert torch.allclose(before, real[still.before], atol=1e-5)


@pytest.mark.parametrize("wrong", [{"start": "task"}, {"match": "time"}, {"leap": 0}])
def test_unknown_settings_are_refused(wrong) -> None:
    with pytest.raises(World2ActError, match=next(iter(wrong))):
        ImaginationConfig(**wrong)
