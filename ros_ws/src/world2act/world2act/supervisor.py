"""Node ``supervisor``: brings the nodes of a graph up and down in order, watches them, says how the graph is.

The nodes must not start by themselves (``autostart`` false). ``~/bring_up`` and ``~/shut_down`` answer when it is done.
Publishes: one summary with a line a node in ``/diagnostics``, ``~/status`` (latched). What is decided, and why, is in
world2act_core.runtime.supervision. If the first bring-up fails, the process ends with exit code 1.
"""

from __future__ import annotations

import functools
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.exceptions import InvalidHandle
from rclpy.executors import MultiThreadedExecutor
from std_srvs.srv import Trigger

from world2act.node import DIAGNOSTICS, ERROR, LATCHED, OK, WARN, RCLError, World2ActNode, without_numbers
from world2act.running import run_node
from world2act.transport import without_shared_memory
from world2act_core.errors import World2ActError
from world2act_core.runtime.supervision import ACTIVATE, CLEANUP, CONFIGURE, DEACTIVATE, Phase, Request, Supervision

TICK_S, WATCH_S, LOST_S = 0.1, 1.0, 1.0
LEVELS = (OK, WARN, ERROR)
TRANSITIONS = {CONFIGURE: Transition.TRANSITION_CONFIGURE, ACTIVATE: Transition.TRANSITION_ACTIVATE,
               DEACTIVATE: Transition.TRANSITION_DEACTIVATE, CLEANUP: Transition.TRANSITION_CLEANUP}  # fmt: skip
THREADS = 4  # one may wait in ~/bring_up, another in ~/shut_down


def unless_ending(callback: Callable[..., None]) -> Callable[..., None]:
    """A callback that may still be at work in its thread when the process ends and its node is destroyed."""

    @functools.wraps(callback)
    def guarded(self: SupervisorNode, *arguments: Any) -> None:
        try:
            callback(self, *arguments)
        except (RCLError, InvalidHandle):
            if self.context.ok() and not self.done:
                raise

    return guarded


@dataclass
class _Contact:
    """How a node is reached, and the question that it has not answered yet."""

    change: Any
    state: Any
    asked_at: float = 0.0
    question: Any = None


class SupervisorNode(World2ActNode):
    """Asks and listens; ``Supervision`` decides. The lock keeps the two together."""

    def __init__(self) -> None:
        super().__init__("supervisor")
        names = self.parameter("nodes", [], "nodes to look after, in the order in which they are activated")
        self._at_once = self.parameter("bring_up", True, "bring them up without being asked to")
        appear_s = self.parameter("appear_s", 60.0, "the bring-up fails if a node is not there by then", 1.0, 3600.0)
        transition_s = self.parameter("transition_s", 300.0, "longest transition, a model's loading", 1.0, 3600.0)
        if not names:
            raise World2ActError("supervisor has no nodes to look after: set the parameter nodes")
        self._supervision = Supervision(names, appear_s, transition_s)
        self._lock, self._settled = threading.Lock(), threading.Condition()
        self._requested = threading.Lock()
        self._group, self._waiting = MutuallyExclusiveCallbackGroup(), ReentrantCallbackGroup()
        self._told: tuple[int, str] = (-1, "")
        self._began = time.monotonic()
        self._status_publisher = self.create_publisher(DiagnosticStatus, "~/status", LATCHED)
        self._contacts: dict[str, _Contact] = {}
        for name in names:
            # Endpoints are announced in order: a node that answers about its state has found the other client too.
            change = self.create_client(ChangeState, f"{name}/change_state", callback_group=self._group)
            state = self.create_client(GetState, f"{name}/get_state", callback_group=self._group)
            self._contacts[name] = _Contact(change, state)
        namespace = self.get_namespace().strip("/")
        self._named = {f"{namespace}/{name}".lstrip("/"): name for name in names}
        self.create_subscription(
            DiagnosticArray, "/diagnostics", self._on_diagnostics, DIAGNOSTICS, callback_group=self._group
        )
        self.create_timer(TICK_S, self._tick, callback_group=self._group)
        for verb in (self.bring_up, self.shut_down):
            service = functools.partial(self._on_request, verb)
            self.create_service(Trigger, f"~/{verb.__name__}", service, callback_group=self._waiting)

    def activate(self) -> None:
        if self._at_once:
            self.bring_up()

    def bring_up(self) -> None:
        self._began = time.monotonic()
        with self._lock:
            self._supervision.bring_up(self._began)

    def shut_down(self) -> None:
        self._began, self._at_once = time.monotonic(), False
        with self._lock:
            self._supervision.shut_down(self._began)

    # --- what is asked of it ---------------------------------------------------------------------------------------
    def _on_request(self, verb: Any, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Carry it out and answer when it is done; one at a time."""
        if not self._requested.acquire(blocking=False):
            response.message = "another request is being carried out"
            return response
        try:
            wanted = Phase.UP if verb == self.bring_up else Phase.DOWN
            verb()
            with self._settled:
                while not self._supervision.settled and self.context.ok():
                    self._settled.wait(TICK_S)
            with self._lock:
                health = self._supervision.health(time.monotonic())
                response.success = self._supervision.phase is wanted and not self._supervision.failure
            response.message = health.sentence
        finally:
            self._requested.release()
        return response

    # --- what it sees ----------------------------------------------------------------------------------------------
    def _on_diagnostics(self, array: DiagnosticArray) -> None:
        with self._lock:
            for said in array.status:
                if said.name in self._named:
                    level = min(ord(said.level), len(LEVELS) - 1)
                    self._supervision.said(self._named[said.name], level, said.message, time.monotonic())

    def _ask_state(self, name: str, contact: _Contact) -> None:
        now = time.monotonic()
        with self._lock:
            every = WATCH_S if self._supervision.settled else TICK_S
        if now - contact.asked_at < (LOST_S if contact.question else every) or not contact.state.service_is_ready():
            return
        if contact.question is not None:  # the answer is lost, or the node is busy and will answer that one later
            contact.state.remove_pending_request(contact.question)
        contact.asked_at, contact.question = now, contact.state.call_async(GetState.Request())
        contact.question.add_done_callback(functools.partial(self._on_state, name, now))

    @unless_ending
    def _on_state(self, name: str, asked: float, future: Any) -> None:
        self._contacts[name].question = None
        if future.cancelled() or future.exception() is not None:
            return
        with self._lock:
            self._supervision.saw_state(name, future.result().current_state.label, asked, time.monotonic())
        self._decide()

    # --- what it does ----------------------------------------------------------------------------------------------
    @unless_ending
    def _tick(self) -> None:
        for name, contact in self._contacts.items():
            self._ask_state(name, contact)
        self._decide()

    def _decide(self) -> None:
        with self._lock:
            before = self._supervision.phase
            for request in self._supervision.due(time.monotonic()):
                self._send(request)
            now_settled = self._supervision.settled and before is not self._supervision.phase
            phase, health = self._supervision.phase, self._supervision.health(time.monotonic())
            failed = bool(self._supervision.failure)
        self._say(health, phase)
        if not now_settled:
            return
        took = f"after {time.monotonic() - self._began:.1f} s"
        if not failed:
            self.get_logger().info(f"{health.sentence} {took}" if phase is Phase.UP else f"all nodes are down {took}")
        with self._settled:
            self._settled.notify_all()
        if failed and self._at_once:
            self.exit_code, self.done = 1, True
        self._at_once = False

    def _send(self, request: Request) -> None:
        message = ChangeState.Request(transition=Transition(id=TRANSITIONS[request.transition]))
        future = self._contacts[request.node].change.call_async(message)
        future.add_done_callback(functools.partial(self._on_answer, request))

    @unless_ending
    def _on_answer(self, request: Request, future: Any) -> None:
        if future.cancelled() or future.exception() is not None:
            return
        with self._lock:
            self._supervision.answered(request.node, request.transition, future.result().success, time.monotonic())
        self._decide()

    def _say(self, health: Any, phase: Phase) -> None:
        """In the diagnostics, and latched when it is news."""
        tell = self.report if health.own else self.note
        tell(LEVELS[health.level], health.sentence, **health.nodes)
        said = (health.level, without_numbers(health.sentence))
        if said == self._told:
            return
        self._told = said
        values = {"state": phase.value, **health.nodes}
        self.publish(
            self._status_publisher,
            DiagnosticStatus(
                level=LEVELS[health.level],
                name=self.get_fully_qualified_name().lstrip("/"),
                message=health.sentence,
                values=[KeyValue(key=key, value=value) for key, value in values.items()],
            ),
        )


def main() -> None:
    without_shared_memory()  # who brings back what was killed must not be blocked by it
    sys.exit(run_node(SupervisorNode, functools.partial(MultiThreadedExecutor, num_threads=THREADS)))
