"""Actions from the change of the robot's state, in a toy world whose truth is known: a square that actions push."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.learning.scenes import EMBODIMENT, square_table
from world2act_core.alignment.states import (
    StateDynamicsConfig,
    followed,
    load_state_dynamics,
    read_states,
    save_state_dynamics,
    state_r2,
    train_state_dynamics,
)
from world2act_core.baselines.cloning import state_labelled
from world2act_core.errors import World2ActError

PROMPTS = ("push right", "push down")
PUSHES = np.arange(7) < 2
"""The toy world's pushes use x and y only."""
CONFIG = StateDynamicsConfig(steps=400, batch=64, width=32)


@pytest.fixture(scope="module")
def labelled():
    return square_table(24, PROMPTS)


@pytest.fixture(scope="module")
def model(labelled, tmp_path_factory):
    return train_state_dynamics(labelled, CONFIG, 0, tmp_path_factory.mktemp("states") / "checkpoint.pt")[0]


def test_a_chunk_is_followed_by_the_next_one_of_its_episode(labelled):
    rows = followed(labelled)
    assert len(rows) == 24 * 5, "all but the last of six"
    assert np.array_equal(labelled.episode[rows], labelled.episode[rows + 1])
    with_a_gap = labelled.select(np.array([0, 1, 3, 4]))
    assert followed(with_a_gap).tolist() == [0, 2]


def test_the_change_of_state_tells_what_was_done_to_episodes_that_were_never_seen(model):
    truth = square_table(60, PROMPTS)
    videos = square_table(60, PROMPTS, labelled=False)
    table = state_labelled(videos, model, EMBODIMENT, PUSHES)
    rows = followed(truth)[followed(truth) >= 24 * 6]
    read = table.actions[table.episode >= 24]
    left = np.square(read - truth.actions[rows])[..., PUSHES].mean()
    assert left < 0.1 * truth.actions[rows][..., PUSHES].var((0, 1)).mean()
    assert table.labelled.all() and not videos.labelled.any()
    assert not table.actions[..., ~PUSHES].any()


def test_how_well_it_reads_is_a_share_of_what_was_done(model):
    held_out = square_table(60, PROMPTS)
    held_out = held_out.select(np.flatnonzero(held_out.episode >= 24))
    assert 0.9 < state_r2(model, held_out) < 1
    assert state_r2(model, replace(held_out, actions=-held_out.actions)) < 0
    assert state_r2(model, held_out.select(np.flatnonzero(held_out.step == 0))) is None, "nothing follows these"


def test_no_action_of_the_videos_and_no_picture_is_read(model):
    videos = square_table(6, PROMPTS, labelled=False)
    other = replace(videos, actions=videos.actions + 1, frames=255 - videos.frames)
    one, two = (state_labelled(table, model, EMBODIMENT, PUSHES) for table in (videos, other))
    assert np.array_equal(one.actions, two.actions)


def test_chunks_without_actions_teach_nothing(labelled, model, tmp_path):
    some = np.isin(labelled.episode, np.arange(12))
    mixed = replace(labelled, labelled=some, actions=np.where(some[:, None, None], labelled.actions, 9.0))
    alone = labelled.select(np.flatnonzero(some))
    one, two = (
        train_state_dynamics(table, replace(CONFIG, steps=5), 0, tmp_path / f"{name}.pt")[0].state_dict()
        for name, table in (("mixed", mixed), ("alone", alone))
    )
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_it_survives_its_file(model, labelled, tmp_path):
    save_state_dynamics(tmp_path / "states.pt", model)
    again = load_state_dynamics(tmp_path / "states.pt")
    assert again.shape == model.shape
    one, two = (read_states(each, labelled, EMBODIMENT) for each in (model, again))
    assert np.array_equal(one[0], two[0]) and np.array_equal(one[1], two[1])


def test_a_chunk_that_weighs_nothing_teaches_nothing(labelled, tmp_path):
    first = labelled.episode < 12
    spoilt = replace(labelled, actions=np.where(first[:, None, None], labelled.actions, 9.0))
    one, two = (
        train_state_dynamics(table, replace(CONFIG, steps=20), 0, tmp_path / f"{n}.pt", weight=first.astype(float))[0]
        for n, table in enumerate((labelled, spoilt))
    )
    assert all(np.array_equal(value, two.state_dict()[name]) for name, value in one.state_dict().items())


def test_episodes_of_one_chunk_are_refused_in_one_sentence(labelled, tmp_path):
    firsts = labelled.select(np.flatnonzero(labelled.step == 0))
    with pytest.raises(World2ActError, match="no episode with actions is two chunks long.* stage2_on_videos: real"):
        train_state_dynamics(firsts, CONFIG, 0, tmp_path / "checkpoint.pt")
