"""LIBERO in a process of its own is LIBERO in this one, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from world2act_core.errors import ContractError, World2ActError
from world2act_core.simulators.libero import LiberoSimulator
from world2act_core.simulators.opening import open_demonstrator, open_simulator
from world2act_core.simulators.protocol import Simulator
from world2act_core.simulators.remote.client import RemoteSimulator
from world2act_core.simulators.rollout import NoisyActor, rollout
from world2act_core.simulators.starts import Start
from world2act_core.types import Array, Episode

pytestmark = pytest.mark.libero
START = Start("libero_goal", 8, 9, 3.123456789, 2)


@pytest.fixture(scope="module")
def remote(simulator: LiberoSimulator) -> Iterator[Simulator]:
    remote = open_simulator("libero_goal", 8, remote=True)
    yield remote
    remote.close()


def states(simulator: LiberoSimulator | RemoteSimulator, actions: Array) -> Array:
    simulator.reset(START)
    rows = []
    for action in actions:
        simulator.step(action)
        rows.append(simulator.state())
    return np.array(rows)


def demonstration(simulator: Simulator) -> Episode:
    actor = NoisyActor(open_demonstrator(simulator), seed=1, scale=0.05)
    return rollout(
        simulator, actor, START, episode_id="e", source="demonstrator", cameras=tuple(simulator.embodiment.cameras)
    )


def test_it_says_the_same_of_itself(simulator: LiberoSimulator, remote: RemoteSimulator) -> None:
    for name in ("suite", "task_index", "task", "horizon"):
        assert getattr(remote, name) == getattr(simulator, name)
    assert remote.embodiment.sha256 == simulator.embodiment.sha256


def test_the_whole_physical_state_is_the_same_at_every_step(
    simulator: LiberoSimulator, remote: RemoteSimulator
) -> None:
    actions = np.random.default_rng(3).uniform(-1, 1, (25, 7))
    assert np.array_equal(states(remote, actions), states(simulator, actions))


def test_a_demonstration_with_every_camera_is_the_same_episode(
    simulator: LiberoSimulator, remote: RemoteSimulator
) -> None:
    here, there = demonstration(simulator), demonstration(remote)
    assert here.success and there.success and here.skills == there.skills
    for name in ("stamps", "actions", "frame_steps"):
        assert np.array_equal(getattr(here, name), getattr(there, name)), name
    for kind in ("state", "images"):
        ours, theirs = getattr(here, kind), getattr(there, kind)
        assert list(ours) == list(theirs)
        for name in ours:
            assert ours[name].dtype == theirs[name].dtype and np.array_equal(ours[name], theirs[name]), name


def test_it_refuses_what_libero_refuses_in_the_same_words(simulator: LiberoSimulator, remote: RemoteSimulator) -> None:
    for kind, wrong in (
        (ContractError, lambda at: at.step(np.zeros(6))),
        (ContractError, lambda at: at.step(np.full(7, np.nan))),
        (ContractError, lambda at: at.observe(["nose"])),
        (World2ActError, lambda at: at.reset(Start("libero_goal", 8, 99))),
        (World2ActError, lambda at: at.reset(Start("libero_spatial", 8, 0))),
    ):
        said = []
        for at in (simulator, remote):
            with pytest.raises(kind) as caught:
                wrong(at)
            assert type(caught.value) is kind
            said.append(str(caught.value))
        assert said[0] == said[1]


def test_a_task_that_does_not_exist_leaves_no_process() -> None:
    with pytest.raises(World2ActError, match="libero_goal has no task 99"):
        open_simulator("libero_goal", 99, remote=True)
