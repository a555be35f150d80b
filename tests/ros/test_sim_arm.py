"""The whole graph on the simulated arm: equal to the rollout in process, and holding when the policy dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rclpy.action import ActionClient
from sensor_msgs.msg import JointState

from tests.processes import servers_of
from tests.ros.support import running
from world2act.node import EVENT, RECORD
from world2act_core.embodiment import Embodiment
from world2act_core.episodes import read_bag
from world2act_core.runtime.graphs import describe
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
        probe.wait_ready("skill_prompter", 90)
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


def test_by_the_wall_clock_it_refuses_a_foreign_start_and_runs_its_own(probe: Any, domain: int, offline: Path) -> None:
    probe.listen(ArmCommand, "left/arm_command", RECORD)
    probe.listen(EpisodeEvent, "left/episode_event", EVENT)
    commands: list[ArmCommand] = probe.heard["left/arm_command"]
    client = ActionClient(probe.node, RunTask, "left/run_task")
    arguments = {"policy": f"replay:{offline}", "realtime": "true", "namespace": "left"}
    with running(describe("sim_arm").build(arguments), domain):
        probe.wait_ready("left/skill_prompter", 90)
        foreign = client.send_goal_async(RunTask.Goal(start_id="libero_goal/3/i0"))
        probe.wait(foreign.done, 10, "the goal's acceptance")
        refused = foreign.result().get_result_async()
        probe.wait(refused.done, 60, "the refusal")
        assert refused.result().result.outcome == RunTask.Result.FAULT
        assert "start libero_goal/3/i0 is not one of libero_goal/8" in refused.result().result.reason
        sent = client.send_goal_async(RunTask.Goal(start_id=START, episode_id="own"))
        # A busy machine misses steps; that all of a chunk are tracked by the wall clock, the command node's tests say.
        tracked = probe.wait(lambda: [c for c in commands if c.mode == ArmCommand.TRACK], 90, "a step is tracked")
        assert abs(tracked[0].header.stamp.sec - time.time()) < 60
        sent.result().cancel_goal_async()
        probe.wait(lambda: [e for e in probe.heard["left/episode_event"] if e.event == EpisodeEvent.END], 10, "END")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_simulator_ends_the_episode_with_that_reason_and_the_next_one_runs(
    probe: Any, domain: int, offline: Path
) -> None:
    probe.listen(ActionChunk, "action_chunk", RECORD)
    probe.listen(EpisodeEvent, "episode_event", EVENT)
    client = ActionClient(probe.node, RunTask, "run_task")
    arguments = {"policy": f"replay:{offline}", "cameras": "agentview,wrist", "remote": "true"}
    with running(describe("sim_arm").build(arguments), domain) as (processes, _):
        arm = next(entry for entry in processes.running if entry.node.name == "sim_arm")
        probe.wait_ready("skill_prompter", 120)

        def run(name: str, meanwhile: Callable[[], None]) -> Any:
            sent = client.send_goal_async(RunTask.Goal(start_id=START, episode_id=name, source="test"))
            probe.wait(sent.done, 30, f"{name} is accepted")
            meanwhile()
            result = sent.result().get_result_async()
            probe.wait(result.done, 200, f"{name} is over")
            return result.result().result

        def kill() -> None:
            probe.wait(lambda: probe.heard["action_chunk"], 60, "the episode runs")
            (server,) = servers_of(arm.process.pid)
            os.kill(server, signal.SIGKILL)

        lost = run("lost", kill)
        assert lost.outcome == RunTask.Result.FAULT and "signal SIGKILL) died at" in lost.reason
        ended = [e for e in probe.heard["episode_event"] if (e.episode_id, e.event) == ("lost", EpisodeEvent.END)]
        assert [e.outcome for e in ended] == [EpisodeEvent.OUTCOME_UNKNOWN]
        assert run("again", lambda: None).outcome == RunTask.Result.SUCCEEDED
