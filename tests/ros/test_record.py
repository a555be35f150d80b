"""Graph ``record``: what a teleoperated arm does becomes an episode with a task, images and actions."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from std_srvs.srv import Trigger

from tests.ros.support import FakeArm, a_video, running
from world2act.node import COMMAND, EVENT, make
from world2act_core.embodiment import Embodiment
from world2act_core.episodes import compose, read_bag
from world2act_core.runtime.graphs import describe
from world2act_interfaces.msg import ArmCommand, EpisodeEvent


def test_a_teleoperated_episode_is_logged(probe: Any, domain: int, robot: Embodiment, tmp_path: Path) -> None:
    video = a_video(tmp_path / "v.avi", 60, 30)
    arguments = {
        "robot": str(tmp_path / "bench_arm.yaml"),
        "cameras": ",".join(f"{name}=usb:{video}" for name in robot.cameras),
        "task": "put the bowl on the plate",
        "record": str(tmp_path / "bag"),
    }
    arm = FakeArm(probe, robot, with_cameras=False)
    commands = probe.node.create_publisher(ArmCommand, robot.action.topic, COMMAND)
    probe.listen(EpisodeEvent, "episode_event", EVENT)
    events: list[EpisodeEvent] = probe.heard["episode_event"]
    due = time.time()

    def teleoperate() -> None:
        """States and commands at 20 Hz with the stamps of a driver's own clock, however late this process is called."""
        nonlocal due
        while due <= time.time():
            arm.show_state(due)
            commands.publish(compose.track_command(np.full(7, 0.25), round(due * 1e9), make=make))
            due += 0.05

    probe.node.create_timer(0.02, teleoperate)
    start, stop = (probe.node.create_client(Trigger, f"skill_prompter/{name}") for name in ("start", "stop"))
    with running(describe("record").build(arguments), domain) as (processes, output):
        probe.wait_ready("skill_prompter")
        assert probe.wait_for_reply(start, Trigger.Request(), 10).success
        probe.wait(lambda: events, 60, "START")
        probe.spin(2.0)
        assert probe.wait_for_reply(stop, Trigger.Request(), 10).success
        probe.wait(lambda: read_bag(tmp_path / "bag", robot).episodes, 20, "the episode on disk")
        processes.interrupt()
        assert processes.wait() == 0, output.getvalue()
    contents = read_bag(tmp_path / "bag", robot)
    assert contents.refused == []
    (episode,) = contents.episodes
    assert (episode.task, episode.source) == (arguments["task"], "teleoperation")
    assert episode.steps > 10 and set(episode.images) == set(robot.cameras)
    assert episode.actions is not None and np.allclose(episode.actions, 0.25)
