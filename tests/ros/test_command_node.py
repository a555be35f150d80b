"""The command process: one command a state, and a hold with a reason instead of a bad chunk."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.ros.desks import Desk
from tests.ros.support import running, single
from world2act_core.embodiment import Embodiment
from world2act_interfaces.msg import ArmCommand


@pytest.fixture
def desk(probe: Any, domain: int, panda: Embodiment) -> Iterator[Desk]:
    graph = single("command", clock="state", hold_after_s=0.3)
    with running(graph, domain):
        yield Desk(probe, panda)


def test_each_state_gets_one_command_with_its_stamp(desk: Desk) -> None:
    actions = np.linspace(-0.9, 0.9, 28, dtype=np.float32).reshape(4, 7)
    desk.prompt("e1")
    desk.chunk("e1", 0.0, actions)
    for step in range(4):
        desk.arm.show_state(step * 0.05)
        desk.probe.wait(lambda step=step: len(desk.commands) > step, 5, f"command {step}")
    desk.probe.spin(0.15)
    assert [(c.mode, c.step, c.header.stamp.nanosec) for c in desk.commands] == [
        (ArmCommand.TRACK, step, step * 50_000_000) for step in range(4)
    ]
    np.testing.assert_array_equal([list(c.values) for c in desk.commands], actions)


BAD_CHUNKS = {
    "NaN": (np.full((4, 7), np.nan), 4, "holds nan at step 0, x"),
    "too short": (np.zeros((3, 7)), 3, "shape (3, 7)"),
    "wrong length": (np.zeros(27), 4, "shape (1, 27)"),
    "out of range": (np.full((4, 7), 1.2), 4, "outside -1..1"),
}


@pytest.mark.parametrize("kind", BAD_CHUNKS)
def test_a_bad_chunk_makes_the_arm_hold_and_say_why(desk: Desk, kind: str) -> None:
    actions, horizon, says = BAD_CHUNKS[kind]
    desk.prompt("e1")
    desk.chunk("e1", 0.0, actions, horizon=horizon)
    held = desk.held_because(says)
    assert held.mode == ArmCommand.HOLD and len(held.values) == 0, "a hold has no values, not zeros"
    assert not [c for c in desk.commands if c.mode == ArmCommand.TRACK]


def test_a_chunk_of_a_past_episode_moves_nothing(desk: Desk) -> None:
    desk.prompt("e2")
    desk.chunk("e1", 0.0, np.full((4, 7), 0.5))
    desk.held_because("is for episode e1")
    assert not [c for c in desk.commands if c.mode == ArmCommand.TRACK]


def test_by_the_wall_clock_it_commands_at_the_control_rate_and_stops_at_once(
    probe: Any, domain: int, panda: Embodiment
) -> None:
    with running(single("command", clock="wall"), domain):
        desk = Desk(probe, panda)
        probe.node.create_timer(0.02, lambda: desk.arm.show_state(time.time()))
        first = desk.next_command(10)
        assert first.mode == ArmCommand.HOLD
        began = time.time()
        desk.prompt("e1", stamp=began)
        desk.chunk("e1", began, np.full((4, 7), 0.5))
        probe.wait(lambda: sum(c.mode == ArmCommand.TRACK for c in desk.commands) == 4, 5, "the whole chunk")
        desk.chunk("e1", time.time(), np.full((4, 7), 0.5), sequence=2)
        probe.wait(lambda: any(c.chunk == 2 for c in desk.commands), 5, "the second chunk")
        desk.prompt("e1", skill="")
        probe.wait(lambda: desk.commands[-1].reason == "no episode is running", 2, "a stop")
        count = len(desk.commands)
        probe.spin(1.0)
        later = desk.commands[count:]
        assert 15 <= len(later) <= 25, f"{len(later)} commands in a second at 20 Hz"
        assert not [c for c in later if c.mode == ArmCommand.TRACK]
