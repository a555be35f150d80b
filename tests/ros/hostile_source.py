"""Sends COUNT messages, most of them hostile, to every topic and service of the nodes: CONTRACT COUNT SEED NODE...

Which topics there are is asked of the graph. Now and then everybody behaves for a while, so that there is a moving arm
to be disturbed.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import time
from typing import Any

import numpy as np
import rclpy
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.serialization import serialize_message

from tests.ros.hostile import Hostile
from tests.runtime.arms import pose
from world2act.node import LATCHED, RCLError, make, message_class
from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.episodes import compose
from world2act_core.episodes.stamps import ChunkStamps
from world2act_core.types import ActionChunk
from world2act_interfaces.action import RunTask

EPISODE = "hostile"
CALM_EVERY, CALM_S, PACE_S = 1000, 0.6, 0.0004
SERVICE_EVERY, GOAL_EVERY = 97, 211
KEEPS_RUNNING = {"change_state": 100}  # transitions that exist would end what is to be disturbed


class Source:
    """One node with a publisher for every topic that the others subscribe to."""

    def __init__(self, node: Node, robot: Embodiment, names: list[str], hostile: Hostile) -> None:
        self._node, self._robot, self._hostile = node, robot, hostile
        self._sequence = itertools.count(1)
        topics: dict[str, str] = {}
        services: dict[str, str] = {}
        for name in names:
            topics.update({t: k[0] for t, k in node.get_subscriber_names_and_types_by_node(name, "/")})
            services.update({s: k[0] for s, k in node.get_service_names_and_types_by_node(name, "/")})
        self._kinds = {topic: message_class(kind) for topic, kind in sorted(topics.items())}
        # Reliable and transient local: what every reader accepts, whatever it asks for.
        self._publishers = {t: node.create_publisher(k, t, LATCHED) for t, k in self._kinds.items()}
        self._clients: list[Any] = [
            node.create_client(message_class(kind), name) for name, kind in services.items() if "/action/" not in kind
        ]
        self._tasks = ActionClient(node, RunTask, "run_task")
        print(f"topics: {', '.join(self._kinds)}; {len(self._clients)} services", flush=True)

    def connected(self) -> bool:
        return all(p.get_subscription_count() for p in self._publishers.values())

    def proper(self, topic: str) -> Any:
        """What belongs on a topic, now."""
        robot, now = self._robot, time.time_ns()
        states = dict(compose.state_messages(robot, pose(robot), now, make))
        cameras = {camera.topic: camera for camera in robot.cameras.values()}
        name = next((n for n in (*states, *cameras) if n.strip("/") == topic.strip("/")), "")
        if name in states:
            return states[name]
        if name in cameras:
            camera = cameras[name]
            return compose.raw_image_message(np.zeros((camera.height, camera.width, 3), np.uint8), camera, now, make)
        if topic == "/skill_prompt":
            return compose.skill_prompt(EPISODE, "task", "skill", 0, 1, now - 10**9, make)
        if topic == "/action_chunk":
            return self._chunk(now)
        if topic == f"/{robot.action.topic}":
            return compose.track_command(self._action(), now, 1, 3, make=make)
        if topic == "/episode_event":
            about: dict[str, Any] = {"episode_id": EPISODE, "task": "t", "embodiment": robot.name}
            return compose.episode_event(compose.END, now, make=make, **about)
        return self._kinds[topic]()

    def _action(self) -> Any:
        action = np.zeros(self._robot.action.size, np.float32)
        if self._robot.action.kind == "joint_positions":
            joints = self._robot.state["joint_positions"].joints
            action[[self._robot.action.names.index(joint) for joint in joints]] = pose(self._robot)["joint_positions"]
        else:
            action[:3] = 0.2
        return action

    def _chunk(self, now: int) -> Any:
        stamps = ChunkStamps(now, {}, now, now, now, now, now)
        chunk = ActionChunk(np.tile(self._action(), (self._robot.chunk_length, 1)), now / 1e9, "skill")
        return compose.action_chunk(chunk, stamps, next(self._sequence), EPISODE, self._robot.name, make)

    def send(self) -> None:
        """One message that, mostly, means harm."""
        rng = self._hostile.rng
        topic = rng.choice(list(self._publishers))
        message, chance = self.proper(topic), rng.random()
        if topic == "/stop" and chance < 0.98:
            return  # a stop is obeyed whatever it says; if every second message were one, nothing would ever move
        if chance < 0.25:
            self._publishers[topic].publish(message)
        elif chance < 0.85:
            self._publishers[topic].publish(self._hostile.spoil(message))
        else:
            with contextlib.suppress(RCLError):  # some of it the middleware does not even send
                self._publishers[topic].publish(self._hostile.garbage(serialize_message(message)))

    def ask(self) -> None:
        """One request that means harm."""
        client = self._hostile.rng.choice(self._clients)
        request = client.srv_type.Request()
        if request.get_fields_and_field_types():
            self._hostile.spoil(request)
        lowest = next((low for name, low in KEEPS_RUNNING.items() if client.srv_name.endswith(name)), 0)
        if lowest:
            request.transition.id, request.transition.label = max(request.transition.id, lowest), ""
        client.call_async(request)

    def task(self) -> None:
        if self._tasks.server_is_ready():
            self._tasks.send_goal_async(self._hostile.spoil(RunTask.Goal(task="t")))

    def calm(self) -> None:
        """Everybody behaves: a stop is reset, an episode runs, the arm shows itself, a chunk comes now and then."""
        for client in self._clients:
            if client.srv_name.endswith("command/reset"):
                client.call_async(client.srv_type.Request())
        topics = [topic for topic in self._publishers if topic not in ("/stop", "/action_chunk", "/episode_event")]
        until, rounds = time.monotonic() + CALM_S, 0
        while time.monotonic() < until:
            for topic in topics:
                self._publishers[topic].publish(self.proper(topic))
            if rounds % 8 == 2:
                self._publishers["/action_chunk"].publish(self.proper("/action_chunk"))
            rounds += 1
            rclpy.spin_once(self._node, timeout_sec=0.02)


def main() -> None:
    contract, count, seed, names = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
    rclpy.init()
    node = rclpy.create_node("hostile_source")
    give_up = time.monotonic() + 60
    while set(names) - set(node.get_node_names()):
        assert time.monotonic() < give_up, f"not there: {set(names) - set(node.get_node_names())}"
        time.sleep(0.1)
    time.sleep(1.0)  # a node is announced before its subscriptions
    source = Source(node, load_embodiment(contract), names, Hostile(seed))
    while not source.connected():
        assert time.monotonic() < give_up, "a reader is not connected"
        time.sleep(0.05)
    for number in range(count):
        if number % CALM_EVERY == 0:
            source.calm()
        source.send()
        if number % SERVICE_EVERY == 0:
            source.ask()
        if number % GOAL_EVERY == 0:
            source.task()
        if number % 20 == 0:
            rclpy.spin_once(node, timeout_sec=20 * PACE_S)
    source.calm()
    print(f"sent {count}", flush=True)
    node.destroy_node()
    rclpy.shutdown()


if __name__ == "__main__":
    main()
