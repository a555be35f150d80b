"""The same server as a Ray actor. What needs Ray runs only where it is installed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.simulators.remote import toy
from world2act_core.errors import MissingExtraError, SimulatorLost, World2ActError
from world2act_core.simulators.opening import open_demonstrator
from world2act_core.simulators.remote.client import RemoteSimulator
from world2act_core.simulators.remote.on_ray import RayServer, ServerActor
from world2act_core.simulators.rollout import rollout
from world2act_core.simulators.starts import Start

START = Start(toy.SUITE, 0, 2)


def test_without_ray_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"Ray is not installed: add the extra .*world2act\[study\]"):
        RemoteSimulator(toy.SUITE, 0, begin=RayServer)


def test_an_actor_answers_with_what_ray_can_carry() -> None:
    """Its class by itself, without a cluster: errors are answers, and a loss is followed by another server."""
    actor = ServerActor(toy.SUITE, "toy", 60)
    first = actor.begin()["pid"]
    answer, _ = actor.ask({"op": "dance"}, 60)
    assert "there is no operation 'dance'" in answer["error"]["message"]
    os.kill(first, signal.SIGKILL)
    assert actor.ask({"op": "tasks", "suite": toy.SUITE, "tasks": []}, 60)[0]["error"]["kind"] == "SimulatorLost"
    assert "has no process" in actor.ask({"op": "tasks", "suite": toy.SUITE, "tasks": []}, 60)[0]["error"]["message"]
    assert actor.begin()["pid"] != first
    assert "tasks" in actor.ask({"op": "tasks", "suite": toy.SUITE, "tasks": []}, 60)[0]
    actor.end()


@pytest.fixture
def cluster(interpreter: Path) -> Iterator[None]:
    ray = pytest.importorskip("ray", reason="Ray is not installed (extra: study)")
    variables = {toy.VARIABLE: str(interpreter), "PYTHONPATH": os.pathsep.join(sys.path)}
    hook = "tests.simulators.remote.toy.known"  # in every worker process
    environment = {"env_vars": variables, "worker_process_setup_hook": hook}
    ray.init(num_cpus=1, include_dashboard=False, runtime_env=environment)
    yield
    ray.shutdown()


@pytest.mark.slow
def test_a_rollout_on_ray_is_that_of_this_machine(cluster: None, remote: RemoteSimulator) -> None:
    simulator = RemoteSimulator(toy.SUITE, 0, begin=RayServer)
    here, there = (
        rollout(at, open_demonstrator(at), START, episode_id="e", source="toy") for at in (remote, simulator)
    )
    assert here.success and there.success and there.actions is not None
    assert np.array_equal(np.asarray(here.actions), there.actions)
    assert np.array_equal(here.images["agentview"], there.images["agentview"])
    assert simulator.pid is not None
    os.kill(simulator.pid, signal.SIGKILL)
    with pytest.raises(SimulatorLost, match="signal SIGKILL"):
        simulator.step(np.zeros(7))
    simulator.reset(START)
    with pytest.raises(World2ActError, match="thirteen"):
        simulator.reset(Start(toy.SUITE, 0, 13))
    simulator.close()
