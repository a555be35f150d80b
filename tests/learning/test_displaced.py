"""An arm commanded by positions: adapters and residual learn how far it goes, and the policy says where to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.learning.scenes import EMBODIMENT, SIZE, STREAMS, square_episode, square_table
from tests.residual.made import observation
from world2act_core.alignment.adapters import AdapterConfig, Alignment, load_alignment, save_alignment
from world2act_core.alignment.states import StateDynamicsConfig, train_state_dynamics
from world2act_core.alignment.train import Stage1Config, action_r2, train_alignment, video_latents
from world2act_core.embodiment import load_embodiment
from world2act_core.embodiment.displacement import Displacement, standing
from world2act_core.episodes.chunks import ChunkTable, chunk_table, displaced, joined, split_episodes
from world2act_core.policies.compact import CompactConfig, CompactPolicy, new_network
from world2act_core.recipes.logged_stages import LoggedStages
from world2act_core.recipes.settings import Recipe
from world2act_core.recipes.trainer import Trainer, frozen_compact, post_training_set
from world2act_core.residual.network import Residual, ResidualConfig
from world2act_core.residual.policy import PostTrainedPolicy
from world2act_core.types import Episode
from world2act_core.world_model.chunk_latents import real_latents
from world2act_core.world_model.compact import CompactWorldModel, CompactWorldModelConfig

LIMIT = np.full(7, 100, np.float32)
PLACING = replace(EMBODIMENT, action=replace(EMBODIMENT.action, kind="eef_pose", low=-LIMIT, high=LIMIT))
UNITS = (2.0, 0.5, 1.0, 0.0, 0.0, 0.0, 0.0)


def placed_episode(index: int) -> Episode:
    """The square's world, whose actions say where the next step is."""
    episode = square_episode(index)
    assert episode.actions is not None
    actions = episode.actions.copy()
    actions[:, :3] = standing(PLACING, episode.state)[1:, :3]
    return replace(episode, actions=actions)


def a_base(streams: tuple[str, ...]) -> CompactPolicy:
    torch.manual_seed(2)
    config = CompactConfig(cameras=("agentview",), streams=streams, image_size=SIZE, features=16)
    return CompactPolicy(new_network(config, PLACING), config, PLACING)


@pytest.fixture(scope="module")
def table() -> ChunkTable:
    torch.set_num_threads(1)
    return chunk_table(map(placed_episode, range(24)), PLACING, ("agentview",), STREAMS, SIZE)


@pytest.fixture(scope="module")
def model(table: ChunkTable) -> CompactWorldModel:
    torch.manual_seed(0)
    model = CompactWorldModel(CompactWorldModelConfig(image_size=SIZE, views=1, width=8)).eval()
    model.codec.fit(torch.from_numpy(table.frames))
    return model


def test_a_table_says_where_the_arm_stood_when_each_chunk_began(table):
    episode = placed_episode(1)
    rows = table.episode == 1
    assert table.standing is not None
    assert np.array_equal(table.standing[rows], standing(PLACING, episode.state)[table.step[rows]])
    assert square_table(2).standing is None, "its actions are displacements"


def test_rows_keep_it_and_so_do_tables_together(table):
    rows = np.array([3, 9, 20])
    assert np.array_equal(table.select(rows).standing, table.standing[rows])
    twice = joined([table, table])
    assert twice.standing is not None and np.array_equal(twice.standing[len(table) :], table.standing)
    assert joined([table, replace(table, standing=None)]).standing is None


def test_from_video_it_is_read_how_far_better_than_where_to(table, model, tmp_path):
    """The same world and steps: how far off is what is read, in action units?"""
    off = {}
    for name, displacement in (
        ("places", Displacement()),
        ("displacements", Displacement.between(PLACING, table.actions, table.standing)),
    ):
        train, held_out = split_episodes(displaced(table, displacement), 0.8)
        alignment, _ = train_alignment(
            train,
            real_latents(model, train),
            Stage1Config(steps=200, length=4, pooling="flow"),
            0,
            tmp_path / f"{name}.pt",
            codec=model.codec,
            units=displacement.units,
        )
        assert action_r2(alignment, held_out, real_latents(model, held_out))["r2"] > 0.5
        with torch.no_grad():
            read = alignment.decoder(video_latents(alignment, real_latents(model, held_out), np.arange(len(held_out))))
        places = [alignment.displacement.back(x, held_out.standing) for x in (read.numpy(), held_out.actions)]
        off[name] = np.abs(places[0] - places[1])[..., :2].mean()
    assert off["displacements"] < off["places"] / 2, off


@pytest.fixture
def alignment(model: CompactWorldModel) -> Alignment:
    torch.manual_seed(1)
    return Alignment(AdapterConfig(model.latent_shape, units=UNITS)).eval()


def test_the_units_travel_with_the_adapters(alignment, tmp_path):
    save_alignment(tmp_path / "alignment.pt", alignment)
    assert load_alignment(tmp_path / "alignment.pt").displacement == Displacement(UNITS)


def test_stage_2_is_given_displacements_of_the_base_and_of_what_is_read(table, model, alignment):
    base = frozen_compact(a_base(STREAMS), "")
    some = table.select(np.arange(8))
    data = post_training_set(some, base, real_latents(model, some), alignment, imagined=False)
    assert some.standing is not None and data.wanted is not None
    stood = torch.from_numpy(some.standing)[:, None]
    assert torch.allclose(data.base[..., 0], (base.acts(some)[..., 0] - stood[..., 0]) / 2, atol=1e-5)
    assert torch.equal(data.base[..., 3:], base.acts(some)[..., 3:]), "of these the state says nothing"
    read = alignment.decoder(data.target)
    assert torch.allclose(data.wanted[..., :3], read[..., :3], atol=1e-4)
    assert set(data.wanted[..., 6].unique().tolist()) <= {-1.0, 1.0}, "the gripper is open or closed"


def test_a_trainer_asks_for_displacements_of_all_that_it_learns_from(table, model, alignment):
    """Of rollouts and videos what is read, of demonstrations what was done, nothing of what is not used; and no range
    stands in the way of a displacement."""
    base = frozen_compact(a_base(STREAMS), "")
    used = torch.tensor([True, True] + [False] * 5)
    residual = Residual(ResidualConfig(encoder="patches"), alignment, table.proprio.shape[1], used, model.codec)
    recipe = Recipe(embodiment="-", stage2_on_videos="real")
    trainer = Trainer(recipe, model, alignment, base, residual, used)
    rolled, shown, demonstrated = (table.select(np.arange(first, first + 6)) for first in (0, 6, 12))
    trainer.learn_beside(shown, demonstrated)
    data = trainer.rolled_out(rolled)
    assert data.wanted is not None and not data.wanted[..., 2:].any()
    read = alignment.decoder(data.target[:12])
    assert torch.allclose(data.wanted[:12, :, :2], read[..., :2], atol=1e-4)
    assert demonstrated.standing is not None
    done = demonstrated.actions - demonstrated.standing[:, None]
    assert np.allclose(data.wanted[12:18, :, 0], done[..., 0] / UNITS[0], atol=1e-4)
    assert np.abs(demonstrated.actions[..., 0]).min() > 0.5, "positions are nothing like it"
    low, high = trainer._range
    assert torch.isinf(low[:3]).all() and torch.isinf(high[:3]).all() and high[6] == LIMIT[6]


def test_where_states_were_logged_a_trainer_asks_for_what_they_tell(table, model, alignment, tmp_path):
    """As displacements too."""
    base, used = frozen_compact(a_base(STREAMS), ""), torch.tensor([True, True] + [False] * 5)
    config = StateDynamicsConfig(steps=600, batch=64, width=32)
    states, _ = train_state_dynamics(table, config, 0, tmp_path / "states.pt", displacement=Displacement(UNITS))
    residual = Residual(ResidualConfig(encoder="patches"), alignment, table.proprio.shape[1], used, model.codec)
    recipe = Recipe(embodiment="-", stage2_on_videos="states", stage2_on_demonstrations=0.0)
    trainer = Trainer(recipe, model, alignment, base, residual, used, states)
    shown = table.select(np.flatnonzero(table.episode == 1))
    trainer.learn_beside(shown, table)
    data = trainer.rolled_out(table.select(np.arange(2)))
    assert data.wanted is not None and not data.wanted[..., 2:].any() and shown.standing is not None
    wanted, done = data.wanted[2:].numpy(), displaced(shown, Displacement(UNITS)).actions
    assert np.abs(wanted - done)[..., :2].mean() < 0.1 * np.abs(done)[..., :2].mean()


def test_a_joint_is_used_if_it_goes_anywhere_however_slowly():
    ur5e = load_embodiment("ur5e")
    stages = LoggedStages(Recipe(embodiment="ur5e"), ("wrist",))
    places = np.zeros((10, 4, 7), np.float32)
    places[..., 0] = np.linspace(0, 0.4, 40).reshape(10, 4)  # all along
    places[8:, :, 5] = 1.5  # at once
    places[5:, :, 6] = 1.0
    assert ur5e.gripper.index == 6
    found = stages.used(replace(square_table(2).select(np.arange(10)), actions=places, standing=places[:, 0]))
    assert found.tolist() == [True, False, False, False, False, True, True]


class _Says:
    """In place of a residual: the correction that makes of any base ``wanted`` in what it goes by."""

    units = UNITS

    def __init__(self, wanted: np.ndarray, overrules: bool = False) -> None:
        self.wanted, self.overrules = wanted, overrules

    def correct(self, base: np.ndarray, proprio: np.ndarray, frames: np.ndarray) -> np.ndarray:
        self.told = base
        return self.wanted - base


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_a_policy_leads_as_far_from_where_the_arm_stands_as_the_residual_says(strength):
    base = a_base(("gripper_positions",))
    wanted = np.zeros((1, 4, 7), np.float32)
    wanted[..., 0] = 3.0
    residual, seen = _Says(wanted), observation()
    policy = PostTrainedPolicy(base, residual, PLACING, strength)
    assert policy.streams == ("gripper_positions", "eef_position"), "it must be shown where the arm stands"
    acted, alone = policy.act(seen, "push right").actions, base.act(seen, "push right").actions
    stood = standing(PLACING, seen.state)
    assert np.allclose(residual.told[0, :, 0], (alone[:, 0] - stood[0]) / 2, atol=1e-5)
    led = np.tile(stood, (4, 1))
    led[:, 0] += 3.0 * 2
    assert np.allclose(acted[:, :3], (alone + strength * (led - alone))[:, :3], atol=1e-4)


def test_it_leads_there_too_if_the_base_is_not_asked():
    base, seen = a_base(("gripper_positions",)), observation()
    wanted = np.full((1, 4, 7), 0.1, np.float32)
    asked, alone = (PostTrainedPolicy(base, _Says(wanted, overrules), PLACING) for overrules in (False, True))
    assert np.allclose(alone.act(seen, "").actions, asked.act(seen, "").actions, atol=1e-5)


def test_where_it_leads_is_clamped():
    policy = PostTrainedPolicy(a_base(STREAMS), _Says(np.full((1, 4, 7), 1000, np.float32)), PLACING)
    assert (policy.act(observation(), "push right").actions == 100).all()
