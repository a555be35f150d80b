"""A compact policy of an arm that is commanded by positions says how far to go from where the arm stands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.learning.scenes import SIZE, STREAMS
from tests.learning.test_displaced import PLACING, placed_episode
from world2act_core.embodiment import load_embodiment
from world2act_core.embodiment.displacement import LEAST_UNIT
from world2act_core.episodes.chunks import chunk_table
from world2act_core.policies.compact import (
    CompactConfig,
    FromStanding,
    load_compact,
    new_network,
    save_compact,
    train_compact,
)
from world2act_core.residual.lean import LeanBase

UR5E, PANDA = load_embodiment("ur5e"), load_embodiment("libero_panda")
CONFIG = CompactConfig(cameras=("agentview",), image_size=16, width=4, features=16, steps=300, batch=32)


def test_what_the_network_says_is_added_to_where_the_arm_stands() -> None:
    network = new_network(CONFIG, UR5E)
    assert isinstance(network.from_standing, FromStanding)
    network.from_standing.step[:6] = 0.5
    proprio = torch.arange(13.0)[None]  # joints, fingers and the hand's place, in the order of the streams
    said = network.from_standing(torch.ones(1, 4, 7), proprio[:, : network.from_standing.place.shape[0]])
    assert said[0, 0].tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 1.0]


def test_nothing_is_added_where_actions_are_displacements_or_nobody_tells_where_the_arm_stands() -> None:
    assert new_network(CONFIG, PANDA).from_standing is None
    assert new_network(replace(CONFIG, streams=("eef_position",)), UR5E).from_standing is None
    assert new_network(replace(CONFIG, proprioception=False), UR5E).from_standing is None


def test_it_learns_to_move_from_wherever_it_stands_and_the_file_keeps_that(tmp_path: Path) -> None:
    config = replace(CONFIG, streams=STREAMS, image_size=SIZE)
    table = chunk_table([placed_episode(i) for i in range(12)], PLACING, config.cameras, STREAMS, SIZE)
    network, history = train_compact(table, PLACING, config, 0, tmp_path / "checkpoint.pt")
    moves = network.from_standing
    assert moves is not None and table.standing is not None
    usual = np.sqrt(np.square(table.actions - table.standing[:, None]).mean((0, 1)))
    assert moves.step[:3].numpy() == pytest.approx(np.maximum(usual[:3], LEAST_UNIT), rel=1e-5)
    assert moves.step[3:].tolist() == [1, 1, 1, 1]
    assert history[-1]["loss"] < 0.6 * history[0]["loss"]
    save_compact(tmp_path / "policy.pt", network, config, PLACING)
    frames, proprio = torch.from_numpy(table.frames[table.before]), torch.from_numpy(table.proprio)
    with torch.no_grad():
        said = network.eval()(frames, proprio)
        assert torch.equal(load_compact(tmp_path / "policy.pt", PLACING).network(frames, proprio), said)
        assert torch.allclose(LeanBase(network)(frames, proprio), said, atol=1e-5)


def test_a_policy_of_before_says_positions_as_it_learned_to(tmp_path: Path) -> None:
    older = new_network(CONFIG, UR5E, positions=True)
    save_compact(tmp_path / "policy.pt", older, CONFIG, UR5E)
    assert load_compact(tmp_path / "policy.pt", UR5E).network.from_standing is None
