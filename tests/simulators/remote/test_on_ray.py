"""The same server as a Ray actor, by itself: nothing here needs Ray or a cluster."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from tests.simulators.remote import toy
from world2act_core.errors import MissingExtraError
from world2act_core.simulators.remote.client import RemoteSimulator
from world2act_core.simulators.remote.on_ray import RayServer, ServerActor


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
