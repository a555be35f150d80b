"""The graph of a robot by the wall clock: camera nodes, a fake arm, a replayed policy, a bag at the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from std_srvs.srv import Trigger

from tests.ros.support import FakeArm, a_video, make_episode, running
from world2act.node import EVENT, RECORD
from world2act_core.embodiment import Embodiment
from world2act_core.episodes import BagWriter, read_bag
from world2act_core.evaluation.latency import AGE, WHOLE, latency_table, read_latency
from world2act_core.runtime.graphs import describe
from world2act_interfaces.msg import ArmCommand, EpisodeEvent


def steady_states(arm: FakeArm, period_s: float) -> Callable[[], None]:
    """A driver that stamps every period, as one with its own clock does, however late this process is called."""
    due = time.time()

    def show() -> None:
        nonlocal due
        while due <= time.time():
            arm.show_state(due)
            due += period_s

    return show


def test_a_task_runs_holds_when_stopped_and_is_recorded(
    probe: Any, domain: int, robot: Embodiment, tmp_path: Path
) -> None:
    with BagWriter(tmp_path / "made", robot) as writer:
        writer.write_episode(make_episode(robot, steps=40))
    video = a_video(tmp_path / "camera.avi", 60, 30)
    arguments = {
        "robot": str(tmp_path / "bench_arm.yaml"),
        "policy": f"replay:{tmp_path / 'made'}",
        "cameras": f"agentview=usb:{video},wrist=usb:{video}",
        "task": "put the bowl on the plate",
        "record": str(tmp_path / "live"),
        "dry_run": "true",
    }
    probe.listen(ArmCommand, "dry_run/arm_command", RECORD)
    probe.listen(EpisodeEvent, "episode_event", EVENT)
    commands: list[ArmCommand] = probe.heard["dry_run/arm_command"]
    arm = FakeArm(probe, robot, with_cameras=False)
    probe.node.create_timer(0.02, steady_states(arm, 0.02))
    start, stop = (probe.node.create_client(Trigger, f"skill_prompter/{name}") for name in ("start", "stop"))
    with running(describe("real_arm").build(arguments), domain) as (processes, output):
        probe.wait_ready("skill_prompter")
        assert probe.wait_for_reply(start, Trigger.Request(), 10).success
        probe.wait(lambda: {c.chunk for c in commands if c.mode == ArmCommand.TRACK} >= {1, 2, 3, 4}, 30, "four chunks")
        assert probe.wait_for_reply(stop, Trigger.Request(), 10).success
        probe.wait(lambda: commands[-1].reason == "no episode is running", 5, "the hold after the stop")
        ended = probe.wait(lambda: [e for e in probe.heard["episode_event"] if e.event == 1], 5, "END")[0]
        assert ended.reason == "cancelled"
        assert not probe.node.count_publishers("arm_command"), "a dry run must not reach the arm"
        processes.interrupt()
        assert processes.wait() == 0, output.getvalue()
    tracks = [c for c in commands if c.mode == ArmCommand.TRACK and c.chunk == 1]
    assert [c.step for c in tracks] == [0, 1, 2, 3], "a chunk's first steps were skipped"
    raw = read_bag(tmp_path / "live", robot, with_actions=False)
    assert [episode.task for episode in raw.episodes] == ["put the bowl on the plate"], raw.refused
    frame = raw.episodes[0].images["wrist"][0]
    assert frame.shape == (128, 128, 3) and frame[..., 2].mean() > 200 and frame[..., 0].mean() < 50, "RGB, not BGR"
    # The policy is asked again what it was shown, though it was asked by the wall clock.
    replay = {"robot": arguments["robot"], "bag": arguments["record"], "policy": arguments["policy"]}
    with running(describe("replay").build(replay), domain) as (processes, output):
        assert processes.wait() == 0 and ", 0 chunks missing" in output.getvalue()
    timed = read_latency(tmp_path / "live")
    assert {f"{name}: photon → received" for name in ("agentview", "wrist")} | {WHOLE, AGE} < set(timed.segments())
    whole = timed.segments()[WHOLE]
    assert len(whole) >= 4 and (whole > 0).all() and (whole < 30_000).all(), latency_table(timed)
    assert not any("clocks disagree" in note for note in timed.notes()), latency_table(timed)
