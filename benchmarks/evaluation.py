"""Episodes an hour: world2act's evaluation against a loop that renders two cameras at every step.

Run: ``python -m benchmarks.evaluation [--episodes 4] [--suite libero_object] [--task 0]``. The loop is the usual one:
LIBERO's own environment with both cameras in its observations, reset, official state, 10 settle steps, one action a
step until it says done or the horizon. Ours is what ``world2act eval`` does with a trial. The policy looks through both
cameras once a chunk and repeats what the scripted demonstrator did from that start, under noise in every second
episode, so that some fail; recording that is not timed. So actions are the same whatever the frames look like, and the
outcome of every start must be the same, which is checked.

Each side has one process. They take turns, episode by episode, so that another load of the machine meets both alike.
Simulators are made before the clock runs.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._machine import machine
from world2act_core.embodiment import load_embodiment
from world2act_core.policies.address import open_policy
from world2act_core.recipes.recording import Attempt, attempt
from world2act_core.recipes.suite import SuiteTrial, try_once
from world2act_core.simulators.libero import SETTLE_ACTION, SETTLE_STEPS
from world2act_core.simulators.libero_package import import_libero, load_task
from world2act_core.simulators.starts import Start
from world2act_core.simulators.workers import WorkerContext, WorkerPool
from world2act_core.types import Observation

CAMERAS = {"agentview": "agentview_image", "wrist": "robot0_eye_in_hand_image"}
SIZE, NOISE, FASTER = 128, 0.8, 3.0


@dataclass(frozen=True)
class Timed:
    success: bool
    steps: int
    seconds: float


def stock_trial(job: SuiteTrial, context: WorkerContext) -> Timed:
    """One trial in LIBERO's own environment."""
    task = load_task(job.start.suite, job.start.task)
    env = context.once("env", lambda: _stock_env(task.bddl_file))
    policy = open_policy(job.policy, load_embodiment("libero_panda"))
    began = time.monotonic()
    env.reset()
    seen: dict[str, Any] = env.set_init_state(task.initial_states[job.start.index])
    for _ in range(SETTLE_STEPS):
        seen, *_ = env.step(SETTLE_ACTION)
    actions: list[np.ndarray] = []
    for step in range(task.horizon):
        if not actions:
            images = {name: np.ascontiguousarray(seen[key][::-1]) for name, key in CAMERAS.items()}
            actions = list(policy.act(Observation(step / 20, images, {}), task.instruction).actions)
        seen, _, done, _ = env.step(actions.pop(0))
        if done:
            return Timed(True, step + 1, time.monotonic() - began)
    return Timed(False, task.horizon, time.monotonic() - began)


def _stock_env(bddl_file: str) -> Any:
    wrapper = import_libero("libero.libero.envs.env_wrapper")
    env = wrapper.OffScreenRenderEnv(bddl_file_name=bddl_file, camera_heights=SIZE, camera_widths=SIZE)
    env.seed(0)
    return env


def our_trial(job: SuiteTrial, context: WorkerContext) -> Timed:
    """What the evaluation does with a trial."""
    trial = try_once(job, context)
    return Timed(trial.success, trial.steps, trial.seconds)


def ready(job: SuiteTrial, context: WorkerContext) -> None:
    """Make the simulator of one side, as its first trial would."""
    if job.rendering == "loop":
        context.once("env", lambda: _stock_env(load_task(job.start.suite, job.start.task).bddl_file))
    else:
        try_once(replace(job, video=""), context)


def one(pool: WorkerPool, function: Any, job: Any) -> Any:
    return next(iter(pool.run(function, [job]))).result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=4)
    parser.add_argument("--suite", default="libero_object")
    parser.add_argument("--task", type=int, default=0)
    options = parser.parse_args()
    print(machine())
    starts = [Start(options.suite, options.task, index) for index in range(options.episodes)]
    with tempfile.TemporaryDirectory() as folder, WorkerPool(1) as loop, WorkerPool(1) as ours, WorkerPool(1) as full:
        jobs = []
        for number, start in enumerate(starts):
            bag = Path(folder) / f"{number}"
            noise = NOISE * (number % 2)
            one(ours, attempt, Attempt(start, "demonstrator", bag=str(bag), cameras=tuple(CAMERAS), noise=noise))
            jobs.append(SuiteTrial(start, f"replay:{bag}", image_size=SIZE))
        sides = {
            "loop: LIBERO's environment, 2 cameras every step": (loop, stock_trial, "loop"),
            "world2act eval, 2 cameras every chunk": (ours, our_trial, "fast"),
            "the same with LIBERO's own look": (full, our_trial, "stock"),
        }
        for pool, _, rendering in sides.values():
            one(pool, ready, replace(jobs[0], rendering=rendering))
        found: dict[str, list[Timed]] = {name: [] for name in sides}
        for job in jobs:
            for name, (pool, function, rendering) in sides.items():
                found[name].append(one(pool, function, replace(job, rendering=rendering)))
                last = found[name][-1]
                print(
                    f"{job.start.id} {name}: success {last.success}, {last.steps} steps, {last.seconds:.1f} s",
                    flush=True,
                )
    report(found)


def report(found: dict[str, list[Timed]]) -> None:
    baseline = next(iter(found.values()))
    print(f"\n{'one process each, in turns':52}{'solved':>8}{'episodes/h':>12}{'faster':>8}  outcomes")
    for name, trials in found.items():
        spent, slow = (sum(trial.seconds for trial in side) for side in (trials, baseline))
        alike = [a.success == b.success for a, b in zip(trials, baseline, strict=True)]
        outcomes = "identical on every start" if all(alike) else f"differ on {alike.count(False)} starts"
        solved = f"{sum(trial.success for trial in trials)}/{len(trials)}"
        print(f"{name:52}{solved:>8}{3600 * len(trials) / spent:12.1f}{slow / spent:7.1f}x  {outcomes}")
    print(f"bar: at least {FASTER:g}x, identical outcomes")


if __name__ == "__main__":
    main()
