"""Tasks that are cancelled, interrupted or deactivated at a bad moment: each has one END, and the bag has it too."""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from action_msgs.msg import GoalStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.action import ActionClient
from std_srvs.srv import Trigger

from tests.ros.support import FakeArm, running, single
from world2act.node import COMMAND, EVENT, LATCHED, make
from world2act_core.embodiment import Embodiment
from world2act_core.episodes import compose
from world2act_core.episodes.fields import HOLD
from world2act_core.episodes.messages import EPISODE_EVENT
from world2act_core.episodes.storage import bag_messages, decode
from world2act_core.runtime.graphs import Graph
from world2act_interfaces.action import RunTask
from world2act_interfaces.msg import ActionChunk, ArmCommand, EpisodeEvent, SkillPrompt

LIMIT_S = 0.3
PROMPTER: dict[str, Any] = {"simulator": False, "task": "put the bowl on the plate"}


class Around:
    """Whoever the prompter and the recorder need: an arm, a policy and a command process that only hold."""

    def __init__(self, probe: Any, embodiment: Embodiment, everything: bool = False) -> None:
        self.probe = probe
        commands = probe.node.create_publisher(ArmCommand, "arm_command", COMMAND)
        probe.listen(EpisodeEvent, "episode_event", EVENT)
        probe.listen(SkillPrompt, "skill_prompt", LATCHED)
        self.events: list[EpisodeEvent] = probe.heard["episode_event"]
        self.prompts: list[SkillPrompt] = probe.heard["skill_prompt"]
        if everything:
            self._arm = FakeArm(probe, embodiment)
            self._chunks = probe.node.create_publisher(ActionChunk, "action_chunk", COMMAND)
        hold = compose.hold_command("nothing to do", 0, make=make)
        assert hold.mode == HOLD
        probe.node.create_timer(0.05, lambda: commands.publish(hold))

    def ends(self, episode: str) -> list[EpisodeEvent]:
        return [e for e in self.events if e.episode_id == episode and e.event == EpisodeEvent.END]

    def call(self, name: str) -> Any:
        client = self.probe.node.create_client(Trigger, name)
        self.probe.wait(client.service_is_ready, 30, f"{name} is there")
        return self.probe.wait_for_reply(client, Trigger.Request(), 30)


@pytest.mark.slow
def test_a_cancel_that_races_the_end_leaves_one_end_and_a_result_that_agrees(
    probe: Any, domain: int, panda: Embodiment
) -> None:
    rng = random.Random(0)
    around = Around(probe, panda)
    client = ActionClient(probe.node, RunTask, "run_task")
    with running(single("skill_prompter", time_limit_s=LIMIT_S, **PROMPTER), domain) as (processes, output):
        probe.wait_ready("skill_prompter")
        probe.wait(client.server_is_ready, 30, "the action server")
        seen = set()
        for number in range(12):
            goals = [RunTask.Goal(task="t", episode_id=f"e{number}{twin}") for twin in "ab"[: 1 + number % 2]]
            sent = [client.send_goal_async(goal) for goal in goals]
            probe.wait(lambda sent=sent: all(f.done() for f in sent), 30, "the goals are answered")
            handles = [future.result() for future in sent]
            results = {i: h.get_result_async() for i, h in enumerate(handles) if h.accepted}
            assert results, "a goal is accepted when nothing runs"
            time.sleep(rng.uniform(0.8, 1.3) * LIMIT_S)  # about when it ends by itself
            for index in results:
                handles[index].cancel_goal_async()
            probe.wait(lambda results=results: all(f.done() for f in results.values()), 30, "the results")
            for index, future in results.items():
                status, result = future.result().status, future.result().result
                episode, outcome = goals[index].episode_id, result.outcome
                seen.add(outcome)
                if outcome == RunTask.Result.FAULT:
                    assert "another task is running" in result.reason and not around.ends(episode)
                    continue
                probe.wait(lambda episode=episode: around.ends(episode), 30, "END")
                (end,) = around.ends(episode)
                assert end.reason == result.reason
                cancelled = outcome == RunTask.Result.CANCELLED
                assert status == (GoalStatus.STATUS_CANCELED if cancelled else GoalStatus.STATUS_SUCCEEDED)
        assert seen & {RunTask.Result.CANCELLED, RunTask.Result.TIME_LIMIT}
        assert processes.running[0].process.poll() is None
    starts = [e.episode_id for e in around.events if e.event == EpisodeEvent.START]
    assert all(len(around.ends(episode)) == 1 for episode in starts)
    assert "Traceback" not in output.getvalue()


def test_deactivating_the_prompter_ends_its_task_so_that_the_arm_does_not_go_on(
    probe: Any, domain: int, panda: Embodiment
) -> None:
    around = Around(probe, panda)
    change = probe.node.create_client(ChangeState, "skill_prompter/change_state")
    with running(single("skill_prompter", **PROMPTER), domain):
        probe.wait_ready("skill_prompter")
        assert around.call("skill_prompter/start").success
        probe.wait(lambda: any(p.skill for p in around.prompts), 30, "the task runs")
        request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_DEACTIVATE))
        assert probe.wait_for_reply(change, request, 30).success
        probe.wait(lambda: not around.prompts[-1].skill, 30, "the stop is prompted")
        (end,) = probe.wait(lambda: [e for e in around.events if e.event == EpisodeEvent.END], 30, "END")
        assert end.reason == "skill_prompter was deactivated"


def prompter_and_recorder(bag: Path) -> Graph:
    recorder = single("recorder", folder=str(bag))
    return replace(recorder, nodes=recorder.nodes + single("skill_prompter", **PROMPTER).nodes)


@pytest.mark.parametrize("stopped", [True, False], ids=["right after ~/stop", "in the middle of a task"])
def test_ctrl_c_does_not_lose_the_end_of_an_episode(
    probe: Any, domain: int, panda: Embodiment, tmp_path: Path, stopped: bool
) -> None:
    """Regression: ROS was shut down by the signal, with the END still to be sent or on its way."""
    bag = tmp_path / "bag"
    around = Around(probe, panda, everything=True)
    with running(prompter_and_recorder(bag), domain) as (processes, output):
        for name in ("recorder", "skill_prompter"):
            probe.wait_ready(name)
        assert around.call("skill_prompter/start").success
        probe.wait(lambda: any(p.skill for p in around.prompts), 30, "the task runs")
        started = probe.wait(lambda: [e for e in around.events if e.event == EpisodeEvent.START], 30, "START")
        if stopped:
            assert around.call("skill_prompter/stop").success
        for entry in processes.running:
            os.kill(entry.process.pid, signal.SIGINT)
        for entry in processes.running:
            assert entry.process.wait(30) == 0, output.getvalue()
    events = [decode(raw) for raw in bag_messages(bag) if raw.type_name == EPISODE_EVENT]
    assert [(event.event, event.episode_id) for event in events] == [
        (EpisodeEvent.START, started[0].episode_id),
        (EpisodeEvent.END, started[0].episode_id),
    ]
    assert events[1].reason == ("cancelled" if stopped else "skill_prompter was deactivated")
    assert "Traceback" not in output.getvalue()
