"""``status``: a terminal view of a running graph; started by ``world2act status``, which explains the arguments.

It only listens, and asks for lifecycle states. What is shown, and how, is in world2act_core.runtime.status.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.srv import GetState
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from world2act.node import DIAGNOSTICS, LATCHED, RECORD_SENSOR, message_class, without_numbers
from world2act_core.episodes import fields, messages
from world2act_core.episodes.stamps import chunk_stamps
from world2act_core.runtime.status import WINDOW_S, GraphStatus, NodeHealth, Stream
from world2act_interfaces.msg import ActionChunk, ArmCommand, SkillPrompt

READY = "/ready"  # every node of World2Act offers this service
ASK_S, SILENT_S = 1.0, 5.0
STATES = {messages.IMAGE, messages.JOINT_STATE, messages.POSE_STAMPED}
CLEAR = "\x1b[H\x1b[2J"


class StatusView(Node):
    """Finds the graph's nodes and topics as they appear and listens to them, whatever their names are."""

    def __init__(self, namespace: str) -> None:
        super().__init__(f"world2act_status_{os.getpid()}")
        self._prefix = "/" + f"{namespace.strip('/')}/".lstrip("/")
        domain = os.environ.get("ROS_DOMAIN_ID", "0")
        self.status = GraphStatus(f"{self._prefix} in ROS domain {domain}")
        self._states: dict[str, Any] = {}
        self._asked: dict[str, tuple[float, Any]] = {}
        self._answered: dict[str, float] = {}
        self._heard: set[str] = set()
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, DIAGNOSTICS)
        self.create_timer(0.3, self.look)

    def look(self) -> None:
        """Follow what is there now."""
        present = set()
        for service, _ in self.get_service_names_and_types():
            name = service.removesuffix(READY)
            if name != service and name.startswith(self._prefix):
                present.add(name)
        for name in set(self.status.nodes) - present:
            del self.status.nodes[name]
        for name in present:
            self.status.nodes.setdefault(name, NodeHealth())
            self._ask_state(name)
        for topic, kinds in self.get_topic_names_and_types():
            if topic.startswith(self._prefix) and topic not in self._heard and self.count_publishers(topic):
                self._listen(topic, kinds[0])

    def _ask_state(self, name: str) -> None:
        """Its lifecycle state; asked again every second, as an answer may be lost and a node may hang."""
        now = time.monotonic()
        if name not in self._states:
            self._states[name] = self.create_client(GetState, f"{name}/get_state")
        client = self._states[name]
        when, pending = self._asked.get(name, (0.0, None))
        if not client.service_is_ready() or now - when < ASK_S:
            return
        if pending is not None and not pending.done():
            client.remove_pending_request(pending)
        if now - self._answered.get(name, now) > SILENT_S:
            self.status.nodes[name].state = ""

        def answered(future: Any) -> None:
            self._answered[name] = time.monotonic()
            if name in self.status.nodes:
                self.status.nodes[name].state = future.result().current_state.label

        future = client.call_async(GetState.Request())
        future.add_done_callback(answered)
        self._asked[name] = (now, future)

    def _listen(self, topic: str, kind: str) -> None:
        self._heard.add(topic)
        if kind in STATES:
            stream = self.status.streams.setdefault(topic, Stream(time.monotonic()))
            # As bytes: an image need not become a Python object to be counted.
            callback = functools.partial(self._on_raw, stream)
            self.create_subscription(message_class(kind), topic, callback, RECORD_SENSOR, raw=True)
        elif kind == messages.ACTION_CHUNK:
            self._count(topic, ActionChunk, self._on_chunk)
        elif kind == messages.ARM_COMMAND:
            self._count(topic, ArmCommand, self._on_command)
        elif kind == messages.SKILL_PROMPT:
            self.create_subscription(SkillPrompt, topic, self._on_prompt, LATCHED)
        elif kind == "diagnostic_msgs/msg/DiagnosticStatus" and topic.endswith("/command/status"):
            self.create_subscription(DiagnosticStatus, topic, self._on_command_status, LATCHED)

    def _count(self, topic: str, kind: Any, callback: Callable[[Any], None]) -> None:
        stream = self.status.streams.setdefault(topic, Stream(time.monotonic()))

        def heard(message: Any) -> None:
            stream.arrived(time.monotonic(), self._now_ns(), fields.stamp_ns(message.header.stamp))
            callback(message)

        self.create_subscription(kind, topic, heard, RECORD_SENSOR)

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _on_raw(self, stream: Stream, data: bytes) -> None:
        stream.arrived(time.monotonic(), self._now_ns(), fields.header_stamp_ns(data))

    def _on_chunk(self, chunk: ActionChunk) -> None:
        try:
            self.status.on_chunk(chunk.sequence, chunk_stamps(chunk))
        except ValueError:
            return  # not of World2Act's policy node: nothing can be said about its times

    def _on_command(self, command: ArmCommand) -> None:
        if command.mode == ArmCommand.TRACK:
            self.status.on_track(command.chunk, fields.stamp_ns(command.header.stamp))
        else:
            self.status.on_hold(command.reason, without_numbers(command.reason), time.monotonic())

    def _on_prompt(self, prompt: SkillPrompt) -> None:
        self.status.on_prompt(prompt.task, prompt.skill, prompt.index, prompt.count)

    def _on_command_status(self, said: DiagnosticStatus) -> None:
        values = {entry.key: entry.value for entry in said.values}
        self.status.command_state, self.status.command_reason = values.get("state", ""), said.message

    def _on_diagnostics(self, array: DiagnosticArray) -> None:
        for said in array.status:
            node = self.status.nodes.get(f"/{said.name}")
            if node is not None:
                node.level, node.message = ord(said.level), said.message
                node.values = {entry.key: entry.value for entry in said.values}


def show(view: StatusView, once: bool, within_s: float) -> int:
    """Wait for a graph, then print it: once, or every second until Ctrl-C. Returns the exit code."""
    executor = SingleThreadedExecutor()
    executor.add_node(view)
    deadline = time.monotonic() + within_s
    while not view.status.nodes:
        if time.monotonic() > deadline:
            print(
                f"world2act status: no node of World2Act was found under {view.status.where} within {within_s:g} s: "
                "is the graph running, with this --namespace and ROS_DOMAIN_ID?",
                file=sys.stderr,
            )
            return 1
        executor.spin_once(timeout_sec=0.1)
    _spin(executor, WINDOW_S)
    while not once:
        clear = CLEAR if sys.stdout.isatty() else ""
        print(clear + view.status.render(time.monotonic()), end="\n" if clear else "\n\n", flush=True)
        _spin(executor, 1.0)
    print(view.status.render(time.monotonic()))
    return 0


def _spin(executor: SingleThreadedExecutor, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        executor.spin_once(timeout_sec=left)


def main() -> None:
    parser = argparse.ArgumentParser(prog="status")
    parser.add_argument("--namespace", default="")
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--within", type=float, default=10.0)
    args = parser.parse_args()
    rclpy.init(args=[])
    view = StatusView(args.namespace)
    try:
        sys.exit(show(view, args.once, args.within))
    except (KeyboardInterrupt, ExternalShutdownException):
        sys.exit(0)
    finally:
        view.destroy_node()
        rclpy.try_shutdown()
