"""How often the scripted demonstrators succeed. Run: python -m benchmarks.demonstrators --tasks libero_goal/8"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from benchmarks._machine import machine
from world2act_core.simulators.demonstrators.library import DEMONSTRATORS, demonstrator
from world2act_core.simulators.demonstrators.script import Mishaps
from world2act_core.simulators.rollout import Actor, NoisyActor, rollout
from world2act_core.simulators.starts import Start
from world2act_core.simulators.workers import WorkerContext, WorkerPool


@dataclass(frozen=True)
class Condition:
    """What is made harder: displacement of objects, execution noise in action units, and mishaps."""

    label: str
    jitter_cm: float = 0.0
    noise: float = 0.0
    pauses: float = 0.0
    regrasp: float = 0.0
    drop: float = 0.0


CONDITIONS = (
    Condition("official starts"),
    Condition("2 cm jitter, mishaps", jitter_cm=2.0, noise=0.05, pauses=1.5, regrasp=0.3, drop=0.2),
    Condition("3 cm jitter, noise 0.1", jitter_cm=3.0, noise=0.1),
)
OFFICIAL_STARTS = 50
Attempted = tuple[bool, int, float]


def attempt(job: tuple[Condition, Start], context: WorkerContext) -> Attempted:
    """Success, control steps and seconds of one demonstration."""
    condition, start = job
    mishaps = Mishaps(start.seed, condition.pauses, regrasp=condition.regrasp, drop=condition.drop)
    actor: Actor = demonstrator(start.suite, start.task, mishaps)
    if condition.noise:
        actor = NoisyActor(actor, seed=start.seed, scale=condition.noise)
    simulator = context.simulator(start.suite, start.task)
    began = time.monotonic()
    episode = rollout(simulator, actor, start, episode_id=start.id, source="demonstrator", record_images=False)
    return bool(episode.success), episode.steps, time.monotonic() - began


def main() -> None:
    known = [f"{suite}/{task}" for suite, task in DEMONSTRATORS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", choices=known, default=known, metavar="SUITE/TASK")
    parser.add_argument(
        "--starts", type=int, default=OFFICIAL_STARTS, help="starts a condition, one official state each"
    )
    parser.add_argument("--conditions", nargs="+", type=int, choices=range(3), default=[0, 1], metavar="N",
                        help="; ".join(f"{number}: {one.label}" for number, one in enumerate(CONDITIONS)))  # fmt: skip
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    print(machine())
    print(
        f"{'task':18}{'condition':25}{'successes':>12}{'steps: min, median, max':>26}{'seconds each':>15}", flush=True
    )
    with WorkerPool(options.workers) as pool:
        for task in options.tasks:
            for condition in (CONDITIONS[number] for number in options.conditions):
                measure(pool, task, condition, options.starts)


def measure(pool: WorkerPool, task: str, condition: Condition, starts: int) -> None:
    """Let one task's demonstrator try every start; print how it went."""
    suite, index = task.split("/")
    jobs = [
        (condition, Start(suite, int(index), number % OFFICIAL_STARTS, condition.jitter_cm, seed=1000 + number))
        for number in range(starts)
    ]
    finished = sorted(pool.run(attempt, jobs), key=lambda one: one.job[1].seed)
    print(f"{task:18}{condition.label:25}{_summary([one.result for one in finished])}", flush=True)
    failed = [one.job[1].id for one in finished if not one.result[0]]
    if failed:
        print(f"{'':18}failed: {', '.join(failed)}", flush=True)


def _summary(results: Iterable[Attempted]) -> str:
    succeeded, steps, seconds = (np.array(column) for column in zip(*results, strict=True))
    of_successes = steps[succeeded]
    spread = f"{min(of_successes)}, {np.median(of_successes):.0f}, {max(of_successes)}" if any(succeeded) else "none"
    return f"{sum(succeeded):>5} of {len(steps):<4}{spread:>26}{seconds.mean():>15.1f}"


if __name__ == "__main__":
    main()
