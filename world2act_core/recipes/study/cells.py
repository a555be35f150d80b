"""One cell of the study: every method makes its policy, and each policy is tried on the planned starts.

What is finished is never done again: a method's work is a sealed stage, every trial a line of a log. So a kill costs
at most the trials that were under way and the training since the last checkpoint. Nor is it ever made anew from other
code: what comes later is compared with it.
"""

from __future__ import annotations

import json
import math
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.errors import RunError
from world2act_core.evaluation import Trial, TrialRequest, evaluate, held_out_or_raise
from world2act_core.recipes.evaluation import commit
from world2act_core.recipes.recording import Attempt, run_trials
from world2act_core.recipes.settings import Recipe
from world2act_core.recipes.study.plan import Cell, StudyPlan
from world2act_core.recipes.study.records import (
    CellRecord,
    MethodRecord,
    add_to_record,
    record_of,
)
from world2act_core.runs import Run, Stage
from world2act_core.runs.stage import MANIFEST, package_digest, versions
from world2act_core.simulators.starts import Start
from world2act_core.simulators.workers import WorkerPool

MADE = "made.json"
CODE = package_digest()
"""Of all sources as they were loaded: a method that was broken off is not gone on with by others."""

RunTrials = Callable[[WorkerPool, Iterable[Attempt], str], Iterator[Trial]]


@dataclass(frozen=True)
class Made:
    """What a method has made.

    Attributes:
        policy: an address that ``policies.address.open_policy`` opens.
        minutes: what it cost, shared work included; None takes the time that the method ran, over all its resumes.
        figures: JSON values for the record. The analysis reads ``cosine`` (mean similarity of video and action
            latents in the last batch that was logged), ``stage1_...`` (figures of the adapter whose cosine that is) and
            ``checkpoints`` (a list of ``{"step", "cosine", "success"}`` over training, success being a rate that
            training did not read); everything else is kept and shown.
        read: shared stage → digest, of those that the policy was made from.
    """

    policy: str
    minutes: float | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    read: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """What a method is given.

    Attributes:
        plan, cell: which cell of which study. Of a method that is run once a task the cell has the first seed.
        task_folder: shared by the cells of a task. Open it with ``Run(task_folder, wait=True)``: another cell of the
            task may be working there.
        cell_folder: shared by the methods of this cell; the task's folder for a method that is run once a task.
        pool: workers with a simulator each.
        embodiment: the arm.
        stage: of this method. What it writes into ``stage.folder`` is sealed, ``stage.scratch`` keeps partial work,
            and the starts that it trained on belong into ``stage.starts``.
    """

    plan: StudyPlan
    cell: Cell
    task_folder: Path
    cell_folder: Path
    pool: WorkerPool
    embodiment: Embodiment
    stage: Stage

    @property
    def recipe(self) -> Recipe:
        """Splits and settings of the training, for this cell's task and seed."""
        return self.plan.cell_recipe(self.cell)


class Method(Protocol):
    """Makes one policy; resumes from its stage's scratch folder if it left anything there.

    It travels to other processes, so it is a function of a module or an instance that can be pickled.
    """

    def __call__(self, context: Context, /) -> Made: ...


@dataclass(frozen=True)
class OnceATask:
    """A method whose policy is the same for every seed, so that it is made and tried once a task.

    It wraps the method in the registry (``{"base": OnceATask(base)}``), not above its ``def``: a function that hides
    behind another object of its name cannot be pickled.
    """

    method: Method

    def __call__(self, context: Context, /) -> Made:
        return self.method(context)


def run_cell(
    plan: StudyPlan,
    cell: Cell,
    folder: Path,
    pool: WorkerPool,
    methods: Mapping[str, Method],
    *,
    names: Sequence[str] = (),
    plan_committed: bool = False,
    run_trials: RunTrials = run_trials,
    announce: Callable[[str], None] = print,
) -> CellRecord:
    """Run or resume a cell; its record is written anew whenever a method is finished.

    Args:
        folder: of the study.
        methods: name → method, for every method of the plan.
        names: only these methods; empty runs all of them.
        run_trials: how attempts become trials, in the order in which they finish.

    Raises:
        RunError: methods failed (said after all others were run), or an evaluation start was trained on.
    """
    failed: list[str] = []
    for name in plan.methods:
        record = record_of(folder, plan, cell, plan_committed)  # another process may work on the cell's other methods
        if (names and name not in names) or name in record.methods:
            continue
        work = _MethodWork(plan, cell, folder, pool, name, methods[name], run_trials, announce)
        try:
            finished = work.run()
        except Exception as error:  # noqa: BLE001 - the methods after this one do not need it; raised below
            traceback.print_exc()
            announce(f"{name} failed: {error}")
            failed.append(f"{name} ({error})")
            continue
        add_to_record(folder, plan, record, name, finished)
        announce(said(name, finished))
    if failed:
        raise RunError(f"{len(failed)} method(s) of {cell.name} failed, all others are done: {'; '.join(failed)}")
    return record_of(folder, plan, cell, plan_committed)


def said(name: str, method: MethodRecord) -> str:
    """One line on a finished method: ``base: held_out 31/50, shifted 9/25, 4.2 min``."""
    rates = [f"{starts} {sum(t.success for t in trials)}/{len(trials)}" for starts, trials in method.trials.items()]
    return f"{name}: {', '.join(rates)}, {method.minutes:.1f} min"


@dataclass(frozen=True)
class _MethodWork:
    """One method in one cell: make the policy, then try it."""

    plan: StudyPlan
    cell: Cell
    folder: Path
    pool: WorkerPool
    name: str
    method: Method
    run_trials: RunTrials
    announce: Callable[[str], None]

    def run(self) -> MethodRecord:
        # Held for the trials too.
        with Run(self.home / "methods", self.announce, wait=self.shared, fixed=True) as run:
            config = {"plan": self.plan.sha256, "cell": (self.home.name, self.stage_cell.seed), "code": CODE}
            stage = run.stage(self.name, self._make, config=config)
            made = json.loads(stage.path(MADE).read_text())
            trials = self._try(made["policy"], stage.digest)
        minutes = stage.seconds / 60 if made["minutes"] is None else made["minutes"]
        return MethodRecord(trials, minutes, made["figures"], self.shared, stage.digest, made["commit"], made["read"])

    @property
    def shared(self) -> bool:
        return isinstance(self.method, OnceATask)

    @property
    def task_folder(self) -> Path:
        return self.folder / "tasks" / self.cell.task_name

    @property
    def home(self) -> Path:
        return self.task_folder if self.shared else self.folder / "seeds" / self.cell.name

    @property
    def stage_cell(self) -> Cell:
        return replace(self.cell, seed=self.plan.seeds[0]) if self.shared else self.cell

    def _make(self, stage: Stage) -> None:
        embodiment = load_embodiment(self.plan.cell_recipe(self.cell).embodiment)
        context = Context(self.plan, self.stage_cell, self.task_folder, self.home, self.pool, embodiment, stage)
        made = self.method(context)
        figures = _without_nan(dict(made.figures))
        content = {"policy": made.policy, "minutes": made.minutes, "figures": figures, "commit": commit()}
        content["read"] = dict(made.read)
        stage.path(MADE).write_text(json.dumps(content, allow_nan=False))

    def _try(self, policy: str, digest: str) -> dict[str, tuple[Trial, ...]]:
        """Start set → trials, of which those that an earlier call finished are kept."""
        sets = self.plan.starts(self.cell, self.name)
        starts = {start.id: start for chosen in sets.values() for start in chosen}
        held_out_or_raise(starts, used_starts(self.task_folder, self.home))
        identity = {"plan": self.plan.sha256, "policy": digest, "versions": versions()}

        def in_workers(_: Callable[[TrialRequest], Trial], requests: Iterable[TrialRequest]) -> Iterator[Trial]:
            attempts = [self._attempt(starts[request.start_id], policy) for request in requests]
            return self.run_trials(self.pool, attempts, self.name)

        log = self.home / "trials" / f"{self.name}.jsonl"
        trials = evaluate(_in_workers_only, (self.name,), list(starts), log, identity=identity, map_trials=in_workers)
        by_start = {trial.start_id: trial for trial in trials}
        return {name: tuple(by_start[start.id] for start in chosen) for name, chosen in sets.items()}

    def _attempt(self, start: Start, policy: str) -> Attempt:
        return Attempt(start, self.name, policy=policy, max_steps=self.plan.max_steps)


def used_starts(*folders: Path) -> dict[str, list[str]]:
    """Stage → the starts that it trained on, of every stage that was sealed anywhere below some folders."""
    manifests = (path for folder in folders for path in sorted(folder.rglob(MANIFEST)))
    return {str(path.parent): json.loads(path.read_text())["starts"] for path in manifests}


def _without_nan(value: Any) -> Any:
    """JSON values with null for what is not a finite number: JSON cannot say it, and it must not end hours of work."""
    if isinstance(value, Mapping):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _in_workers_only(request: TrialRequest) -> Trial:
    raise AssertionError(f"{request} must run in a worker")
