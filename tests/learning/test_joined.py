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


def test_rollouts_and_videos_never_count_as_one_episode() -> None:
    one, other = some(0), some(1)
    both = one.with_(other)
    assert both.episode.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert torch.equal(both.base[4:], other.base) and torch.equal(both.target[:4], one.target)
    assert both.wanted is not None and one.wanted is not None and torch.equal(both.wanted[:4], one.wanted)


@pytest.mark.parametrize("over", ["chunks", "sequences"])
@pytest.mark.parametrize(("share", "times"), [(0.5, 1), (0.75, 3), (0.01, 1)])
def test_a_share_of_what_is_drawn_falls_on_the_demonstrations(over: str, share: float, times: int) -> None:
    both = some(0).with_(some(1).for_a_share_of(share, some(0)))
    assert both.drawn.tolist() == 4 * [1] + 4 * [times]
    alignment, used = Alignment(AdapterConfig((4, 2, 2))), torch.ones(7)
    config = Stage2Config(batch=4000, over=over, length=2)
    rows = Objective(alignment, both, (-used, used), used, config).draw(np.random.default_rng(0))
    assert (rows >= 4).float().mean().item() == pytest.approx(times / (1 + times), abs=0.04)
    assert set(rows.tolist()) == set(range(8)), "and everything is drawn"
    if over == "sequences":
        assert torch.equal(rows[1::2], rows[::2] + 1), "still one after the other"
