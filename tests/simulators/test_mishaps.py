"""Demonstrations in which something goes wrong, as it does under human hands, and is put right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from world2act_core.simulators.demonstrators.deliveries import DELIVERIES
from world2act_core.simulators.demonstrators.library import demonstrator
from world2act_core.simulators.demonstrators.pick_and_place import PickAndPlace
from world2act_core.simulators.demonstrators.script import Mishaps, Script
from world2act_core.simulators.libero import LiberoSimulator
from world2act_core.simulators.rollout import rollout
from world2act_core.simulators.starts import Start
from world2act_core.types import Array, Episode

pytestmark = pytest.mark.libero

PICK, PLACE = "pick up the bowl", "place the bowl on the plate"


def demonstrate(simulator: LiberoSimulator, script: Script) -> Episode:
    start = Start("libero_goal", 8, 4)
    return rollout(simulator, script, start, episode_id="e", source="demonstrator", record_images=False, extra_chunks=2)


def with_mishaps(simulator: LiberoSimulator, mishaps: Mishaps) -> Episode:
    return demonstrate(simulator, demonstrator("libero_goal", 8, mishaps))


def in_two_skills(simulator: LiberoSimulator, mishaps: Mishaps) -> Episode:
    [whole] = DELIVERIES["libero_goal", 8]
    return demonstrate(simulator, PickAndPlace("libero_goal", 8, [replace(whole, prompts=(PICK, PLACE))], mishaps))


def actions(episode: Episode) -> Array:
    assert episode.actions is not None
    return episode.actions


def closings(episode: Episode) -> Array:
    """Steps at which the gripper is first told to close."""
    closed = actions(episode)[:, 6] > 0
    return np.flatnonzero(closed[1:] & ~closed[:-1]) + 1


def test_without_mishaps_the_seed_changes_nothing(simulator: LiberoSimulator) -> None:
    one, other = (with_mishaps(simulator, Mishaps(seed)) for seed in (1, 2))
    assert np.array_equal(actions(one), actions(other))
    assert len(closings(one)) == 1


def test_mishaps_are_a_function_of_their_seed(simulator: LiberoSimulator) -> None:
    first, again, other = (
        with_mishaps(simulator, Mishaps(seed, pauses=3, regrasp=0.5, drop=0.5)) for seed in (1, 1, 2)
    )
    assert np.array_equal(actions(first), actions(again))
    assert not np.array_equal(actions(first), actions(other))


def test_the_arm_stands_still_in_a_pause_and_then_goes_on(simulator: LiberoSimulator) -> None:
    clean = with_mishaps(simulator, Mishaps())
    paused = with_mishaps(simulator, Mishaps(3, pauses=3, pause_steps=(20, 20)))
    assert paused.success
    assert (paused.steps - clean.steps) // 20 >= 1
    moved = np.linalg.norm(np.diff(paused.state["eef_position"], axis=0), axis=1)
    still = "".join("x" if step < 0.001 else "." for step in moved)
    assert "x" * 15 in still[: clean.steps + 20]


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_a_grasp_in_vain_is_repeated(simulator: LiberoSimulator, seed: int) -> None:
    episode = with_mishaps(simulator, Mishaps(seed, regrasp=1))
    assert episode.success
    assert len(closings(episode)) == 2


def test_grasps_in_vain_are_misses_and_grasps_let_go_again(simulator: LiberoSimulator) -> None:
    widths = []
    for seed in range(6):
        episode = with_mishaps(simulator, Mishaps(seed, regrasp=1))
        first, second = closings(episode)
        widths.append(float(np.abs(episode.state["gripper_positions"][first:second]).sum(axis=1).min()))
    rim = 0.006  # metres between the fingers: nearer to each other than that they hold nothing
    assert min(widths) < rim < max(widths)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_is_dropped_on_the_way_is_fetched_again(simulator: LiberoSimulator, seed: int) -> None:
    episode = with_mishaps(simulator, Mishaps(seed, drop=1))
    assert episode.success
    assert len(closings(episode)) >= 2
    assert len(episode.skills) == 1


def test_picking_up_ends_with_the_grasp_that_lasts(simulator: LiberoSimulator) -> None:
    clean, dropped = (in_two_skills(simulator, Mishaps(1, drop=drop)) for drop in (0, 1))
    for episode in (clean, dropped):
        assert [skill.prompt for skill in episode.skills] == [PICK, PLACE]
        grasp = closings(episode)[-1]
        assert grasp < episode.skills[0].end <= grasp + 15
        assert episode.skills[0].end == episode.skills[1].start
