"""What is asked of a policy, and whether it can be asked at all: judged before anything runs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from world2act_core.errors import RunError, World2ActError
from world2act_core.evaluation.sequential import SequentialPairedTest, decide
from world2act_core.evaluation.suite import MUST_AGREE, SuiteResults, read_suite
from world2act_core.recipes.regression.checks import SafetyLimits
from world2act_core.recipes.regression_options import EPISODES
from world2act_core.recipes.suite import DEMONSTRATOR, Plan, prepare
from world2act_core.simulators.starts import Start

EVALUATION = "evaluation.json"


@dataclass(frozen=True)
class Regression:
    """What a policy is asked.

    Attributes:
        policy: its address.
        suites: of LIBERO, LIBERO-PRO or whatever else ``world2act eval`` knows.
        tasks: of every suite; empty for all.
        episodes: most starts a task, the first official ones.
        against: baselines: ``evaluation.json`` files, or folders with some in them.
        non_inferior: None asks that no loss is shown; otherwise it must be shown that the success rate is not lower by
            so much (0.05 is five points) or more.
        alpha: most that may be the probability of a false verdict, an entry.
        limits: of the safety counters.
        max_latency_ms: most that the 99th percentile of a chunk's time may be; None only reports it.
        graph_episodes: how many of the starts go through the ROS 2 graph too; 0 for none.
        draws: the policy draws at random: graph and process must agree in outcome only.
        image_size, rendering: as ``suite.Plan``.
    """

    policy: str
    suites: tuple[str, ...]
    tasks: tuple[int, ...] = ()
    episodes: int = EPISODES
    against: tuple[Path, ...] = ()
    non_inferior: float | None = None
    alpha: float = 0.05
    limits: SafetyLimits = field(default_factory=SafetyLimits)
    max_latency_ms: float | None = None
    graph_episodes: int = 0
    draws: bool = False
    image_size: int = 0
    rendering: str = "fast"

    def plan(self, suite: str, tasks: tuple[int, ...], episodes: int) -> Plan:
        return Plan(self.policy, suite, tasks, episodes, self.image_size, self.rendering, videos=False, keep=True)

    def test(self, max_starts: int) -> SequentialPairedTest:
        """The paired test of this question, to be fed by ``add_pair``."""
        return SequentialPairedTest(max_starts, self.non_inferior or 0.0, self.alpha)

    def add_pair(self, test: SequentialPairedTest, baseline: bool, policy: bool) -> None:
        """Count a start. Where only a loss is looked for, the test asks whether the *baseline* is better."""
        test.add(*((policy, baseline) if self.non_inferior is None else (baseline, policy)))


@dataclass(frozen=True)
class Entry:
    """A task of a suite, the policy on its first ``episodes`` starts, and what a baseline did on them."""

    suite: str
    task: int
    episodes: int
    baseline: SuiteResults | None = None

    @property
    def id(self) -> str:
        return f"{self.suite}/{self.task}"


def planned_entries(question: Regression) -> list[Entry]:
    """The entries of a question.

    Raises:
        World2ActError: no such policy, suite or task; the question means nothing; or a baseline is missing, is of
            another protocol or embodiment, or has too few starts to show anything.
    """
    if not question.suites:
        raise World2ActError("no suite is named: for example --suite libero_goal")
    if question.graph_episodes:
        _refuse_graph(question)
    baselines = read_baselines(question.against)
    entries = []
    for suite in dict.fromkeys(question.suites):
        plan = question.plan(suite, question.tasks, question.episodes)
        asked = prepare(plan)
        facts = {"suite": suite, **asked.facts}
        for task in asked.tasks:
            entry = Entry(suite, task, question.episodes)
            entries.append(_with_baseline(entry, baselines, facts, question) if question.against else entry)
    return entries


def _refuse_graph(question: Regression) -> None:
    if question.policy == DEMONSTRATOR:
        raise World2ActError("the demonstrator reads the simulator's truth, so it cannot act through the ROS 2 graph")
    if question.rendering != "fast" or question.image_size:
        raise World2ActError("the graph's simulated arm renders fast and at the contract's size: leave out --ros")


def read_baselines(paths: Sequence[Path]) -> list[SuiteResults]:
    """Every evaluation in the named files and folders.

    Raises:
        RunError: there is none, or one is damaged.
    """
    found = []
    for path in paths:
        files = sorted(path.rglob(EVALUATION)) if path.is_dir() else [path]
        if not files:
            raise RunError(f"{path} holds no {EVALUATION}: make a baseline with world2act eval --out {path}")
        found += [read_suite(file) for file in files]
    return found


def _with_baseline(
    entry: Entry, baselines: Sequence[SuiteResults], facts: dict[str, Any], question: Regression
) -> Entry:
    known = [one for one in baselines if one.suite == entry.suite and one.of_task(entry.task)]
    if len(known) != 1:
        says = "no baseline has" if not known else f"{len(known)} baselines have"
        raise RunError(f"{says} trials of {entry.id}: name one evaluation of it with --against")
    (baseline,) = known
    for name in MUST_AGREE:
        theirs, ours = (_of_task(value, entry.task) for value in (getattr(baseline, name), facts[name]))
        if theirs != ours:
            raise RunError(
                f"the baseline of {entry.id} differs in {name} ({theirs} against {ours}), so its trials cannot be "
                "paired: evaluate the baseline anew"
            )
    trials = {trial.start_id: trial for trial in baseline.of_task(entry.task)}
    starts = [Start(entry.suite, entry.task, index).id for index in range(question.episodes)]
    common = [start for start in starts if start in trials]
    if common != starts[: len(common)]:
        raise RunError(f"the baseline of {entry.id} leaves out some of the first {question.episodes} official states")
    _refuse_too_few(entry, len(common), question)
    kept = replace(baseline, trials=tuple(trials[start] for start in common))
    return replace(entry, episodes=len(common), baseline=kept)


def _of_task(agreed: Any, task: int) -> Any:
    """What two evaluations must agree in, of one task: a suite whose tasks differ in horizon names each by number."""
    if not isinstance(agreed, Mapping) or not isinstance(agreed.get("horizon"), Mapping):
        return agreed
    return {**agreed, "horizon": agreed["horizon"].get(str(task))}


def _refuse_too_few(entry: Entry, starts: int, question: Regression) -> None:
    """A check that cannot fail, or cannot pass, is none."""
    margin, alpha = question.non_inferior or 0.0, question.alpha
    if not 0 <= margin < 1 or not 0 < alpha < 0.5:
        raise World2ActError(
            f"margin {100 * margin:g} and alpha {alpha:g} ask nothing: expected a margin of 0 to 100 points and "
            "0 < alpha < 0.5"
        )
    needed = next(n for n in itertools.count(1) if decide(0, 0, 0, n, margin, alpha) != "not shown")
    if starts < needed:
        raise World2ActError(
            f"{starts} starts of {entry.id} can show nothing at alpha {alpha:g}, whatever comes out: policy and "
            f"baseline need {needed} or more (--episodes)"
        )
