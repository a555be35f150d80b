"""Tables put together: each chunk still lies between its own frames, in its own episode."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.learning.scenes import square_table
from world2act_core.alignment.adapters import AdapterConfig, Alignment
from world2act_core.episodes.chunks import joined
from world2act_core.residual.train import Objective, PostTrainingSet, Stage2Config


def test_a_joined_table_shows_every_chunk_as_its_own_table_did() -> None:
    parts = [square_table(3), square_table(5).select(np.arange(4, 9))]
    whole = joined(parts)
    assert len(whole) == sum(map(len, parts))
    begin = 0
    for part in parts:
        rows = slice(begin, begin + len(part))
        for name in ("before", "after", "previous"):
            assert np.array_equal(whole.frames[getattr(whole, name)[rows]], part.frames[getattr(part, name)])
        assert [whole.episode_ids[e] for e in whole.episode[rows]] == [part.episode_ids[e] for e in part.episode]
        assert whole.prompts[rows] == part.prompts
        assert np.array_equal(whole.actions[rows], part.actions)
        begin += len(part)


def some(seed: int) -> PostTrainingSet:
    """Two rollouts of two chunks."""
    draw = torch.Generator().manual_seed(seed)
    frames, proprio, base, target = (torch.rand(shape, generator=draw)
                                     for shape in ((4, 8, 8, 3), (4, 5), (4, 4, 7), (4, 32)))  # fmt: skip
    return PostTrainingSet(frames, proprio, base, target, torch.tensor([0, 0, 1, 1]), wanted=base + 1)


def of_chunks(count: int) -> PostTrainingSet:
    """Rollouts of four chunks each, of which only the number counts."""
    nothing = torch.zeros(count, 1)
    chunk = torch.zeros(count, 4, 7)
    return PostTrainingSet(nothing, nothing, chunk, torch.zeros(count, 32), torch.arange(count) // 4, wanted=chunk)


def drawn_from(data: PostTrainingSet, over: str, batch: int) -> torch.Tensor:
    """The rows of one batch, of sequences of two."""
    alignment, used = Alignment(AdapterConfig((4, 2, 2))), torch.ones(7)
    config = Stage2Config(batch=batch, over=over, length=2)
    return Objective(alignment, data, (-used, used), used, config).draw(np.random.default_rng(0))


def test_rollouts_and_videos_never_count_as_one_episode() -> None:
    one, other = some(0), some(1)
    both = one.with_(other)
    assert both.episode.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert torch.equal(both.base[4:], other.base) and torch.equal(both.target[:4], one.target)
    assert both.wanted is not None and one.wanted is not None and torch.equal(both.wanted[:4], one.wanted)


@pytest.mark.parametrize("over", ["chunks", "sequences"])
@pytest.mark.parametrize(
    ("share", "rollouts", "demonstrations"), [(0.5, 1, 1), (0.75, 1, 3), (0.3, 2, 1), (0.01, 99, 1)]
)
def test_a_share_of_what_is_drawn_falls_on_the_demonstrations(
    over: str, share: float, rollouts: int, demonstrations: int
) -> None:
    both = some(0).with_a_share_of(share, some(1))
    assert both.drawn.tolist() == 4 * [rollouts] + 4 * [demonstrations]
    rows = drawn_from(both, over, batch=4000)
    drawn = demonstrations / (rollouts + demonstrations)
    assert (rows >= 4).float().mean().item() == pytest.approx(drawn, abs=0.04)
    assert drawn == pytest.approx(share, abs=0.04), "as near as whole numbers allow"
    if share > 0.1:
        assert set(rows.tolist()) == set(range(8)), "and everything is drawn"
    if over == "sequences":
        assert torch.equal(rows[1::2], rows[::2] + 1), "still one after the other"


def test_demonstrations_that_outnumber_the_logs_get_no_more_than_their_share() -> None:
    both = of_chunks(480).with_a_share_of(0.3, of_chunks(1500))
    assert both.drawn[480:].sum().item() / both.drawn.sum().item() == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize(
    ("rollouts", "demonstrations", "times"),
    [(6899, 212, 14), (7415, 227, 14), (10326, 356, 12), (416, 212, 1), (595, 356, 1), (832, 212, 2)],
)
def test_what_the_study_draws_is_what_it_always_drew(rollouts: int, demonstrations: int, times: int) -> None:
    """Chunks of its cells, all together or rollouts alone: demonstrations are repeated, nothing else is."""
    both = of_chunks(rollouts).with_a_share_of(0.3, of_chunks(demonstrations))
    assert both.drawn.tolist() == rollouts * [1] + demonstrations * [times]


def test_draws_of_a_seed_stay_what_they_were() -> None:
    both = of_chunks(24).with_a_share_of(0.3, of_chunks(4))
    assert drawn_from(both, "chunks", batch=12).tolist() == [26, 22, 18, 9, 11, 1, 2, 0, 6, 25, 23, 26]
    assert drawn_from(both, "sequences", batch=12).tolist() == [24, 25, 22, 23, 18, 19, 9, 10, 10, 11, 1, 2]
