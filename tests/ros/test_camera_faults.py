"""Cameras and clocks that fail before the eyes of policy and command process: hold, say why, and go on afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState

from tests.ros.stage import EXECUTED, Stage
from tests.ros.support import Probe, running, single
from world2act_core.embodiment import Embodiment
from world2act_core.episodes.fields import stamp_ns
from world2act_core.runtime.graphs import Graph
from world2act_interfaces.msg import ArmCommand


def with_policy(bag: Path) -> Graph:
    """Policy and command by the stage's clock; a busy machine may deliver late."""
    shared = {"clock": "wall", "use_sim_time": True}
    policy = single("policy", policy=f"replay:{bag}", max_age_s=1.0, **shared)
    command = single("command", state_timeout_s=2.0, **shared)
    return replace(policy, nodes=policy.nodes + command.nodes)


@pytest.fixture(scope="module")
def played(domain: int, long_bag: Path, panda: Embodiment) -> Iterator[Stage]:
    """One graph for tests that leave it as they found it."""
    with running(with_policy(long_bag), domain) as (processes, output):
        probe = Probe(domain)
        yield Stage(probe, panda)
        assert all(entry.process.poll() is None for entry in processes.running), "a node is gone"
        assert "Traceback" not in output.getvalue()
        probe.close()


@pytest.fixture
def stage(played: Stage) -> Iterator[Stage]:
    yield played
    played.mend()
    played.end()


def test_a_missing_first_frame_is_waited_for(stage: Stage) -> None:
    """Regression of the field: a stream that had not come yet was filled with zeros."""
    client = stage.probe.node.create_client(ChangeState, "policy/change_state")
    stage.shows["wrist"] = lambda now: []
    for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVATE):  # it forgets what it saw
        request = ChangeState.Request(transition=Transition(id=transition))
        assert stage.probe.wait_for_reply(client, request, 30).success
    stage.begin()
    stage.wait_said("policy", "no chunk: camera wrist on wrist/image_raw: nothing has been received")
    stage.wait_hold("waiting for the first action chunk")
    stage.still(0.5)
    stage.mend()
    stage.wait_tracked()


@pytest.mark.parametrize(
    ("shows", "says"),
    [
        (lambda now: [1000.0], "newest stamp is"),
        (lambda now: [now - 1.5], "newest stamp is 1."),
        (lambda now: [], "nothing received for"),
        (lambda now: [now + 5], "in the future: are the machines' clocks synchronised?"),
    ],
    ids=["frozen", "late", "unplugged", "from the future"],
)
def test_the_arm_holds_while_a_camera_fails_and_goes_on_when_it_is_back(stage: Stage, shows: object, says: str) -> None:
    stage.begin()
    stage.wait_tracked()
    stage.shows["wrist"] = shows  # type: ignore[assignment]
    stage.wait_said("policy", says)
    stage.wait_hold(EXECUTED)
    stage.still(0.5)
    stage.mend()
    stage.wait_tracked(2)


def test_images_out_of_order_cost_nothing_and_none_is_used_twice_or_backwards(stage: Stage) -> None:
    stage.shows["wrist"] = lambda now: [now, now - 0.05]
    stage.shows["agentview"] = lambda now: [now, now - 0.05, now - 0.1]
    episode = stage.begin()
    stage.wait_tracked(4)
    used = [[stamp_ns(t) for t in chunk.image_stamps] for chunk in stage.chunks if chunk.episode_id == episode]
    assert len(used) >= 4
    for camera in zip(*used, strict=True):
        assert list(camera) == sorted(set(camera))


@pytest.mark.parametrize("jump", [3600.0, -3600.0, -0.3], ids=["an hour ahead", "an hour back", "a third back"])
def test_the_arm_holds_when_the_clock_jumps_and_goes_on_by_the_new_time(stage: Stage, jump: float) -> None:
    stage.now += 4000.0  # there is an hour to go back to, also for a graph that has just begun
    stage.begin()
    stage.wait_tracked()
    before = len(stage.commands)
    stage.now += jump
    moved = stage.wait_tracked(2)
    held = [c.reason for c in stage.commands[before:] if c.mode == ArmCommand.HOLD]
    assert any("clock went back" in why or "in the future" in why or " s old" in why for why in held), held
    newest = [c for c in moved if c.mode == ArmCommand.TRACK][-1]
    assert abs(stamp_ns(newest.header.stamp) / 1e9 - stage.now) < 60, "by the new time"
    stage.begin()
    stage.wait_tracked()
