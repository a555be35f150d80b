"""LIBERO's Panda under joint commands: the hand goes where it is led, within the limits, repeatably.

Not among the simulators' tests, whose one simulator of a process is another.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import numpy as np
import pytest

from world2act_core.embodiment import load_embodiment
from world2act_core.errors import World2ActError
from world2act_core.recipes.recording import JOINT_NOISE, noise_units
from world2act_core.recipes.settings import Recipe
from world2act_core.runtime.safety.counting import count_safety
from world2act_core.simulators.demonstrators.script import Script
from world2act_core.simulators.libero import LiberoSimulator, suite_tasks
from world2act_core.simulators.opening import open_simulator, scripted
from world2act_core.simulators.rollout import Noise, rollout
from world2act_core.simulators.starts import Start
from world2act_core.types import Array

pytestmark = pytest.mark.libero

SUITE = "libero_goal@libero_panda_joints"
START = Start(SUITE, 8, 4, 3.0, 1)
UNDER_OSC_POSE = np.array([-0.003, 0.066, 0.038])
"""m, how far the same steps led the hand in ten steps under ``libero_panda``."""


@pytest.fixture(scope="module")
def arm() -> Iterator[LiberoSimulator]:
    if importlib.util.find_spec("libero") is None:
        pytest.skip("LIBERO is not installed (extra: libero)")
    simulator = LiberoSimulator(SUITE, 8)
    yield simulator
    simulator.close()


def led(arm: LiberoSimulator, hand: Array, steps: int) -> Array:
    """States of the hand ``(steps + 1, 3)`` metres while it is led."""
    arm.reset(START)
    places = [arm.observe().state["eef_position"]]
    for _ in range(steps):
        arm.step(arm.led(hand))
        places.append(arm.observe().state["eef_position"])
    return np.array(places)


def test_the_hand_goes_where_it_is_led_as_fast_as_under_osc_pose(arm: LiberoSimulator) -> None:
    places = led(arm, np.array([0, 0.5, 0.3, 0, 0, 0, -1.0]), 20)
    assert places[20] - places[10] == pytest.approx(UNDER_OSC_POSE, abs=0.008)


def test_a_hand_that_is_led_nowhere_stays(arm: LiberoSimulator) -> None:
    places = led(arm, np.array([0, 0, 0, 0, 0, 0, -1.0]), 20)
    assert np.abs(places - places[0]).max() < 0.003


def test_joints_go_where_they_are_told(arm: LiberoSimulator) -> None:
    arm.reset(START)
    there = np.append(arm.observe().state["joint_positions"].astype(float), -1.0)
    there[:7] += [0.1, -0.05, 0.1, 0.05, -0.1, 0.05, 0.1]
    for _ in range(30):
        arm.step(there)
    assert arm.observe().state["joint_positions"] == pytest.approx(there[:7], abs=0.003)


def test_the_same_start_and_actions_give_the_same_bits_after_other_episodes(arm: LiberoSimulator) -> None:
    def states(hand: Array) -> Array:
        led(arm, hand, 12)
        return arm.state()

    up = np.array([0.2, 0, 0.4, 0, 0, 0.1, 1.0])
    first = states(up)
    states(-up)
    assert np.array_equal(states(up), first)


def test_a_demonstrator_solves_its_task_and_no_command_would_be_refused(arm: LiberoSimulator) -> None:
    episode = rollout(arm, scripted(SUITE, 8), START, episode_id="a", source="demonstrator", record_images=False)
    assert episode.success and episode.embodiment == "libero_panda_joints"
    counters = count_safety(episode, arm.embodiment)
    assert counters is not None and counters.hits == {} and counters.holds == 0


def test_a_demonstrator_s_noise_is_of_the_hand(arm: LiberoSimulator) -> None:
    """And within the joints' limits: no joint trembles by itself."""
    clean, noisy = scripted(SUITE, 8), scripted(SUITE, 8)
    assert isinstance(noisy, Script)
    noisy.noise = Noise(7, 0.2 * noise_units(load_embodiment("libero_panda")))
    episodes = [
        rollout(arm, actor, START, episode_id="a", source="demonstrator", record_images=False)
        for actor in (clean, noisy, noisy)
    ]
    done = [np.asarray(episode.actions) for episode in episodes]
    assert np.array_equal(done[1], done[2]), "the same after every reset"
    assert episodes[1].success and not np.array_equal(done[0][:8], done[1][:8])
    counters = count_safety(episodes[1], arm.embodiment)
    assert counters is not None and counters.holds == 0
    twist = [np.abs(np.diff(actions[:40, 4])).max() for actions in done[:2]]
    assert twist[1] < twist[0] + 0.01, "rad; joint 5, which this task hardly needs"


def test_a_suite_s_contract_is_told_and_only_one_that_is_simulated_is_taken() -> None:
    assert suite_tasks(SUITE, [8])[8].embodiment == "libero_panda_joints"
    assert suite_tasks(SUITE, [8])[8].protocol["controller"] == "JOINT_POSITION"
    with pytest.raises(World2ActError, match="simulated under libero_panda or libero_panda_joints, not under 'ur5e'"):
        suite_tasks("libero_goal@ur5e", [8])
    with pytest.raises(World2ActError, match="LIBERO has no suite|no horizon is published"):
        suite_tasks("libero_nowhere@libero_panda_joints", [8])


def test_it_lives_in_a_process_of_its_own_too() -> None:
    simulator = open_simulator(SUITE, 8, remote=True)
    try:
        simulator.reset(START)
        assert simulator.embodiment.name == "libero_panda_joints"
        assert np.isfinite(simulator.observe().state["joint_positions"]).all()
    finally:
        simulator.close()


def test_a_start_says_under_which_contract() -> None:
    assert Start.parse(START.id) == START
    assert START.id == "libero_goal@libero_panda_joints/8/i4+3cm#1"


def test_a_recipe_takes_the_suite_s_contract() -> None:
    assert Recipe(suite=SUITE).embodiment == "libero_panda_joints"
    assert Recipe(suite=SUITE, embodiment="libero_panda_joints").embodiment == "libero_panda_joints"
    with pytest.raises(World2ActError, match="embodiment ur5e is decided by suite"):
        Recipe(suite=SUITE, embodiment="ur5e")


def test_noise_moves_joints_and_not_the_gripper_and_of_a_hand_only_its_place() -> None:
    assert noise_units(load_embodiment("libero_panda_joints")).tolist() == [JOINT_NOISE] * 7 + [0.0]
    assert noise_units(load_embodiment("libero_panda")).tolist() == [1, 1, 1, 0, 0, 0, 0]
