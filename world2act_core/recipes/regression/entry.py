"""One entry: its trials, ended as soon as the paired test has decided, and the checks on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from world2act_core.evaluation import Trial
from world2act_core.evaluation.sequential import SequentialPairedTest
from world2act_core.evaluation.suite import SuiteResults, write_suite
from world2act_core.recipes.regression.checks import Check, latency_check, safety_check, success_check
from world2act_core.recipes.regression.graph import graph_check
from world2act_core.recipes.regression.question import EVALUATION, Entry, Regression
from world2act_core.recipes.suite import evaluate_suite
from world2act_core.simulators.workers import WorkerPool

CHECKS = ("success", "safety", "latency", "graph")


@dataclass(frozen=True)
class Checked:
    """An entry with its trials and what the checks say, by name.

    Attributes:
        folder: ``evaluation.json`` and ``trials.jsonl``, ``failures/`` and, of a graph, ``graph/``.
    """

    entry: Entry
    folder: Path
    results: SuiteResults
    checks: dict[str, Check]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks.values())


def differing(results: SuiteResults, baseline: SuiteResults | None) -> list[str]:
    """In what policy and baseline were not evaluated alike, though that may be meant."""
    names = () if baseline is None else ("rendering", "versions")
    return [name for name in names if getattr(results, name) != getattr(baseline, name)]


def check_entry(question: Regression, entry: Entry, out: Path, pool: WorkerPool) -> Checked:
    """Run an entry's trials, or what is missing of them, and its checks.

    Args:
        out: of the whole question; the entry gets a folder in it.

    Raises:
        World2ActError: the folder holds trials of something else, or the policy or simulator broke.
    """
    folder = out / entry.suite / str(entry.task)
    before = {} if entry.baseline is None else {trial.start_id: trial for trial in entry.baseline.trials}

    def tested(trials: Sequence[Trial]) -> SequentialPairedTest:
        test = question.test(entry.episodes)
        for trial in trials:
            question.add_pair(test, before[trial.start_id].success, trial.success)
        return test

    results = evaluate_suite(
        question.plan(entry.suite, (entry.task,), entry.episodes),
        folder,
        pool,
        enough=lambda trials: bool(before) and tested(trials).decision is not None,
    )
    write_suite(folder / EVALUATION, results)
    trials = results.trials
    paired = [before[trial.start_id] for trial in trials] if before else []
    test = tested(trials) if before else None
    checks = [
        success_check(trials, paired, test, question.non_inferior, differing(results, entry.baseline)),
        safety_check(trials, paired, question.limits),
        latency_check(results, question.max_latency_ms),
    ]
    if question.graph_episodes:
        some = trials[: question.graph_episodes]
        checks.append(graph_check(question.policy, some, results.embodiment["name"], folder, draws=question.draws))
    return Checked(entry, folder, results, {check.name: check for check in checks})
