"""Actions from the change of the robot's state, in a toy world whose truth is known: a square that actions push."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.learning.scenes import EMBODIMENT, square_table
from world2act_core.alignment.states import (
    StateDynamicsConfig,
    load_state_dynamics,
    read_states,
    save_state_dynamics,
    state_r2,
    train_state_dynamics,
)
from world2act_core.baselines.cloning import state_labelled

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


def test_a_chunk_knows_its_states_and_those_of_the_next_one_as_far_as_the_episode_goes(labelled):
    states, m = labelled.states, EMBODIMENT.chunk_length
    assert states.shape == (len(labelled), 2 * m + 1, labelled.proprio.shape[1])
    assert np.array_equal(states[:, 0], labelled.proprio)
    last = np.flatnonzero(np.diff(labelled.episode, append=-1))
    others = np.setdiff1d(np.arange(len(labelled)), last)
    assert np.array_equal(states[others, m], labelled.proprio[others + 1])
    assert np.array_equal(states[others, m:], states[others + 1, : m + 1])
    assert (states[last, m:] == states[last, m, None]).all() and not (states[last, m] == states[last, 0]).all()


def test_the_change_of_state_tells_what_was_done_to_episodes_that_were_never_seen(model):
    truth = square_table(60, PROMPTS)
    videos = square_table(60, PROMPTS, labelled=False)
    table = state_labelled(videos, model, EMBODIMENT, PUSHES)
    read, done = (each.actions[each.episode >= 24] for each in (table, truth))
    assert np.square(read - done)[..., PUSHES].mean() < 0.1 * done[..., PUSHES].var((0, 1)).mean()
    assert table.labelled.all() and not videos.labelled.any()
    assert not table.actions[..., ~PUSHES].any()


def test_how_well_it_reads_is_a_share_of_what_was_done(model):
    held_out = square_table(60, PROMPTS)
    held_out = held_out.select(np.flatnonzero(held_out.episode >= 24))
    assert 0.9 < state_r2(model, held_out) < 1
    assert state_r2(model, replace(held_out, actions=-held_out.actions)) < 0


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
    assert np.array_equal(one, two)


def test_a_chunk_that_weighs_nothing_teaches_nothing(labelled, tmp_path):
    first = labelled.episode < 12
    spoilt = replace(labelled, actions=np.where(first[:, None, None], labelled.actions, 9.0))
    one, two = (
        train_state_dynamics(table, replace(CONFIG, steps=20), 0, tmp_path / f"{n}.pt", weight=first.astype(float))[0]
        for n, table in enumerate((labelled, spoilt))
    )
    assert all(np.array_equal(value, two.state_dict()[name]) for name, value in one.state_dict().items())
