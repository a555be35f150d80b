"""The command stream at 100 Hz: ticks lost and jitter, alone and beside a process that saturates a core.

Run: scripts/run python -m benchmarks.command_stream. The real ``command`` node runs as a process of its own, as
deployed, on a contract whose control rate is 100 Hz: deadline thread, commander, safety filter, publisher. This process
stands in for robot and policy (joint states and poses at 100 Hz, a chunk every 80 ms, executed in real-time mode, so
that the arm tracks throughout) and listens.

A tick's time is the stamp that the node puts on its command when it begins to decide. Jitter is how far that is from
its absolute deadline (the grid's offset is the first percentile of the ticks). Lost is what the stamps miss between the
first and the last; ``missed`` is the node's own count. The load is a Python process in a busy loop, as inference is.
The bar: none lost, p99 <= 2 ms alone, <= 6 ms loaded.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks._machine import machine
from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.episodes import compose, fields
from world2act_core.runtime.deadline import DeadlineThread
from world2act_core.runtime.graphs import Graph, NodeSpec, dds_environment
from world2act_core.runtime.processes import GraphProcesses
from world2act_core.types import Array

RATE_HZ = 100
HORIZON, CHUNK_EVERY = 24, 8  # control steps
SETTLE_S = 1.0  # the first second is discovery's


def fast_contract(folder: Path) -> Embodiment:
    """The FR3's contract, commanded at 100 Hz and without a ramp."""
    shipped = resources.files("world2act_core.embodiment") / "files" / "franka_fr3.yaml"
    content = yaml.safe_load(shipped.read_text(encoding="utf-8"))
    content.update(name="bench_arm", control_rate_hz=RATE_HZ, max_skew_s=1 / RATE_HZ)
    del content["limits"]["ramp_s"]
    path = folder / "bench_arm.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_embodiment(path)


class Bench:
    """Robot, prompter and policy for the command node, and who listens to it."""

    def __init__(self, robot: Embodiment) -> None:
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray

        from world2act.node import COMMAND, LATCHED, RECORD, STATE, make, message_class
        from world2act.topics import state_topics
        from world2act_interfaces.msg import ActionChunk, ArmCommand, SkillPrompt

        rclpy.init()
        self._robot, self._make, self._count = robot, make, 0
        self._node = rclpy.create_node("bench")
        create = self._node.create_publisher
        self._states = {t: create(message_class(kind), t, STATE) for t, kind in state_topics(robot).items()}
        self._prompts = create(SkillPrompt, "skill_prompt", LATCHED)
        self._chunks = create(ActionChunk, "action_chunk", COMMAND)
        self._chunk = ActionChunk
        self.commands: list[tuple[int, int]] = []  # stamp ns, mode
        self.missed = 0
        self._node.create_subscription(ArmCommand, robot.action.topic, self._on_command, RECORD)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_health, 10)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._driver = DeadlineThread(robot.step_s, self._drive)
        self._open = True
        self._state = self._middle()

    def _middle(self) -> dict[str, Array]:
        limits = self._robot.limits
        state: dict[str, Array] = {
            name: np.zeros(stream.size, np.float32) for name, stream in self._robot.state.items()
        }
        state["joint_positions"] = (limits.joints.lower + limits.joints.upper) / 2
        state["eef_position"] = (limits.workspace_lower + limits.workspace_upper) / 2
        state["eef_orientation"] = np.array([0, 0, 0, 1], np.float32)
        return state

    def _spin(self) -> None:
        import rclpy

        while self._open:
            rclpy.spin_once(self._node, timeout_sec=0.1)

    def _on_command(self, command: Any) -> None:
        self.commands.append((fields.stamp_ns(command.header.stamp), command.mode))

    def _on_health(self, array: Any) -> None:
        for status in array.status:
            for pair in status.values:
                if status.name == "command" and pair.key == "missed_deadlines":
                    self.missed = int(pair.value)

    def _drive(self) -> None:
        now = time.time_ns()
        for topic, message in compose.state_messages(self._robot, self._state, now, self._make):
            self._states[topic].publish(message)
        if self._count % CHUNK_EVERY == 0:
            self._chunks.publish(self._next_chunk(now))
        self._count += 1

    def _next_chunk(self, now: int) -> Any:
        size = self._robot.action.size
        message = self._chunk(episode_id="bench", embodiment=self._robot.name, sequence=self._count // CHUNK_EVERY + 1)
        message.header = compose.header(now, make=self._make)
        message.horizon, message.action_dim = HORIZON, size
        message.data = [0.0] * (HORIZON * size)
        return message

    def __enter__(self) -> Bench:
        self._prompts.publish(compose.skill_prompt("bench", "t", "s", 0, 1, time.time_ns() - 10**6, self._make))
        self._thread.start()
        self._driver.start()
        return self

    def __exit__(self, *_: object) -> None:
        import rclpy

        self._driver.stop()
        self._open = False
        self._thread.join()
        self._node.destroy_node()
        rclpy.shutdown()

    def measure(self, seconds: float) -> str:
        """Listen for a while: one row of the table."""
        time.sleep(SETTLE_S)
        missed, first = self.missed, len(self.commands)
        time.sleep(seconds)
        heard = self.commands[first:]
        time.sleep(1.2)  # until the node has told its own count once more
        return row(heard, self.missed - missed)


def row(heard: list[tuple[int, int]], missed: int) -> str:
    """Ticks, tracked share, lost, the node's own count, jitter percentiles in ms."""
    stamps = np.array([stamp for stamp, _ in heard], np.int64)
    period = 10**9 // RATE_HZ
    after = (stamps - stamps[0]).astype(float)
    typical = np.angle(np.exp(2j * np.pi * after / period).mean()) / (2 * np.pi) * period  # where in a period they lie
    slot = np.round((after - typical) / period)
    lost = int(slot[-1] - slot[0] + 1 - len(slot))
    late = after - slot * period
    jitter = np.abs(late - np.percentile(late, 1)) / 1e6
    p50, p99 = np.percentile(jitter, [50, 99])
    tracked = np.mean([mode == 0 for _, mode in heard])
    return f"{len(heard):7d}{tracked:9.0%}{lost:6d}{missed:8d}{p50:9.2f}{p99:9.2f}{jitter.max():9.2f}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="The command stream's regularity.")
    parser.add_argument("--seconds", type=float, default=20.0, help="of listening, twice")
    parser.add_argument("--domain", type=int, default=87, help="ROS domain")
    options = parser.parse_args(arguments)
    os.environ["ROS_DOMAIN_ID"] = str(options.domain)
    for name, value in dds_environment().items():
        os.environ.setdefault(name, value)
    print(machine())
    print(f"niceness {os.nice(0)}, {RATE_HZ} Hz, {options.seconds:g} s each; jitter in ms\n")
    print(f"{'':10}{'load':>6}{'ticks':>7}{'tracked':>9}{'lost':>6}{'missed':>8}{'p50':>9}{'p99':>9}{'max':>9}")
    with tempfile.TemporaryDirectory() as name:
        robot = fast_contract(Path(name))
        parameters = {"robot": str(Path(name) / "bench_arm.yaml"), "clock": "wall", "execution": "real_time"}
        node = NodeSpec("command", "command", parameters=parameters, env=dds_environment())
        with GraphProcesses(Graph("bench", (node,)), sys.stderr), Bench(robot) as bench:
            deadline = time.monotonic() + 60
            while not any(mode == 0 for _, mode in bench.commands):
                if time.monotonic() > deadline:
                    raise SystemExit("the command node did not track within 60 s")
                time.sleep(0.1)
            print(f"{'alone':10}{os.getloadavg()[0]:6.1f}{bench.measure(options.seconds)}", flush=True)
            busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            try:
                measured = bench.measure(options.seconds)
            finally:
                busy.kill()
                busy.wait()
            print(f"{'loaded':10}{os.getloadavg()[0]:6.1f}{measured}")


if __name__ == "__main__":
    main()
