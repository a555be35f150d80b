"""How often the scripted demonstrator succeeds. Run: python -m benchmarks.demonstrator"""

from __future__ import annotations

import argparse
import time

import numpy as np

from benchmarks._machine import machine
from world2act_core.simulators.demonstrator import SUITE, TASK, BowlOnPlateDemonstrator
from world2act_core.simulators.rollout import Actor, NoisyActor, rollout
from world2act_core.simulators.starts import Start
from world2act_core.simulators.workers import WorkerContext, WorkerPool

CONDITIONS = {
    "official starts": (0.0, 0.0),
    "3 cm jitter": (3.0, 0.0),
    "3 cm jitter, noise 0.1": (3.0, 0.1),
    "3 cm jitter, noise 0.2": (3.0, 0.2),
}
"""Label → jitter in centimetres, execution noise in action units."""


def attempt(job: tuple[str, Start, float], context: WorkerContext) -> tuple[bool, int]:
    """Success and control steps of one demonstration."""
    _, start, noise = job
    demonstrator: Actor = BowlOnPlateDemonstrator()
    actor = NoisyActor(demonstrator, seed=start.seed, scale=noise) if noise else demonstrator
    simulator = context.simulator(start.suite, start.task)
    episode = rollout(simulator, actor, start, episode_id=start.id, source="demonstrator", record_images=False)
    return bool(episode.success), episode.steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=50, help="starts a condition, one official state each")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    jobs = [
        (label, Start(SUITE, TASK, index % 50, jitter_cm, seed=1000 + index), noise)
        for label, (jitter_cm, noise) in CONDITIONS.items()
        for index in range(options.starts)
    ]
    outcomes: dict[str, list[tuple[bool, int]]] = {label: [] for label in CONDITIONS}
    failed = []
    began = time.monotonic()
    with WorkerPool(options.workers) as pool:
        for finished in pool.run(attempt, jobs, description="demonstrations"):
            label, start, _ = finished.job
            outcomes[label].append(finished.result)
            if not finished.result[0]:
                failed.append(f"{start.id} ({label})")
    print(machine())
    print(f"{SUITE} task {TASK}, {len(jobs)} demonstrations in {time.monotonic() - began:.0f} s")
    print(f"{'':26}{'successes':>12}{'steps of successes: min, median, max':>40}")
    for label, results in outcomes.items():
        steps = [count for success, count in results if success]
        spread = f"{min(steps)}, {np.median(steps):.0f}, {max(steps)}" if steps else "none"
        print(f"{label:26}{len(steps):>5} of {len(results):<4}{spread:>40}")
    print("failed:", ", ".join(sorted(failed)) or "none")


if __name__ == "__main__":
    main()
