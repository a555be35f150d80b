"""RoboCasa's real code behind our protocol, in a process of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.simulators.robocasa.conftest import DRAWER
from world2act_core.errors import ContractError, World2ActError
from world2act_core.simulators.opening import CHECKOUT
from world2act_core.simulators.protocol import PLACEHOLDER
from world2act_core.simulators.remote.client import RemoteSimulator
from world2act_core.simulators.robocasa.assets import OWN
from world2act_core.simulators.robocasa.simulator import CAMERAS
from world2act_core.simulators.starts import Start
from world2act_core.types import Array

pytestmark = pytest.mark.timeout(600)  # a machine that is busy with other things takes ten times as long


def start(index: int) -> Start:
    return Start(*DRAWER, index)


def test_an_observation_is_what_the_contract_says(drawer: RemoteSimulator) -> None:
    drawer.reset(start(3))
    contract = drawer.embodiment
    seen = drawer.observe(tuple(CAMERAS))
    assert {name: value.shape for name, value in seen.state.items()} == {
        name: (stream.size,) for name, stream in contract.state.items()
    }
    assert all(value.dtype == np.float32 for value in seen.state.values())
    assert set(seen.images) == set(contract.cameras)
    for name, image in seen.images.items():
        assert image.shape == (contract.cameras[name].height, contract.cameras[name].width, 3)
        assert image.dtype == np.uint8 and image.std() > 10, f"{name} is blank"
    assert (seen.state["joint_positions"] > contract.limits.joints.lower).all()
    assert (seen.state["joint_positions"] < contract.limits.joints.upper).all()
    assert (seen.state["eef_position"] > contract.limits.workspace_lower).all()
    assert (seen.state["eef_position"] < contract.limits.workspace_upper).all()
    assert seen.state["eef_orientation"][0] < -0.9, "fingers down, seen from the base"
    assert seen.stamp == 0 and not drawer.observe().images


def test_an_episode_says_what_it_is_about_and_what_it_was_made_with(drawer: RemoteSimulator) -> None:
    drawer.reset(start(0))
    assert drawer.task in ("Close the left drawer.", "Close the right drawer.")
    assert drawer.horizon == 450
    assert drawer.facts["robocasa"] == drawer.versions["rpent-robocasa365"] == "1.0.1"
    assert drawer.facts["assets"] in (PLACEHOLDER, OWN)
    assert set(drawer.facts["kitchen"]) == {"layout", "style"}


def test_what_makes_no_sense_is_refused_and_nothing_is_lost(drawer: RemoteSimulator) -> None:
    with pytest.raises(World2ActError, match=r"RoboCasa places everything anew .* take robocasa_atomic/13/i<seed>"):
        drawer.reset(Start(*DRAWER, 0, jitter_cm=3.0))
    with pytest.raises(World2ActError, match="not one of robocasa_atomic/13"):
        drawer.reset(Start("robocasa_atomic", 12, 0))
    drawer.reset(start(0))
    with pytest.raises(ContractError, match=r"12 finite numbers \(x, y, z, .*base_mode\)"):
        drawer.step(np.zeros(7))
    with pytest.raises(ContractError, match="no camera 'frontview': it has agentview_left, agentview_right, wrist"):
        drawer.observe(["frontview"])
    assert drawer.step(np.zeros(12)) is False
    assert drawer.observe().stamp == pytest.approx(0.05)


def states_of(simulator: RemoteSimulator, at: Start, actions: Array, look: bool = False) -> list[Array]:
    simulator.reset(at)
    states = [simulator.state()]
    for action in actions:
        if look:
            simulator.observe(("wrist",))
        simulator.step(action)
        states.append(simulator.state())
    return states


@pytest.mark.slow
def test_a_seed_is_an_episode_whatever_came_before_and_whoever_looks(drawer: RemoteSimulator) -> None:
    actions = np.random.default_rng(0).uniform(-1, 1, (8, 12))
    first = states_of(drawer, start(5), actions)
    other = states_of(drawer, start(6), actions)
    np.testing.assert_array_equal(states_of(drawer, start(5), actions, look=True), first)
    assert first[0].shape != other[0].shape or not np.array_equal(first[0], other[0])
    elsewhere = RemoteSimulator(*DRAWER)
    try:
        np.testing.assert_array_equal(states_of(elsewhere, start(5), actions), first)
    finally:
        elsewhere.close()


@pytest.mark.slow
def test_steps_and_observations_are_robosuites_own(robocasa: Path) -> None:
    """In RoboCasa's environment, beside the stock environment."""
    script = Path(__file__).with_name("beside_stock.py")
    done = subprocess.run(
        [str(robocasa), str(script)], cwd=CHECKOUT, env=_environment(), capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "alike: 12 steps, 6 streams, kitchens of 4 suites"


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(CHECKOUT)}
