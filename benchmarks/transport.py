"""Images and joint states into the policy node: frames lost, the images' age, and what the node itself costs.

Run: scripts/run python -m benchmarks.transport. The real ``policy`` node runs as a process of its own, as deployed, on
the FR3's contract (two cameras 640x480 at 30 Hz) with a policy that answers at once (``replay:``) and is asked as often
as the node can ask it (``execution:=ensemble``, at most once a control step of 50 ms). One process publishes both
cameras' images in the same instant, as triggered cameras do, one the joint states and poses at 100 Hz; both through the
messages and QoS of the product's own drivers.

Lost is what the cameras sent and the node did not receive, from the first image to the last. Age is from an image's
stamp, taken just before it is composed, to its arrival and to the question to the policy; the latter contains the wait
for the other camera and decoding. CPU is the node's process (utime + stime) over the time in between, as a share of one
core; the policy's own work in it is a look into an array. The bar: lost <= 1 %, age at the policy p99 <= 10 ms, CPU <=
20 % of a core.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._machine import machine
from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.episodes import BagWriter, compose, fields
from world2act_core.runtime.deadline import DeadlineThread
from world2act_core.runtime.graphs import Graph, NodeSpec, dds_environment
from world2act_core.runtime.prefixes import ros_environment
from world2act_core.runtime.processes import GraphProcesses
from world2act_core.types import Array, Episode

ROBOT = "franka_fr3"
STATE_HZ = 100
SETTLE_S = 2.0
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Seconds of processor time that a process has used, user and system (proc(5))."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS_A_SECOND


def write_replay(path: Path, robot: Embodiment, steps: int) -> None:
    """A bag whose one episode has so many steps and one frame of every camera."""
    middle = (robot.limits.workspace_lower + robot.limits.workspace_upper) / 2
    state: dict[str, Array] = {n: np.full((steps + 1, s.size), 0.1, np.float32) for n, s in robot.state.items()}
    state["eef_position"] = np.tile(middle.astype(np.float32), (steps + 1, 1))
    episode = Episode(
        episode_id="bench",
        task="t",
        embodiment=robot.name,
        stamps=np.arange(steps + 1) * robot.step_s,
        state=state,
        actions=np.zeros((steps, robot.action.size), np.float32),
        frame_steps=np.zeros(1, np.int64),
        images={name: np.zeros((1, c.height, c.width, 3), np.uint8) for name, c in robot.cameras.items()},
    )
    with BagWriter(path, robot) as writer:
        writer.write_episode(episode)


def drive(role: str, seconds: float) -> None:
    """A process that is both cameras, or the robot's state; prints how many of each it sent."""
    import rclpy

    from world2act.node import IMAGE, STATE, make, message_class
    from world2act.topics import state_topics

    rclpy.init()
    node, robot, sent = rclpy.create_node(f"bench_{role}"), load_embodiment(ROBOT), 0
    if role == "cameras":
        period_s = 1 / max(camera.rate_hz for camera in robot.cameras.values())
        kinds = {camera.topic: "sensor_msgs/msg/Image" for camera in robot.cameras.values()}
    else:
        period_s, kinds = 1 / STATE_HZ, state_topics(robot)
    qos = IMAGE if role == "cameras" else STATE
    publishers = {topic: node.create_publisher(message_class(kind), topic, qos) for topic, kind in kinds.items()}
    pixels = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    state = {name: np.full(stream.size, 0.1, np.float32) for name, stream in robot.state.items()}

    def tick() -> None:
        nonlocal sent
        now = time.time_ns()
        if role == "cameras":
            for camera in robot.cameras.values():
                publishers[camera.topic].publish(compose.raw_image_message(pixels, camera, time.time_ns(), make))
        else:
            for topic, message in compose.state_messages(robot, state, now, make):
                publishers[topic].publish(message)
        sent += 1

    give_up = time.monotonic() + 60
    while not all(publisher.get_subscription_count() for publisher in publishers.values()):
        if time.monotonic() > give_up:
            raise SystemExit("nobody listens")
        time.sleep(0.05)
    thread = DeadlineThread(period_s, tick)
    thread.start()
    time.sleep(seconds)
    thread.stop()
    print(f"{sent} {thread.missed}", flush=True)
    time.sleep(3.0)  # shared memory goes with this process; let the reader finish
    node.destroy_node()
    rclpy.shutdown()


class Listener:
    """Hears the chunks and the node's own counts."""

    def __init__(self) -> None:
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray

        from world2act.node import COMMAND, LATCHED, RECORD, make
        from world2act_interfaces.msg import ActionChunk, ArmCommand, SkillPrompt

        rclpy.init()
        self._node, self._make = rclpy.create_node("bench"), make
        self._prompts = self._node.create_publisher(SkillPrompt, "skill_prompt", LATCHED)
        self._node.create_publisher(ArmCommand, "arm_command", COMMAND)
        self._node.create_subscription(ActionChunk, "action_chunk", self._on_chunk, RECORD)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_health, 10)
        self.arrival: list[float] = []  # ms
        self.question: list[float] = []
        self.images: dict[str, int] = {}
        self._open, self._thread = True, threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def prompt(self) -> None:
        self._prompts.publish(compose.skill_prompt("bench", "t", "s", 0, 1, time.time_ns(), self._make))

    def _spin(self) -> None:
        import rclpy

        while self._open:
            rclpy.spin_once(self._node, timeout_sec=0.1)

    def _on_chunk(self, chunk: Any) -> None:
        asked = fields.stamp_ns(chunk.inference_start)
        for taken, received in zip(chunk.image_stamps, chunk.image_received, strict=True):
            self.arrival.append((fields.stamp_ns(received) - fields.stamp_ns(taken)) / 1e6)
            self.question.append((asked - fields.stamp_ns(taken)) / 1e6)

    def _on_health(self, array: Any) -> None:
        for status in array.status:
            if status.name == "policy":
                counts = {p.key.removesuffix("_images"): int(p.value) for p in status.values if "_images" in p.key}
                self.images = counts or self.images

    def close(self) -> None:
        import rclpy

        self._open = False
        self._thread.join()
        self._node.destroy_node()
        rclpy.shutdown()


def wait(holds: Callable[[], bool], seconds: float, what: str) -> None:
    give_up = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > give_up:
            raise SystemExit(f"{what}: not within {seconds:g} s")
        time.sleep(0.05)


def measure(seconds: float, domain: int, folder: Path) -> None:
    robot = load_embodiment(ROBOT)
    write_replay(folder / "bag", robot, round(1.5 * robot.chunk_length * robot.control_rate_hz * (seconds + SETTLE_S)))
    parameters = {"robot": ROBOT, "clock": "wall", "execution": "ensemble", "policy": f"replay:{folder / 'bag'}"}
    node = NodeSpec("policy", "policy", parameters=parameters, env=dds_environment())
    environment = {**ros_environment(), "ROS_DOMAIN_ID": str(domain)}
    with GraphProcesses(Graph("bench", (node,)), sys.stderr) as processes:
        listener = Listener()
        command = [sys.executable, "-m", "benchmarks.transport", "--seconds", str(seconds + SETTLE_S), "--role"]
        drivers = {
            role: subprocess.Popen([*command, role], env=environment, stdout=subprocess.PIPE, text=True)
            for role in ("states", "cameras")
        }
        try:
            listener.prompt()
            wait(lambda: bool(listener.question), 90, "a chunk")
            time.sleep(SETTLE_S)  # the first second is discovery's
            first, pid = len(listener.question), processes.running[0].process.pid
            used, began = cpu_s(pid), time.monotonic()
            load = os.getloadavg()[0]
            time.sleep(seconds - SETTLE_S)
            share = (cpu_s(pid) - used) / (time.monotonic() - began)
            arrival, question = np.array(listener.arrival[first:]), np.array(listener.question[first:])
            told = {role: process.stdout.readline().split() for role, process in drivers.items() if process.stdout}
            wait(lambda: bool(listener.images), 30, "the node's counts")
            time.sleep(2.5)  # until the node has told its counts once more
        finally:
            for process in drivers.values():
                process.kill()
                process.wait()
            listener.close()
    sent = int(told["cameras"][0])
    lost = {name: 1 - listener.images.get(name, 0) / sent for name in robot.cameras}
    missed = ", ".join(f"{role} {missed}" for role, (_, missed) in told.items())
    print(f"load {load:.1f}; {sent} images of each camera sent; deadlines missed by the drivers: {missed}")
    print(f"frames lost: {', '.join(f'{name} {share:.2%}' for name, share in lost.items())} (bar: 1 %)")
    for name, ages in (("at arrival", arrival), ("at the policy", question)):
        p50, p99 = np.percentile(ages, [50, 99])
        print(f"image age {name}: p50 {p50:.2f}, p99 {p99:.2f}, max {ages.max():.2f} ms, {len(ages)} images")
    print(f"policy node: {share:.1%} of a core (bar: 20 %), {len(question) // len(robot.cameras)} chunks")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Images and joint states into the policy node.")
    parser.add_argument("--seconds", type=float, default=30.0, help="of driving, about")
    parser.add_argument("--domain", type=int, default=88, help="ROS domain")
    parser.add_argument("--role", choices=("cameras", "states"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    os.environ.setdefault("ROS_DOMAIN_ID", str(options.domain))
    for name, value in dds_environment().items():
        os.environ.setdefault(name, value)
    if options.role:
        drive(options.role, options.seconds)
        return
    os.environ["ROS_DOMAIN_ID"] = str(options.domain)
    print(machine())
    print(f"niceness {os.nice(0)}, two cameras 640x480 at 30 Hz, joint states and poses at {STATE_HZ} Hz\n")
    with tempfile.TemporaryDirectory() as name:
        measure(options.seconds, options.domain, Path(name))


if __name__ == "__main__":
    main()
