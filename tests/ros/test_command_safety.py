"""The command process by the wall clock holds for a stated reason, and what it held for is never executed later."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState

from tests.ros.desks import MOVE, OperatorDesk
from tests.ros.support import Probe, running, single
from world2act.node import LATCHED
from world2act_core.embodiment import Embodiment
from world2act_interfaces.msg import ArmCommand


@pytest.fixture(scope="module")
def operator(domain: int, panda: Embodiment) -> Iterator[OperatorDesk]:
    """One process and one desk for tests that leave both as they found them."""
    with running(single("command", clock="wall", execution="real_time", state_timeout_s=5.0), domain):
        probe = Probe(domain)
        yield OperatorDesk(probe, panda)
        probe.close()


@pytest.fixture
def desk(operator: OperatorDesk) -> Iterator[OperatorDesk]:
    operator.wait_reason("no episode is running")
    yield operator
    operator.prompt("", skill="")
    operator.arm.change()


BAD = {
    "NaN": (np.full((4, 7), np.nan), 4, 0.0, "holds nan at step 0, x"),
    "one value too few": (np.zeros(27), 4, 0.0, "shape (1, 27)"),
    "too short": (np.zeros((3, 7)), 3, 0.0, "shape (3, 7)"),
    "old": (MOVE, 40, 3.0, "s old (at most 2 s)"),
    "from the future": (MOVE, 40, -5.0, "s in the future: are the machines' clocks synchronised?"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_chunk_that_must_not_be_executed(desk: OperatorDesk, kind: str) -> None:
    actions, horizon, ago, says = BAD[kind]
    desk.prompt(kind, stamp=time.time() - 10)
    desk.wait_reason("waiting for")
    count = len(desk.commands)
    desk.chunk(kind, time.time() - ago, actions, horizon=horizon)
    held = desk.wait_reason(says)
    assert len(held.values) == 0, "a hold has no values, not zeros"
    assert not [c for c in desk.commands[count:] if c.mode == ArmCommand.TRACK]


@pytest.mark.parametrize("by", ["topic stop", "service ~/stop"])
def test_stop_is_latched_and_reset_never_replays(desk: OperatorDesk, by: str) -> None:
    desk.begin(by)
    first = desk.move(by)
    desk.wait_tracked(first)
    if by == "topic stop":
        desk.stop()
    else:
        assert desk.call("stop").success
    desk.wait_reason(f"stopped by {by}; call ~/reset to go on")
    while_stopped = desk.move(by)
    desk.wait_reason("stopped by")
    stamp = time.time()
    assert desk.call("reset").success and not desk.call("reset").success
    desk.wait_reason("the stop was reset")
    before_reset = desk.move(by, stamp)
    desk.wait_reason("from before the last hold, stop or reset")
    count = len(desk.commands)
    after = desk.move(by)
    desk.wait_tracked(after, steps=4)
    assert len(desk.tracked(first)) < len(MOVE), "the stop came in the middle of the chunk"
    assert {c.chunk for c in desk.commands[count:] if c.mode == ArmCommand.TRACK} == {after}
    assert not desk.tracked(while_stopped) + desk.tracked(before_reset)


def test_the_status_tells_a_late_joiner_the_last_reason(desk: OperatorDesk) -> None:
    desk.stop()
    desk.wait_reason("stopped by topic stop")
    late: list[DiagnosticStatus] = []
    desk.probe.node.create_subscription(DiagnosticStatus, "command/status", late.append, LATCHED)
    desk.probe.wait(lambda: late, 15, "the latched status")
    assert "stopped by topic stop" in late[-1].message and late[-1].level == DiagnosticStatus.WARN
    assert {pair.key: pair.value for pair in late[-1].values}["state"] == "stopped"
    assert desk.call("reset").success


def test_deactivating_in_the_middle_of_a_chunk_ends_it(desk: OperatorDesk) -> None:
    client = desk.probe.node.create_client(ChangeState, "command/change_state")

    def change(transition: int) -> None:
        request = ChangeState.Request(transition=Transition(id=transition))
        assert desk.probe.wait_for_reply(client, request, 15).success

    desk.begin("mid")
    first = desk.move("mid")
    desk.wait_tracked(first)
    change(Transition.TRANSITION_DEACTIVATE)
    desk.probe.spin(0.1)
    count = len(desk.commands)
    desk.probe.spin(0.3)
    stamp = time.time()
    assert len(desk.commands) == count, "an inactive node commands nothing"
    change(Transition.TRANSITION_ACTIVATE)
    desk.wait_reason("waiting for")
    left = len(desk.tracked(first))
    late = desk.move("mid", stamp)
    # Again and again: the subscription is a new one, which the first may miss.
    again = desk.probe.node.create_timer(0.2, lambda: desk.chunk("mid", stamp, MOVE, late, len(MOVE)))
    desk.wait_reason(f"chunk {late} answers an observation")
    again.cancel()
    new = desk.move("mid")
    desk.wait_tracked(new, steps=4)
    assert len(desk.tracked(first)) == left < len(MOVE) and not desk.tracked(late)


def test_a_place_beyond_the_workspace_is_refused_with_its_reason(desk: OperatorDesk) -> None:
    desk.begin("box")
    desk.arm.change(eef_position=[0.0, 0.0, 2.099])
    desk.probe.spin(0.5)  # until the arm shows it
    desk.move("box")
    assert "the end effector would go to z = 2.11" in desk.wait_reason("outside").reason
    assert not [c for c in desk.commands if c.mode == ArmCommand.TRACK and c.chunk == desk.sent]
