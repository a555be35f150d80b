"""The command process with a dead-man, as a dry run of an arm that takes joint positions, and in real time."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ros.desks import MOVE, OperatorDesk
from tests.ros.support import running, single
from tests.runtime.arms import pose
from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_interfaces.msg import ArmCommand


def test_without_the_dead_man_nothing_leaves(probe: Any, domain: int, panda: Embodiment) -> None:
    with running(single("command", clock="wall", execution="real_time", dead_man_s=1.0, state_timeout_s=5.0), domain):
        desk = OperatorDesk(probe, panda)
        desk.wait_reason("the dead-man is not pressed")
        timer = probe.node.create_timer(0.2, lambda: desk.press(True))
        desk.begin()
        first = desk.move()
        desk.wait_tracked(first)
        timer.cancel()
        desk.press(False)
        desk.wait_reason("the dead-man is not pressed")
        assert 0 < len(desk.tracked(first)) < len(MOVE)
        timer.reset()
        desk.wait_reason("waiting for a chunk that answers an observation from after the hold")
        second = desk.move()
        desk.wait_tracked(second)
        timer.cancel()
        desk.wait_reason("the dead-man was last pressed")
        assert len(desk.tracked(first)) < len(MOVE)


def test_a_dry_run_leads_the_first_command_in_and_reaches_no_arm(probe: Any, domain: int) -> None:
    robot = load_embodiment("ur5e")
    options: dict[str, Any] = {"robot": "ur5e", "clock": "wall", "dry_run": True, "execution": "real_time"}
    rested = pose(robot)["joint_positions"]
    target = np.array([*(rested + 0.1), -1])
    with running(single("command", **options), domain):
        desk = OperatorDesk(probe, robot, "dry_run/arm_command")
        desk.begin()
        chunk = desk.move(actions=np.tile(target, (16, 1)))
        desk.wait_tracked(chunk, steps=16)
        led = np.array([command.values for command in desk.tracked(chunk)])
        assert np.abs(led[0, :6] - rested).max() < 0.01, "the first command is at the measured pose"
        assert (np.diff(led[:, :6], axis=0) > -1e-6).all()
        np.testing.assert_allclose(led[-1], target, atol=1e-5)
        for topic in ("arm_command", *robot.output.topics):
            assert probe.node.count_publishers(f"dry_run/{topic}") and not probe.node.count_publishers(topic), topic


def test_a_new_chunk_joins_the_one_that_is_executed_without_a_hold(probe: Any, domain: int, panda: Embodiment) -> None:
    with running(single("command", clock="wall", execution="real_time", state_timeout_s=5.0), domain):
        desk = OperatorDesk(probe, panda)
        desk.begin()
        first = desk.move(actions=np.full((12, 7), 0.0))
        desk.wait_tracked(first, steps=4)
        second = desk.move(actions=np.full((12, 7), 0.5))
        desk.wait_tracked(second, steps=10)
        began = next(i for i, c in enumerate(desk.commands) if c.mode == ArmCommand.TRACK)
        moving = desk.commands[began : began + 12]
        assert all(command.mode == ArmCommand.TRACK for command in moving), "no hold at the boundary"
        x = np.array([command.values[0] for command in moving])
        assert 0 < np.diff(x).max() < 0.3 and x[-1] > 0.4
