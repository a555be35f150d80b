"""Control steps a second: LIBERO's own environment against ours. Run: python -m benchmarks.simulator_steps"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks._machine import machine
from world2act_core.simulators.libero import SETTLE_ACTION, LiberoSimulator
from world2act_core.simulators.libero_package import import_libero, load_task
from world2act_core.simulators.starts import Start

SUITE, TASK, SIZE, CHUNK = "libero_goal", 8, 128, 4
MOVE = np.array([0.1, 0.1, -0.05, 0, 0, 0, -1.0])


def stock(cameras: bool, steps: int) -> float:
    """Seconds for so many ``env.step`` of LIBERO's own environment, with its two cameras or none."""
    task = load_task(SUITE, TASK)
    wrapper = import_libero("libero.libero.envs.env_wrapper")
    env = wrapper.OffScreenRenderEnv(
        bddl_file_name=task.bddl_file, camera_heights=SIZE, camera_widths=SIZE, use_camera_obs=cameras
    )
    env.seed(0)
    env.reset()
    env.set_init_state(task.initial_states[0])
    for _ in range(10):
        env.step(SETTLE_ACTION)
    return seconds(lambda step: env.step(MOVE), steps)


def ours(cameras: tuple[str, ...], every: int, steps: int) -> float:
    """Seconds for so many steps of ours, with the state read at each and the cameras at every so many."""
    simulator = LiberoSimulator(SUITE, TASK, SIZE)
    simulator.reset(Start(SUITE, TASK, 0))
    simulator.observe(cameras)

    def step(count: int) -> None:
        simulator.step(MOVE)
        simulator.observe(cameras if count % every == 0 else ())

    return seconds(step, steps)


def seconds(step: Callable[[int], object], steps: int) -> float:
    began = time.perf_counter()
    for count in range(steps):
        step(count)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100, help="control steps a row")
    steps = parser.parse_args().steps
    both = ("agentview", "wrist")
    rows: list[tuple[str, Callable[..., float], tuple[Any, ...]]] = [
        ("stock env.step, 2 cameras every step", stock, (True, steps)),
        ("stock env.step, no cameras", stock, (False, steps)),
        ("ours, 2 cameras every step", ours, (both, 1, steps)),
        ("ours, 2 cameras every chunk", ours, (both, CHUNK, steps)),
        ("ours, 1 camera every chunk", ours, (("agentview",), CHUNK, steps)),
        ("ours, no cameras", ours, ((), 1, steps)),
    ]
    print(machine())
    print(f"{SUITE} task {TASK}, {SIZE}x{SIZE} images, {CHUNK} steps a chunk, {steps} steps a row")
    print(f"{'':38}{'ms a step':>10}{'steps/s':>10}{'x stock':>10}")
    baseline = None
    for label, function, arguments in rows:
        with multiprocessing.get_context("spawn").Pool(1) as process:  # one environment a process
            taken = process.apply(function, arguments) / steps
        baseline = baseline or taken
        print(f"{label:38}{1000 * taken:10.1f}{1 / taken:10.1f}{baseline / taken:10.1f}", flush=True)


if __name__ == "__main__":
    main()
