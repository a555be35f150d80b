"""Trials and workers for the tests of a regression, without a simulator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from world2act_core.evaluation.conduct import Conduct, SafetyCounters
from world2act_core.evaluation.suite import write_suite
from world2act_core.evaluation.trials import Trial
from world2act_core.recipes.suite import DEMONSTRATOR, Plan, SuiteTrial, evaluate_suite
from world2act_core.simulators.workers import Finished, WorkerPool


def conduct(hits: Mapping[str, int] | None = None, jerk: float = 100.0, ms: float = 20.0, states: str = "s") -> Conduct:
    """Of a trial of 80 steps; a hit holds two steps."""
    found = dict(hits or {})
    counters = SafetyCounters(80, found, 2 * sum(found.values()), 3 * jerk, jerk, "m/s^3")
    return Conduct(counters, (ms,) * 19, states)


class ToyPool(WorkerPool):
    """Does trials in this process as ``succeeds`` and ``conducts`` say, and remembers them."""

    def __init__(
        self,
        succeeds: Callable[[SuiteTrial], bool] = lambda job: True,
        conducts: Callable[[SuiteTrial], Conduct | None] = lambda job: conduct(),
    ) -> None:
        super().__init__(1)
        self.succeeds, self.conducts = succeeds, conducts
        self.jobs: list[SuiteTrial] = []

    def run(
        self, function: Callable[..., Any], jobs: Iterable[Any], *, description: str | None = None
    ) -> Iterator[Finished[Any, Any]]:
        for job in jobs:
            self.jobs.append(job)
            yield Finished(job, Trial(job.start.id, "policy", self.succeeds(job), 80, 1.0, self.conducts(job)), 1)


def make_baseline(out: Path, pool: WorkerPool, episodes: int = 20, suite: str = "libero_goal", task: int = 8) -> Path:
    """``evaluation.json`` of the demonstrator in the pool's hands."""
    plan = Plan(DEMONSTRATOR, suite, (task,), episodes)
    write_suite(out / "evaluation.json", evaluate_suite(plan, out, pool))
    return out / "evaluation.json"
