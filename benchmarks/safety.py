"""The safety filter's cost: microseconds a command, and whether memory grows over a million of them.

Run: python -m benchmarks.safety. Each robot's filter gets a smooth motion within its limits (so that every check is
reached), and the measured state is renewed before every command, as a driver at the control rate does. Timed is one
call of ``check``. Memory is what tracemalloc holds after a tenth of the commands and then after all of them, and by how
much the process's resident set grew between. The bar: p99 <= 50 us, no growth.
"""

from __future__ import annotations

import argparse
import gc
import time
import tracemalloc
from collections.abc import Sequence

import numpy as np

from benchmarks._machine import machine
from benchmarks.latent_store import resident_mb
from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.runtime.chunks import Hold, Track
from world2act_core.runtime.safety import SafetyFilter
from world2act_core.types import Array

ROBOTS = ("franka_fr3", "ur5e", "libero_panda")
PERIOD = 400  # commands of one swing there and back
BAR_US = 50.0


class Motion:
    """A slow swing as commands and as the measured state that follows them; the same objects again and again."""

    def __init__(self, robot: Embodiment) -> None:
        limits, size = robot.limits, robot.action.size
        phase = 2 * np.pi * np.arange(PERIOD) / PERIOD
        joints = (limits.joints.lower + limits.joints.upper) / 2
        place = (limits.workspace_lower + limits.workspace_upper) / 2
        actions = np.zeros((PERIOD, size), np.float32)
        swing = 0.1 * np.sin(phase)[:, None]
        rows = np.tile(joints, (PERIOD, 1))
        if robot.action.kind == "joint_positions":
            rows = rows + swing
            actions[:, : rows.shape[1]] = rows
        else:
            actions[:, :3] = swing
        self.commands = [Track(1, step, row, 0.0) for step, row in enumerate(actions)]
        self.joints: list[list[float]] = rows.tolist()
        self.place, self.orientation = place.tolist(), [0.0, 0.0, 0.0, 1.0]


def drive(robot: Embodiment, count: int, times: Array) -> SafetyFilter:
    """``count`` commands; ``times`` takes the duration of each call in ns, the newest where it is too short."""
    safety, motion, step_s = SafetyFilter(robot, chunk_timeout_s=1e12), Motion(robot), robot.step_s
    clock, check, room = time.perf_counter_ns, safety.check, len(times)
    now = 0.0
    for number in range(count):
        now += step_s
        step = number % PERIOD
        safety.measured.set("joint_positions", motion.joints[step], now, now)
        safety.measured.set("eef_position", motion.place, now, now)
        safety.measured.set("eef_orientation", motion.orientation, now, now)
        command = motion.commands[step]
        began = clock()
        answer = check(command, now, now)
        times[number % room] = clock() - began
        if isinstance(answer, Hold):
            raise SystemExit(f"the benchmark's own motion was refused: {answer.reason}")
    return safety


def growth(robot: Embodiment, count: int) -> tuple[float, float]:
    """Bytes and MB: what is allocated more after ``count`` commands than before, and by how much the process grew."""
    times = np.zeros(1, np.int64)
    tracemalloc.start()
    drive(robot, count // 10, times)
    gc.collect()
    resident, before = resident_mb("VmRSS"), tracemalloc.get_traced_memory()[0]
    drive(robot, count, times)
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return after - before, resident_mb("VmRSS") - resident


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="The safety filter's time and memory.")
    parser.add_argument("--commands", type=int, default=10**6)
    options = parser.parse_args(arguments)
    print(machine())
    print(f"{options.commands} commands a robot; the bar: p99 <= {BAR_US:g} us, no growth\n")
    print(f"{'':14}{'kind':>16}{'p50':>8}{'p99':>8}{'p99.9':>8}{'max':>9} us{'grew':>10} B{'RSS':>8} MB")
    for name in ROBOTS:
        robot = load_embodiment(name)
        times = np.zeros(options.commands, np.int64)
        drive(robot, options.commands, times)
        us = times / 1e3
        p50, p99, p999 = np.percentile(us, [50, 99, 99.9])
        grew, resident = growth(robot, options.commands)
        timed = f"{p50:8.1f}{p99:8.1f}{p999:8.1f}{us.max():9.0f}"
        print(f"{name:14}{robot.action.kind:>16}{timed}   {grew:10.0f}  {resident:8.2f}", flush=True)


if __name__ == "__main__":
    main()
