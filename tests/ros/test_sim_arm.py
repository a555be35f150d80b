"""The whole graph on the simulated arm: equal to the rollout in process, and holding when the policy dies."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rclpy.action import ActionClient
from sensor_msgs.msg import JointState

from tests.ros.support import running
from world2act.node import EVENT, RECORD
from world2act_core.embodiment import Embodiment
from world2act_core.episodes import read_bag
from world2act_core.runtime.graph import describe
from world2act_core.types import Episode
from world2act_interfaces.action import RunTask
from world2act_interfaces.msg import ActionChunk, ArmCommand, EpisodeEvent

START = "libero_goal/8/i3"

pytestmark = [pytest.mark.libero]


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bag with one demonstration, logged in process."""
    path = tmp_path_factory.mktemp("offline") / "bag"
    script = Path(__file__).with_name("offline_episode.py")
    subprocess.run([sys.executable, str(script), str(path), START], check=True, timeout=150)
    return path


def only_episode(bag: Path, embodiment: Embodiment) -> Episode:
    contents = read_bag(bag, embodiment)
    assert not contents.refused and contents.damage is None
    (episode,) = contents.episodes
    return episode


def test_live_and_offline_episodes_are_identical(domain: int, offline: Path, panda: Embodiment, tmp_path: Path) -> None:
    """The same actions over the whole graph, recorded by the recorder: equal to the bit, stamps included."""
    live_bag, results = tmp_path / "live", tmp_path / "results.jsonl"
    arguments = {"policy": f"replay:{offline}", "starts": START, "record": str(live_bag), "results": str(results)}
    with running(describe("sim_arm").build(arguments), domain) as (processes, output):
        assert processes.wait() == 0, output.getvalue()
    expected, live = only_episode(offline, panda), only_episode(live_bag, panda)
    np.testing.assert_array_equal(live.stamps, expected.stamps)
    np.testing.assert_array_equal(live.frame_steps, expected.frame_steps)
    assert live.actions is not None and expected.actions is not None
    np.testing.assert_array_equal(live.actions, expected.actions)
    assert set(live.state) == set(expected.state) and set(live.images) == set(expected.images) == set(panda.cameras)
    for name in expected.state:
        np.testing.assert_array_equal(live.state[name], expected.state[name])
    for name in expected.images:
        np.testing.assert_array_equal(live.images[name], expected.images[name])
    assert (live.success, live.task, live.start_id) == (True, expected.task, START)
    (outcome,) = [json.loads(line) for line in results.read_text().splitlines()]
    assert (outcome["outcome"], outcome["steps"]) == ("success", expected.steps)


def test_a_killed_policy_leaves_the_arm_holding_with_a_reason(probe: Any, domain: int, offline: Path) -> None:
    probe.listen(ArmCommand, "arm_command", RECORD)
    probe.listen(ActionChunk, "action_chunk", RECORD)
    probe.listen(EpisodeEvent, "episode_event", EVENT)
    probe.listen(JointState, "joint_states", RECORD)
    commands: list[ArmCommand] = probe.heard["arm_command"]
    client = ActionClient(probe.node, RunTask, "run_task")
    graph = describe("sim_arm").build({"policy": f"replay:{offline}", "cameras": "agentview,wrist"})
    with running(graph, domain) as (processes, _):
        policy = next(entry for entry in processes.running if entry.node.name == "policy")
        probe.wait(client.server_is_ready, 60, "skill_prompter is active")
        sent = client.send_goal_async(RunTask.Goal(start_id=START, episode_id="killed", source="test"))
        probe.wait(lambda: len(probe.heard["action_chunk"]) >= 2, 60, "the episode runs")
        policy.process.kill()
        held = probe.wait(lambda: [c for c in commands if c.mode == ArmCommand.HOLD], 10, "a hold")[0]
        assert "no newer one has come" in held.reason and len(held.values) == 0
        tracked = sum(c.mode == ArmCommand.TRACK for c in commands)
        stamp = probe.heard["joint_states"][-1].header.stamp
        probe.spin(1.5)
        assert sum(c.mode == ArmCommand.TRACK for c in commands) == tracked, "something moved the arm"
        assert probe.heard["joint_states"][-1].header.stamp == stamp, "the arm moved"
        handle = sent.result()
        result = handle.get_result_async()
        handle.cancel_goal_async()
        probe.wait(result.done, 10, "the cancelled task's result")
        assert result.result().result.outcome == RunTask.Result.CANCELLED
        end = probe.wait(lambda: [e for e in probe.heard["episode_event"] if e.event == EpisodeEvent.END], 5, "END")[0]
        assert (end.reason, end.outcome) == ("cancelled", EpisodeEvent.OUTCOME_UNKNOWN)


def test_a_start_of_another_scene_is_refused_with_one_sentence(domain: int, made_bag: Path) -> None:
    arguments = {"policy": f"replay:{made_bag}", "starts": "libero_goal/3/i0"}
    with running(describe("sim_arm").build(arguments), domain) as (processes, output):
        assert processes.wait() == 1
    assert isinstance(output, io.StringIO)
    assert "start libero_goal/3/i0 is not one of libero_goal/8" in output.getvalue()
    assert "Traceback" not in output.getvalue()
