"""The contrastive loss: padding is masked, negatives are what they claim to be, both directions count."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.learning.scenes import square_table
from world2act_core.alignment.losses import MATCHINGS, info_nce, sequence_similarity
from world2act_core.alignment.sampling import SequenceSampler
from world2act_core.alignment.train import Stage1Config, masked_mse, train_alignment
from world2act_core.errors import World2ActError
from world2act_core.world_model.chunk_latents import InMemoryLatents


def sequences(b: int = 4, length: int = 5, size: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(b, length, size, generator=generator), torch.randn(b, length, size, generator=generator)


def test_similarity_is_the_mean_cosine_over_chunks():
    video, action = sequences()
    found = sequence_similarity(video, action, torch.ones(4, 5, dtype=torch.bool))
    by_hand = torch.stack([torch.cosine_similarity(video[1, t], action[2, t], dim=0) for t in range(5)]).mean()
    assert found[1, 2].item() == pytest.approx(by_hand.item(), abs=1e-6)


def test_marginal_similarity_is_the_mean_cosine_over_all_pairs_of_chunks():
    video, action = sequences()
    found = sequence_similarity(video, action, torch.ones(4, 5, dtype=torch.bool), "marginal")
    pairs = [torch.cosine_similarity(video[1, t], action[2, u], dim=0) for t in range(5) for u in range(5)]
    assert found[1, 2].item() == pytest.approx(torch.stack(pairs).mean().item(), abs=1e-6)


def test_global_similarity_is_the_cosine_of_the_mean_latents():
    video, action = sequences()
    found = sequence_similarity(video, action, torch.ones(4, 5, dtype=torch.bool), "global")
    by_hand = torch.cosine_similarity(video[1].mean(0), action[2].mean(0), dim=0)
    assert found[1, 2].item() == pytest.approx(by_hand.item(), abs=1e-6)


def test_only_matching_by_chunks_knows_their_order():
    video, action = sequences()
    mask = torch.ones(4, 5, dtype=torch.bool)
    for matching, keeps in (("chunks", False), ("marginal", True), ("global", True)):
        one, other = (sequence_similarity(video, a, mask, matching) for a in (action, action.flip(1)))
        assert torch.allclose(one, other, atol=1e-6) is keeps, matching


@pytest.mark.parametrize("matching", MATCHINGS)
def test_padding_has_no_say(matching):
    video, action = sequences()
    mask = torch.ones(4, 5, dtype=torch.bool)
    mask[1, 3:] = False
    before = sequence_similarity(video, action, mask, matching)
    video[1, 3:], action[1, 3:] = 100.0, -100.0
    assert torch.equal(sequence_similarity(video, action, mask, matching), before)


def test_padding_has_no_say_in_reconstruction():
    predicted, truth, valid = torch.zeros(3, 4, 7), torch.ones(3, 4, 7), torch.tensor([True, True, False])
    truth[2] = 1000.0
    assert masked_mse(predicted, truth, valid).item() == pytest.approx(1.0)


def test_info_nce_of_a_hand_computed_case():
    similarity = torch.tensor([[0.9, 0.1], [0.4, 0.8]])
    rows = [-math.log(math.exp(9) / (math.exp(9) + math.exp(1))), -math.log(math.exp(8) / (math.exp(4) + math.exp(8)))]
    columns = [
        -math.log(math.exp(9) / (math.exp(9) + math.exp(4))),
        -math.log(math.exp(8) / (math.exp(1) + math.exp(8))),
    ]
    expected = 0.5 * (sum(rows) / 2 + sum(columns) / 2)
    assert info_nce(similarity, 0.1).item() == pytest.approx(expected, rel=1e-5)


def test_both_directions_count():
    similarity = torch.tensor([[0.9, 0.1], [0.4, 0.8]])
    assert info_nce(similarity, 0.1) == pytest.approx(info_nce(similarity.T, 0.1))
    one_sided = torch.nn.functional.cross_entropy(similarity / 0.1, torch.arange(2))
    assert not math.isclose(info_nce(similarity, 0.1).item(), one_sided.item(), rel_tol=1e-3)


def test_one_direction_takes_the_anchors_of_one_side():
    similarity = torch.tensor([[0.9, 0.1], [0.4, 0.8]])
    video, action = (info_nce(similarity, 0.1, directions=side) for side in ("video", "action"))
    assert video == pytest.approx(torch.nn.functional.cross_entropy(similarity / 0.1, torch.arange(2)).item())
    assert action == pytest.approx(info_nce(similarity.T, 0.1, directions="video").item())
    assert info_nce(similarity, 0.1).item() == pytest.approx((video + action).item() / 2)


@pytest.mark.parametrize("setting", ["pooling", "matching", "directions"])
def test_an_ablation_that_is_not_known_is_refused_at_once(setting):
    with pytest.raises(World2ActError, match=f"{setting} is 'none', expected one of "):
        Stage1Config(**{setting: "none"})  # type: ignore[arg-type]


@pytest.mark.parametrize("changed", [{"matching": "global"}, {"matching": "marginal"}, {"directions": "video"}])
def test_an_ablation_is_one_value_that_changes_what_is_learned(tmp_path, changed):
    table = square_table(6)
    each_frame = torch.randn(len(table.frames), 8, 4, 4, generator=torch.Generator().manual_seed(0))
    latents = InMemoryLatents(each_frame, table.before, table.after)
    config = Stage1Config(steps=3, batch=4, length=6)
    plain, _ = train_alignment(table, latents, config, 0, tmp_path / "plain.pt")
    other, _ = train_alignment(table, latents, replace(config, **changed), 0, tmp_path / "other.pt")
    assert any(not torch.equal(a, b) for a, b in zip(plain.parameters(), other.parameters(), strict=True))


def test_held_out_figures_are_printed_while_it_trains_and_change_nothing(tmp_path, capsys):
    table = square_table(8)
    each_frame = torch.randn(len(table.frames), 8, 4, 4, generator=torch.Generator().manual_seed(0))
    latents = InMemoryLatents(each_frame, table.before, table.after)
    config = Stage1Config(steps=60, batch=4, length=6, measure_every=50)
    plain, _ = train_alignment(table, latents, config, 0, tmp_path / "plain.pt")
    capsys.readouterr()
    measured, history = train_alignment(table, latents, config, 0, tmp_path / "measured.pt", held_out=(table, latents))
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), measured.parameters(), strict=True))
    kept = {entry["step"]: entry for entry in history if "held_out_r2" in entry}
    said = re.findall(r"stage 1, step (\d+): held_out_r2 (\S+), held_out_retrieval (\S+)", capsys.readouterr().out)
    assert [int(step) for step, *_ in said] == list(kept) == [0, 50]
    for step, r2, retrieval in said:
        assert float(r2) == pytest.approx(kept[int(step)]["held_out_r2"], rel=0.01)
        assert float(retrieval) == pytest.approx(kept[int(step)]["held_out_retrieval"], abs=0.01)
    assert kept[50]["held_out_r2"] > kept[0]["held_out_r2"]  # it fits what it is measured on


def test_a_pair_that_is_not_allowed_is_no_negative():
    similarity = torch.tensor([[0.9, 0.89, 0.1], [0.2, 0.8, 0.1], [0.3, 0.1, 0.7]])
    allowed = torch.ones(3, 3, dtype=torch.bool)
    allowed[0, 1] = False
    without = info_nce(similarity, 0.1, allowed)
    assert without < info_nce(similarity, 0.1)
    similarity[0, 1] = 0.0
    assert info_nce(similarity, 0.1, allowed) == pytest.approx(without)


def test_what_is_no_anchor_is_nothing_but_a_negative():
    similarity = torch.tensor([[0.9, 0.1, 0.6], [0.4, 0.8, 0.3], [0.7, 0.2, 0.5]])
    rows = torch.nn.functional.cross_entropy(similarity[:2] / 0.1, torch.arange(2))
    columns = torch.nn.functional.cross_entropy(similarity.T[:2] / 0.1, torch.arange(2))
    assert info_nce(similarity, 0.1, anchors=2).item() == pytest.approx(0.5 * (rows + columns).item())
    similarity[2, 2] = -1.0  # its own pair is asked of nobody
    assert info_nce(similarity, 0.1, anchors=2).item() == pytest.approx(0.5 * (rows + columns).item())


@pytest.fixture(scope="module")
def two_skills():
    return square_table(24, prompts=("push right", "push down"))


def test_hard_negatives_are_other_demonstrations_of_the_same_skill(two_skills):
    sampler = SequenceSampler(two_skills, length=4, batch=8)
    for step in range(20):
        batch = sampler.draw(np.random.default_rng(step))
        episodes = two_skills.episode[batch.rows[:, 0]]
        skills = np.asarray([two_skills.prompts[row] for row in batch.rows[:, 0]])
        assert len(set(episodes)) == len(episodes), "an episode is its own negative"
        same_skill = (skills[:, None] == skills[None]) & (episodes[:, None] != episodes[None])
        assert np.array_equal(batch.hard, same_skill)


def test_a_quarter_of_the_anchors_negatives_are_hard(two_skills):
    sampler = SequenceSampler(two_skills, length=4, batch=9, hard_ratio=0.25)
    counts = {int(sampler.draw(np.random.default_rng(step)).hard[0].sum()) for step in range(20)}
    assert counts == {2}


def test_with_one_skill_all_negatives_are_hard():
    batch = SequenceSampler(square_table(12), length=4, batch=8).draw(np.random.default_rng(0))
    assert batch.hard[0, 1:].all()


def test_sequences_are_consecutive_chunks_of_one_episode_and_short_ones_are_masked(two_skills):
    batch = SequenceSampler(two_skills, length=9, batch=6).draw(np.random.default_rng(0))
    assert batch.mask.sum(1).tolist() == [6] * len(batch.rows)  # the toy episodes have six chunks
    for rows, mask in zip(batch.rows, batch.mask, strict=True):
        assert np.array_equal(np.diff(rows[mask]), np.ones(5))
        assert len(set(two_skills.episode[rows])) == 1


def test_chunks_without_actions_are_never_drawn():
    table = square_table(6)
    sampler = SequenceSampler(replace(table, labelled=table.episode % 2 == 0), length=4, batch=8)
    drawn = [sampler.draw(np.random.default_rng(step)).rows for step in range(10)]
    assert {int(table.episode[row]) for rows in drawn for row in rows.flat} == {0, 2, 4}


def test_one_episode_cannot_be_contrasted():
    with pytest.raises(ValueError, match="two labelled episodes"):
        SequenceSampler(square_table(1), length=4, batch=4)


def test_training_is_the_same_whatever_stands_in_the_padding(tmp_path, monkeypatch):
    table = square_table(6)  # six chunks an episode, so that a third of the sequences below is padding
    each_frame = torch.randn(len(table.frames), 8, 4, 4, generator=torch.Generator().manual_seed(0))
    latents = InMemoryLatents(each_frame, table.before, table.after)
    config = Stage1Config(steps=3, batch=4, length=9)
    draw = SequenceSampler.draw

    def draw_with_rubbish(self, rng):
        batch = draw(self, rng)
        return replace(batch, rows=np.where(batch.mask, batch.rows, 0))

    repeated, _ = train_alignment(table, latents, config, 0, tmp_path / "repeated.pt")
    monkeypatch.setattr(SequenceSampler, "draw", draw_with_rubbish)
    rubbish, _ = train_alignment(table, latents, config, 0, tmp_path / "rubbish.pt")
    other = rubbish.state_dict()
    for name, value in repeated.state_dict().items():
        assert torch.allclose(value, other[name], atol=1e-6), name
