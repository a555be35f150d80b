"""Video and action chunks cover the same control steps: the chunk between two frames is what moved the scene."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.learning.scenes import EMBODIMENT, SIZE, STREAMS, square_episode, square_table
from world2act_core.episodes.chunks import chunk_table
from world2act_core.errors import ContractError
from world2act_core.types import Skill


def square_position(image: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(image[..., 0] > 128)
    return np.array([columns.min(), rows.min()])


def test_the_actions_of_a_chunk_are_those_that_lead_from_its_first_frame_to_its_second():
    table = square_table(4)
    for row in range(len(table)):
        moved = square_position(table.frames[table.after[row]]) - square_position(table.frames[table.before[row]])
        pushed = table.actions[row, :, :2].sum(0)
        assert np.abs(moved - pushed).max() <= 1.0  # rounding to whole pixels, no more


def test_an_offset_of_one_chunk_would_be_noticed():
    """The published partial code compares chunk k with the latent before it; the check above must catch that."""
    table = square_table(4)
    same = np.flatnonzero(table.episode[1:] == table.episode[:-1])
    moved = [
        square_position(table.frames[table.after[row]]) - square_position(table.frames[table.before[row]])
        for row in same
    ]
    wrong = table.actions[same + 1, :, :2].sum(1)
    assert np.abs(np.asarray(moved) - wrong).max() > 1.0


def test_the_previous_frame_is_one_chunk_earlier_and_never_from_another_episode():
    table = square_table(3)
    first = table.clock == 0
    assert np.array_equal(table.previous[first], table.before[first])
    assert np.array_equal(table.previous[~first], table.before[~first] - 1)


def test_steps_behind_the_last_complete_chunk_are_left_out():
    episode = square_episode(0, chunks=3)
    actions = episode.actions
    assert actions is not None
    cut = replace(
        episode,
        stamps=episode.stamps[:11],
        actions=actions[:10],
        state={name: stream[:11] for name, stream in episode.state.items()},
        frame_steps=np.array([0, 4, 8]),
        images={"agentview": episode.images["agentview"][:3]},
        skills=(),
    )
    table = chunk_table([cut], EMBODIMENT, ("agentview",), STREAMS, SIZE)
    assert len(table) == 2
    assert np.array_equal(table.actions[1], actions[4:8])


def test_a_missing_frame_costs_the_chunks_beside_it_and_no_other():
    episode = square_episode(0, chunks=4)
    kept = [0, 1, 3, 4]
    holed = replace(
        episode,
        frame_steps=episode.frame_steps[kept],
        images={"agentview": episode.images["agentview"][kept]},
    )
    table = chunk_table([holed], EMBODIMENT, ("agentview",), STREAMS, SIZE)
    assert table.step.tolist() == [0, 12]
    assert table.clock.tolist() == [0, 3]


def test_the_clock_counts_from_the_beginning_of_the_skill_under_way():
    """The world model is asked for a skill, so its clock must not run on from the skill before."""
    episode = square_episode(0, chunks=5)
    split = replace(episode, skills=(Skill("first", 0, 10), Skill("second", 10, 20)))
    table = chunk_table([split], EMBODIMENT, ("agentview",), STREAMS, SIZE)
    assert table.prompts == ("first", "first", "first", "second", "second")
    assert table.clock.tolist() == [0, 1, 2, 0, 1]
    assert table.step.tolist() == [0, 4, 8, 12, 16]  # which runs on


def test_action_free_videos_are_marked_unlabelled():
    assert not square_table(2, labelled=False).labelled.any()


def test_an_episode_without_the_camera_is_refused_by_name():
    with pytest.raises(ContractError, match="no camera wrist, only agentview"):
        chunk_table([square_episode(0)], EMBODIMENT, ("wrist",), STREAMS, SIZE)


def test_no_episodes_is_an_error():
    with pytest.raises(ContractError, match="no episodes"):
        chunk_table([], EMBODIMENT, ("agentview",), STREAMS, SIZE)


def test_cameras_stand_side_by_side_in_the_order_asked_for():
    episode = square_episode(0)
    seen = episode.images["agentview"]
    two = replace(episode, images={"wrist": 255 - seen, "agentview": seen})
    table = chunk_table([two], EMBODIMENT, ("agentview", "wrist"), STREAMS, SIZE)
    assert table.frames.shape == (len(seen), SIZE, 2 * SIZE, 3)
    assert np.array_equal(table.view(0), seen)
    assert np.array_equal(table.view(1), 255 - seen)


def test_a_selection_keeps_every_column_and_only_the_frames_it_needs():
    table = square_table(5, prompts=("push right", "push down"))
    rows = np.array([0, 7, 8, 25])
    chosen = table.select(rows)
    for name in ("before", "after", "previous"):
        assert np.array_equal(chosen.frames[getattr(chosen, name)], table.frames[getattr(table, name)[rows]])
    for name in ("proprio", "actions", "labelled", "step", "clock", "episode"):
        assert np.array_equal(getattr(chosen, name), getattr(table, name)[rows])
    assert chosen.prompts == tuple(table.prompts[row] for row in rows)
    assert len(chosen.frames) == 2 + 4 + 3  # an episode's first chunk, two in a row with the frame before, a single one
