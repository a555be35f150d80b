"""Stage 1 reads actions from video; Stage 2 moves the base towards what the world model imagines, and no further."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.learning.scenes import EMBODIMENT, SIZE, STREAMS, square_table
from world2act_core.alignment.train import (
    Stage1Config,
    action_r2,
    retrieval_accuracy,
    train_alignment,
    video_latents,
)
from world2act_core.errors import ContractError, RunError, World2ActError
from world2act_core.networks.codec import PatchCodec
from world2act_core.policies.address import open_policy
from world2act_core.policies.compact import CompactConfig, load_compact, new_network, save_compact
from world2act_core.residual.files import load_residual, save_residual
from world2act_core.residual.network import Residual, ResidualConfig
from world2act_core.residual.policy import PostTrainedPolicy
from world2act_core.residual.train import EasyNegatives, Objective, PostTrainingSet, Stage2Config, train_residual
from world2act_core.runs import file_digest
from world2act_core.types import Observation
from world2act_core.world_model.chunk_latents import InMemoryLatents

USED = torch.tensor([True, True, False, False, False, False, False])
SPAN = (-torch.ones(7), torch.ones(7))


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    torch.set_num_threads(1)
    table = square_table(40)
    codec = PatchCodec(SIZE)
    codec.fit(torch.from_numpy(table.frames))
    latents = InMemoryLatents(codec.encode(torch.from_numpy(table.frames)), table.before, table.after)
    config = Stage1Config(steps=250, batch=8, length=4)
    alignment, history = train_alignment(table, latents, config, 0, tmp_path_factory.mktemp("s1") / "checkpoint.pt")
    return table, latents, alignment, history


BASE = CompactConfig(cameras=("agentview",), streams=STREAMS, image_size=SIZE, features=16)


@pytest.fixture(scope="module")
def base_file(tmp_path_factory):
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("base") / "policy.pt"
    save_compact(path, new_network(BASE, EMBODIMENT), BASE, EMBODIMENT)
    return path


def post_training_set(learned) -> PostTrainingSet:
    """A base that does nothing, and targets that are what really happened."""
    table, latents, alignment, _ = learned
    return PostTrainingSet(
        frames=torch.from_numpy(table.frames[table.before]),
        proprio=torch.from_numpy(table.proprio),
        base=torch.zeros(len(table), 4, 7),
        target=video_latents(alignment, latents, np.arange(len(table))),
        episode=torch.from_numpy(table.episode),
    )


def test_chunks_of_one_rollout_are_no_negatives(learned, tmp_path):
    """Positives share their initial condition; the contrast of a single rollout has nothing to push away."""
    _, _, alignment, _ = learned
    data = post_training_set(learned)
    contrasts = []
    for index, episode in enumerate((torch.zeros_like(data.episode), data.episode)):
        single = replace(data, episode=episode)
        config, checkpoint = Stage2Config(steps=1), tmp_path / f"{index}.pt"
        history = train_residual(new_residual(alignment), alignment, single, SPAN, config, 0, checkpoint)
        contrasts.append(history[0]["contrast"])
    assert contrasts[0] == 0.0
    assert contrasts[1] > 1.0


def contrast_beside(learned, easy: EasyNegatives | None, **config) -> float:
    """The contrast of one rollout, whose own chunks are no negatives, beside negatives from other tasks."""
    _, _, alignment, _ = learned
    data = post_training_set(learned)
    single = replace(data, episode=torch.zeros_like(data.episode))
    objective = Objective(alignment, single, SPAN, USED, Stage2Config(**config), easy)
    rows = objective.draw(np.random.default_rng(0))
    return objective.losses(rows, torch.zeros_like(data.base[rows]))["contrast"].item()


def test_chunks_of_other_tasks_are_negatives_and_worse_ones_the_more_they_resemble_ours(learned):
    _, _, alignment, _ = learned
    z_a = alignment.action(torch.zeros(1, 4, 7)).detach()
    far, near = (EasyNegatives(direction.expand(3, -1), direction.expand(3, -1)) for direction in (-z_a, z_a))
    assert contrast_beside(learned, None) == 0.0
    assert 0.0 < contrast_beside(learned, far) < contrast_beside(learned, near)


def test_single_chunks_of_other_tasks_are_refused_beside_sequences(learned):
    none = EasyNegatives(torch.zeros(1, 32), torch.zeros(1, 32))
    with pytest.raises(World2ActError, match="let the contrast be over chunks"):
        contrast_beside(learned, none, over="sequences")


def toy_codec() -> PatchCodec:
    codec = PatchCodec(SIZE)
    codec.fit(torch.from_numpy(square_table(40).frames))
    return codec


def new_residual(alignment, **config) -> Residual:
    """It may move x and y only, the dimensions that the toy world's pushes use."""
    torch.manual_seed(0)
    return Residual(ResidualConfig(**config), alignment, 5, USED, toy_codec())


def final_actions(residual: Residual, data: PostTrainingSet) -> torch.Tensor:
    with torch.no_grad():
        return data.base + residual(data.base, data.proprio, residual.see(data.frames))


def frames(count: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, SIZE, SIZE, 3), dtype=torch.uint8)


def shake(residual: Residual, scale: float) -> None:
    """Make an untrained residual do something."""
    with torch.no_grad():
        for parameter in residual.head[-1].parameters():
            parameter.normal_(std=scale)


def observation(seed: int = 0) -> Observation:
    rng = np.random.default_rng(seed)
    state = {name: rng.standard_normal(stream.size).astype(np.float32) for name, stream in EMBODIMENT.state.items()}
    return Observation(0.5, {"agentview": rng.integers(0, 255, (SIZE, SIZE, 3)).astype(np.uint8)}, state)


def test_stage_1_reads_actions_from_unseen_video(learned):
    _, _, alignment, _ = learned
    unseen = square_table(60).select(np.arange(40 * 6, 60 * 6))
    codec = PatchCodec(SIZE)
    codec.fit(torch.from_numpy(square_table(40).frames))
    latents = InMemoryLatents(codec.encode(torch.from_numpy(unseen.frames)), unseen.before, unseen.after)
    assert action_r2(alignment, unseen, latents)["r2"] > 0.2
    assert retrieval_accuracy(alignment, unseen, latents) > 2 / 16  # twice what guessing gives


def test_stage_1_losses_fall(learned):
    *_, history = learned
    for term in ("reconstruction", "decode"):
        assert history[-1][term] < 0.5 * history[0][term]


def test_an_untrained_residual_leaves_the_base_alone(learned):
    _, _, alignment, _ = learned
    residual = new_residual(alignment)
    correction = residual(torch.rand(3, 4, 7), torch.rand(3, 5), residual.see(frames(3)))
    assert not correction.any()


@pytest.mark.parametrize(("trunk", "correction"), [("tokens", "added"), ("flat", "added"), ("tokens", "instead")])
def test_stage_2_moves_the_base_towards_the_imagined_latents(learned, tmp_path, trunk, correction):
    _, _, alignment, _ = learned
    residual, data = new_residual(alignment, trunk=trunk, correction=correction), post_training_set(learned)
    residual.standardise.fit(data.proprio)
    history = train_residual(residual, alignment, data, SPAN, Stage2Config(steps=150), 0, tmp_path / "c.pt")
    assert history[-1]["cosine"] > history[0]["cosine"] + 0.15
    expected = torch.tensor([0.7, 0.0])  # what a push is on average; the rest of it no frame foretells
    before, after = data.base[..., :2] - expected, final_actions(residual, data)[..., :2] - expected
    assert after.square().mean() < 0.25 * before.square().mean()


def test_what_stands_instead_of_the_base_hardly_follows_it_where_it_goes_astray(learned, tmp_path):
    _, _, alignment, _ = learned
    data, followed = post_training_set(learned), []
    astray = replace(
        data, base=data.base + 0.4 * torch.randn(data.base.shape, generator=torch.Generator().manual_seed(1))
    )
    for correction in ("added", "instead"):
        residual = new_residual(alignment, trunk="flat", correction=correction)
        residual.standardise.fit(data.proprio)
        checkpoint = tmp_path / f"{correction}.pt"
        train_residual(residual, alignment, data, SPAN, Stage2Config(steps=150), 0, checkpoint)
        moved = final_actions(residual, astray)[..., USED] - final_actions(residual, data)[..., USED]
        followed.append(moved.abs().mean() / (astray.base - data.base)[..., USED].abs().mean())
    added, instead = followed
    assert added > 0.8 and instead < 0.3, followed


def test_targets_of_other_chunks_would_not_move_the_base_so(learned, tmp_path):
    """The test above must notice where the targets lead: turned by a quarter, the pushes turn too."""
    table, _, alignment, _ = learned
    residual, data = new_residual(alignment), post_training_set(learned)
    residual.standardise.fit(data.proprio)
    turned = torch.from_numpy(table.actions.copy())
    turned[..., [0, 1]] = turned[..., [1, 0]]
    with torch.no_grad():
        data = replace(data, target=alignment.action(turned))
    train_residual(residual, alignment, data, SPAN, Stage2Config(steps=60), 0, tmp_path / "c.pt")
    pushes = final_actions(residual, data)[..., :2].mean((0, 1))
    assert pushes[1] > 0.4
    assert abs(pushes[0]) < 0.3


def test_stage_2_trains_the_residual_only(learned, tmp_path):
    _, _, alignment, _ = learned
    before = {name: value.clone() for name, value in alignment.state_dict().items()}
    residual = new_residual(alignment)
    frozen = {name: value.clone() for name, value in residual.action.state_dict().items()}
    train_residual(residual, alignment, post_training_set(learned), SPAN, Stage2Config(steps=5), 0, tmp_path / "c.pt")
    assert all(torch.equal(value, before[name]) for name, value in alignment.state_dict().items())
    assert all(torch.equal(value, frozen[name]) for name, value in residual.action.state_dict().items())


@pytest.mark.parametrize("correction", ["added", "instead"])
def test_unused_action_dimensions_are_never_touched(learned, tmp_path, correction):
    _, _, alignment, _ = learned
    residual, data = new_residual(alignment, correction=correction), post_training_set(learned)
    train_residual(residual, alignment, data, SPAN, Stage2Config(steps=30), 0, tmp_path / "c.pt")
    with torch.no_grad():
        correction = residual(data.base, data.proprio, residual.see(data.frames))
    assert correction[..., USED].all()
    assert not correction[..., ~USED].any()


def test_a_saturated_action_comes_back_and_one_wanted_beyond_the_range_stays_at_its_end(learned, tmp_path):
    """The base stands at the end of a range that the pushes in x exceed; those in y are wanted around 0."""
    _, _, alignment, _ = learned
    end = 0.3 * torch.ones(7)
    residual, data = new_residual(alignment), post_training_set(learned)
    data = replace(data, base=end.expand_as(data.base))
    residual.standardise.fit(data.proprio)
    config = Stage2Config(steps=100, contrast=0.0)
    train_residual(residual, alignment, data, (-end, end), config, 0, tmp_path / "c.pt")
    x, y = final_actions(residual, data)[..., :2].mean((0, 1))
    assert abs(y) < 0.1
    assert x.item() == pytest.approx(0.3, abs=0.05)  # a target that is not clamped would ask for 0.7


def test_the_contrast_does_not_push_actions_out_of_the_range(learned, tmp_path):
    """Beyond the range it sees no difference, so only the decoded targets have a say there."""
    _, _, alignment, _ = learned
    end = 0.3 * torch.ones(7)
    residual, data = new_residual(alignment), post_training_set(learned)
    residual.standardise.fit(data.proprio)
    train_residual(residual, alignment, data, (-end, end), Stage2Config(steps=100), 0, tmp_path / "c.pt")
    assert final_actions(residual, data).abs().quantile(0.99) < 0.6  # above 1 for a contrast that sees beyond


def test_the_post_trained_policy_stays_in_range_and_at_strength_0_is_the_base_bit_for_bit(learned, base_file):
    _, _, alignment, _ = learned
    base = load_compact(base_file, EMBODIMENT)
    residual = new_residual(alignment).eval()
    shake(residual, 5.0)
    seen = observation()
    plain = base.act(seen, "push right").actions
    assert np.array_equal(PostTrainedPolicy(base, residual, EMBODIMENT, strength=0.0).act(seen, "").actions, plain)
    moved = PostTrainedPolicy(base, residual, EMBODIMENT).act(seen, "push right")
    EMBODIMENT.check_chunk(moved)
    assert not np.array_equal(moved.actions, plain)
    assert np.abs(moved.actions).max() <= 1.0
    assert moved.stamp == 0.5


def test_no_correction_is_larger_than_the_bound(learned):
    _, _, alignment, _ = learned
    given = torch.rand(8, 4, 7), torch.rand(8, 5)
    sizes = []
    for bound in (0.0, 0.1):
        residual = Residual(ResidualConfig(bound=bound), alignment, 5, USED, toy_codec()).eval()
        shake(residual, 5.0)
        sizes.append(residual(*given, residual.see(frames(8))).abs().max().item())
    assert sizes[1] < 0.1001 and sizes[0] > 0.2


def test_sequences_of_the_contrast_are_consecutive_chunks_of_one_rollout(learned):
    _, _, alignment, _ = learned
    data = post_training_set(learned)
    config = Stage2Config(over="sequences", length=4, batch=32)
    rows = Objective(alignment, data, SPAN, USED, config).draw(np.random.default_rng(0)).unflatten(0, (-1, 4))
    assert rows.shape == (8, 4)
    assert (rows.diff(dim=1) == 1).all()
    assert (data.episode[rows] == data.episode[rows][:, :1]).all()


def test_the_contrast_over_sequences_is_lowest_for_the_actions_that_were_imagined(learned):
    table, _, alignment, _ = learned
    data = post_training_set(learned)
    with torch.no_grad():
        data = replace(data, target=alignment.action(torch.from_numpy(table.actions)))
    objective = Objective(alignment, data, SPAN, USED, Stage2Config(over="sequences", length=6, batch=48))
    rows = objective.draw(np.random.default_rng(0))
    true, none = torch.from_numpy(table.actions)[rows], torch.zeros(48, 4, 7)
    found = [objective.losses(rows, actions - data.base[rows])["contrast"] for actions in (true, none)]
    assert found[0] < found[1]


def test_the_manifold_term_is_small_for_actions_that_the_decoder_can_say(learned):
    table, _, alignment, _ = learned
    data = post_training_set(learned)
    objective = Objective(alignment, data, SPAN, USED, Stage2Config(manifold=1.0))
    rows = torch.arange(len(table))
    said = torch.from_numpy(table.actions)
    noise = torch.where(torch.arange(4)[:, None] % 2 == 0, 1.0, -1.0).expand(len(table), 4, 7)  # to and fro in a chunk
    terms = [objective.losses(rows, actions - data.base) for actions in (said, noise)]
    assert terms[0]["manifold"] < 0.2 * terms[1]["manifold"]
    assert terms[1]["loss"] - terms[1]["decode"] > terms[1]["manifold"]


def test_base_and_residual_open_by_one_address(learned, base_file, tmp_path):
    _, _, alignment, _ = learned
    residual = new_residual(alignment).eval()
    shake(residual, 1.0)
    save_residual(
        tmp_path / "residual.pt", residual, ResidualConfig(), alignment, file_digest(base_file), BASE, EMBODIMENT
    )
    opened = open_policy(f"post-trained:{base_file},{tmp_path / 'residual.pt'}", EMBODIMENT)
    expected = PostTrainedPolicy(load_compact(base_file, EMBODIMENT), residual, EMBODIMENT)
    assert np.array_equal(opened.act(observation(), "").actions, expected.act(observation(), "").actions)


SHAPES = [*({"encoder": name} for name in ResidualConfig.encoders), {"trunk": "flat", "correction": "instead"}]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_residual_survives_its_file_and_knows_its_base(learned, base_file, tmp_path, shape):
    _, _, alignment, _ = learned
    config = ResidualConfig(**shape)
    residual = Residual(config, alignment, 5, USED, toy_codec()).eval()
    shake(residual, 1.0)
    save_residual(tmp_path / "residual.pt", residual, config, alignment, file_digest(base_file), BASE, EMBODIMENT)
    again, _ = load_residual(tmp_path / "residual.pt", file_digest(base_file), EMBODIMENT)
    given = torch.rand(2, 4, 7), torch.rand(2, 5), residual.see(frames(2))
    assert torch.equal(again(*given), residual(*given))
    (tmp_path / "other.pt").write_bytes(base_file.read_bytes() + b"x")
    with pytest.raises(RunError, match="another base policy"):
        load_residual(tmp_path / "residual.pt", file_digest(tmp_path / "other.pt"), EMBODIMENT)


def test_a_policy_of_another_embodiment_is_refused(base_file, tmp_path):
    saved = torch.load(base_file, weights_only=True)
    torch.save({**saved, "embodiment": "franka_fr3"}, tmp_path / "policy.pt")
    with pytest.raises(ContractError, match="trained for embodiment franka_fr3, not for libero_panda"):
        load_compact(tmp_path / "policy.pt", EMBODIMENT)
