"""The supervisor's decisions: order, lost requests, refusals with their reasons, processes that come back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from world2act_core.runtime.supervision import (
    ACTIVE,
    ERROR,
    INACTIVE,
    OK,
    UNCONFIGURED,
    WARN,
    Phase,
    Request,
    Supervision,
)

LEADS_TO = {"configure": INACTIVE, "activate": ACTIVE, "deactivate": INACTIVE, "cleanup": UNCONFIGURED}


class Graph:
    """Nodes that obey at once, unless told otherwise; time passes only when it is asked to."""

    def __init__(self, *names: str) -> None:
        self.supervision = Supervision(names, appear_s=60, transition_s=100, silent_s=5)
        self.states = dict.fromkeys(names, UNCONFIGURED)
        self.gone: set[str] = set()
        self.refuses: dict[Request, str] = {}
        self.loses: list[Request] = []
        self.sent: list[tuple[str, str]] = []
        self.now = 1000.0

    def turn(self, seconds: float = 0.1) -> None:
        """Ask every node that is there for its state, send what is due, have it answered."""
        self.now += seconds
        for name, state in self.states.items():
            if name not in self.gone:
                self.supervision.saw_state(name, state, self.now - 0.01, self.now)
        for request in self.supervision.due(self.now):
            self.sent.append((request.node, request.transition))
            if request in self.loses:
                self.loses.remove(request)
            elif request.node not in self.gone:
                self.carry_out(request)

    def carry_out(self, request: Request) -> None:
        refusal = self.refuses.get(request)
        if refusal is None:
            self.states[request.node] = LEADS_TO[request.transition]
        else:
            self.supervision.said(request.node, ERROR, refusal, self.now)
        self.supervision.answered(request.node, request.transition, refusal is None, self.now)

    def until(self, condition: Callable[[], bool], turns: int = 1500) -> None:
        for _ in range(turns):
            if condition():
                return
            self.turn()
        raise AssertionError(f"not within {turns} turns: {self.supervision.health(self.now)}")

    def up(self) -> None:
        self.supervision.bring_up(self.now)
        self.until(lambda: self.supervision.settled)
        assert self.supervision.phase is Phase.UP, self.supervision.health(self.now)


def test_configured_at_once_and_activated_in_order() -> None:
    graph = Graph("arm", "command", "policy")
    graph.up()
    assert graph.sent[:3] == [("arm", "configure"), ("command", "configure"), ("policy", "configure")]
    assert graph.sent[3:] == [("arm", "activate"), ("command", "activate"), ("policy", "activate")]
    assert graph.supervision.health(graph.now) == (
        OK,
        "all 3 nodes are active",
        dict.fromkeys(graph.states, ACTIVE),
        False,
    )


def test_a_node_that_is_late_holds_up_those_behind_it() -> None:
    graph = Graph("arm", "command", "policy")
    graph.gone = {"command"}
    graph.supervision.bring_up(graph.now)
    for _ in range(50):
        graph.turn()
    assert graph.states == {"arm": ACTIVE, "command": UNCONFIGURED, "policy": INACTIVE}
    graph.gone = set()
    graph.until(lambda: graph.supervision.phase is Phase.UP)


def test_taken_down_the_other_way_round_and_up_again() -> None:
    graph = Graph("arm", "command", "policy")
    graph.up()
    graph.sent.clear()
    graph.supervision.shut_down(graph.now)
    graph.until(lambda: graph.supervision.settled)
    assert graph.supervision.phase is Phase.DOWN and not graph.supervision.failure
    assert graph.sent == [(n, t) for n in ("policy", "command", "arm") for t in ("deactivate", "cleanup")]
    graph.up()


def test_a_node_that_cannot_be_configured_takes_the_rest_down_with_its_reason() -> None:
    graph = Graph("arm", "command", "policy")
    graph.refuses[Request("policy", "configure")] = "there is no bag at /nowhere"
    graph.supervision.bring_up(graph.now)
    graph.until(lambda: graph.supervision.settled)
    assert graph.supervision.phase is Phase.DOWN and set(graph.states.values()) == {UNCONFIGURED}
    level, sentence, _, own = graph.supervision.health(graph.now)
    expected = "node policy cannot be configured: there is no bag at /nowhere; the other nodes were taken down"
    assert (level, sentence, own) == (ERROR, expected, True)
    downs = [name for name, transition in graph.sent if transition in ("deactivate", "cleanup")]
    assert downs == [name for name in ("command", "arm") for _ in range(downs.count(name))], "not in reverse order"
    graph.refuses.clear()
    graph.up()  # the reason is gone: it can be tried again


@pytest.mark.parametrize("told_by", ["its answer", "its state"])
def test_what_is_being_activated_when_all_are_taken_down_is_not_asked_for_what_it_cannot_do(told_by: str) -> None:
    """It was asked to be cleaned up, as inactive, and was active when that arrived."""
    graph = Supervision(("command", "policy"))
    graph.bring_up(0.0)
    for name in ("command", "policy"):
        graph.saw_state(name, UNCONFIGURED, 0.05, 0.1)
    assert len(graph.due(0.1)) == 2
    graph.answered("command", "configure", True, 0.2)
    assert graph.due(0.2) == [Request("command", "activate")]
    graph.said("policy", ERROR, "no bag", 0.25)
    graph.answered("policy", "configure", False, 0.3)
    graph.saw_state("policy", UNCONFIGURED, 0.35, 0.4)
    assert graph.due(0.4) == [] and graph.phase is Phase.FALLING
    graph.saw_state("command", INACTIVE, 0.3, 0.45)
    assert graph.due(0.45) == [], "that was asked before"
    if told_by == "its answer":
        graph.answered("command", "activate", True, 0.5)
    else:
        graph.saw_state("command", ACTIVE, 0.45, 0.5)
    assert graph.due(0.5) == [Request("command", "deactivate")]


def test_an_older_fault_is_not_given_as_the_reason() -> None:
    graph = Graph("policy")
    graph.supervision.said("policy", ERROR, "an old story", graph.now)
    graph.supervision.bring_up(graph.now)
    graph.turn()
    graph.refuses[Request("policy", "activate")] = ""
    graph.supervision.said("policy", OK, "configured", graph.now)
    graph.until(lambda: graph.supervision.settled)
    assert "an old story" not in graph.supervision.failure


def test_a_lost_request_is_sent_again() -> None:
    graph = Graph("arm", "command")
    graph.loses = [Request("arm", "configure"), Request("command", "activate")]
    graph.up()
    assert graph.sent.count(("arm", "configure")) == 2 and graph.sent.count(("command", "activate")) == 2


def test_a_request_that_arrived_twice_is_no_failure() -> None:
    """The first one's answer was lost, the second is refused because the node is there already."""
    graph = Graph("arm")
    graph.supervision.bring_up(graph.now)
    graph.loses = [Request("arm", "configure")]
    graph.turn()
    graph.states["arm"] = INACTIVE  # it had arrived after all
    graph.supervision.answered("arm", "configure", False, graph.now)
    graph.until(lambda: graph.supervision.phase is Phase.UP)


def test_a_node_that_never_appears_is_named() -> None:
    graph = Graph("arm", "camera")
    graph.gone = {"camera"}
    graph.supervision.bring_up(graph.now)
    graph.until(lambda: graph.supervision.settled)
    assert "node camera did not appear within 60 s" in graph.supervision.failure
    assert graph.states["arm"] == UNCONFIGURED


def test_a_transition_that_does_not_end_is_given_up() -> None:
    graph = Graph("arm", "policy")
    graph.loses = [Request("policy", "configure")]
    graph.supervision.bring_up(graph.now)
    graph.turn()
    graph.gone = {"policy"}
    graph.until(lambda: graph.supervision.settled)
    assert graph.supervision.failure == "node policy cannot be configured: it has been being configured for 100 s"


def test_a_process_that_came_back_is_brought_up_alone() -> None:
    graph = Graph("arm", "command", "policy")
    graph.up()
    graph.turn()
    graph.gone = {"policy"}
    for _ in range(60):
        graph.turn()
    health = graph.supervision.health(graph.now)
    assert health.level == ERROR and "policy: silent for 6 s: it hangs or has ended" in health.sentence
    graph.sent.clear()
    graph.gone, graph.states["policy"] = set(), UNCONFIGURED
    for _ in range(5):
        graph.turn()
    assert graph.sent == [("policy", "configure"), ("policy", "activate")]
    health = graph.supervision.health(graph.now)
    assert health.level == OK and health.nodes["policy"] == "active (came back once)"


def test_one_that_came_back_and_refuses_leaves_the_others_alone() -> None:
    graph = Graph("arm", "policy")
    graph.up()
    graph.turn()
    graph.states["policy"] = UNCONFIGURED
    graph.refuses[Request("policy", "configure")] = "no such run"
    for _ in range(40):
        graph.turn()
    assert graph.states["arm"] == ACTIVE and graph.supervision.phase is Phase.UP
    health = graph.supervision.health(graph.now)
    assert (health.level, health.sentence) == (ERROR, "policy: node policy cannot be configured: no such run")
    assert graph.sent.count(("policy", "configure")) == 2, "it must not be asked over and over"


def test_a_node_that_somebody_paused_is_left_paused() -> None:
    graph = Graph("arm", "policy")
    graph.up()
    graph.turn()
    graph.sent.clear()
    graph.states["policy"] = INACTIVE
    for _ in range(30):
        graph.turn()
    assert not graph.sent
    assert graph.supervision.health(graph.now)[:2] == (WARN, "policy: inactive: somebody else paused it")


def test_the_worst_that_a_node_says_of_itself_is_the_graph_s_health() -> None:
    graph = Graph("arm", "policy")
    graph.up()
    graph.supervision.said("policy", WARN, "no chunk: camera wrist is stale", graph.now)
    health = graph.supervision.health(graph.now)
    assert health[:2] == (WARN, "policy: active: no chunk: camera wrist is stale") and not health.own


def test_a_node_that_was_busy_while_all_went_down_follows() -> None:
    graph = Graph("arm", "policy")
    graph.loses = [Request("arm", "configure")]  # it is busy with it, and cannot say so
    graph.refuses[Request("policy", "configure")] = "no such run"
    graph.gone = set()
    graph.supervision.bring_up(graph.now)
    graph.turn()
    graph.gone = {"arm"}
    graph.until(lambda: graph.supervision.settled)
    graph.gone, graph.states["arm"] = set(), INACTIVE
    for _ in range(5):
        graph.turn()
    assert graph.states["arm"] == UNCONFIGURED
