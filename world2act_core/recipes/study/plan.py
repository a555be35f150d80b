"""What a study does, fixed in a YAML file before its first run: tasks, seeds, starts, methods, and how to read them."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from world2act_core.embodiment import load_embodiment
from world2act_core.embodiment.displacement import placed_dimensions
from world2act_core.errors import World2ActError
from world2act_core.recipes.overrides import as_json, override, read_yaml
from world2act_core.recipes.settings import Recipe, Split, with_usual_rest
from world2act_core.simulators.demonstrators.library import DEMONSTRATORS
from world2act_core.simulators.libero import simulated_contract
from world2act_core.simulators.starts import Start, contract_of, jittered_starts

SUPERIOR, NOT_WORSE = "superior", "not worse"
HELD_OUT, SHIFTED = "held_out", "shifted"
PIXELS = "pixels"
"""A method that has nothing to label with where actions go from where the arm stands."""
SET_BY_THE_PLAN = ("suite", "task", "seed", "evaluation")
"""What a recipe has and a plan decides for each cell."""

_MAY_SHARE = (HELD_OUT, SHIFTED), ("demonstrations", "pretraining")
"""Splits of the same purpose, whose starts may come from the same official states."""

_NOT_THE_DEMOS = Split(35, 49, 40, 5000)
"""In the place of the recipe's evaluation, which the plan decides: starts of the demo are no setting of a study."""


@dataclass(frozen=True)
class StartSet(Split):
    """Evaluation starts: a split with a displacement of its own, in centimetres."""

    jitter_cm: float

    def starts(self, suite: str, task: int) -> list[Start]:
        return jittered_starts(suite, task, range(self.first, self.last + 1), self.jitter_cm, self.count, self.seed)


@dataclass(frozen=True)
class Comparison:
    """What the study is to show of a method; rates and differences in percentage points.

    Attributes:
        method, against: names of the plan's methods.
        kind: ``superior``, or ``not worse`` by more than ``margin``.
        starts: ``held_out`` or ``shifted``.
        margin: of ``not worse``.
        alpha: two-sided level of the tests; 0 takes the analysis'.
        at_least: the difference that is aimed at; 0 asks for none.
        worst_task: on no task may the method lie further below; 100 asks for nothing.
    """

    method: str = ""
    against: str = ""
    kind: str = SUPERIOR
    starts: str = HELD_OUT
    margin: float = 0.0
    alpha: float = 0.0
    at_least: float = 0.0
    worst_task: float = 100.0


@dataclass(frozen=True)
class Analysis:
    """How the results are read.

    Attributes:
        alpha: two-sided level of every comparison that names no other; no correction over comparisons.
        cosine_ranks_from: mean rank correlation (Spearman) of cosine and success from which cosine is called usable.
        comparisons: planned beforehand; their verdicts are computed, not written.
    """

    alpha: float = 0.05
    cosine_ranks_from: float = 0.7
    comparisons: tuple[Comparison, ...] = (Comparison(),)


@dataclass(frozen=True, order=True)
class Cell:
    """One task with one training seed."""

    suite: str
    task: int
    seed: int

    @property
    def task_name(self) -> str:
        return f"{self.suite}_{self.task}"

    @property
    def name(self) -> str:
        """``libero_goal_8_s0``."""
        return f"{self.task_name}_s{self.seed}"


@dataclass(frozen=True)
class StudyPlan:
    """A study. Read it with ``read_plan``.

    Attributes:
        tasks: ``suite/index``.
        seeds: of the training: adapters, world models and policies are trained anew with each.
        held_out, shifted: the starts that every method, or those of ``shifted_methods``, are tried on.
        max_steps: of a trial; 0 leaves it to the task's horizon.
        methods: in the order in which they are run; the first is the base.
        recipe: splits and settings of the training. What it says of task, seed and evaluation the plan decides.
        sha256: of the file; every result carries it.
    """

    name: str = "study"
    tasks: tuple[str, ...] = ("libero_goal/8",)
    seeds: tuple[int, ...] = (0,)
    held_out: StartSet = StartSet(35, 49, 50, 50000, 3.0)
    shifted: StartSet = StartSet(35, 49, 25, 60000, 6.0)
    max_steps: int = 0
    methods: tuple[str, ...] = ("base",)
    shifted_methods: tuple[str, ...] = ("base",)
    analysis: Analysis = field(default_factory=Analysis)
    recipe: Recipe = field(default_factory=Recipe)
    sha256: str = ""

    @property
    def cells(self) -> list[Cell]:
        """Every task with the first seed, then with the next: processes side by side work on different tasks."""
        return [Cell(*_task(task), seed) for seed in self.seeds for task in self.tasks]

    @property
    def settings_sha256(self) -> str:
        """Of everything that the plan says, defaults of the code included."""
        recipe = replace(self.recipe, evaluation=_NOT_THE_DEMOS)
        settings = as_json(replace(self, sha256="", recipe=recipe))
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    def cell_recipe(self, cell: Cell) -> Recipe:
        """The recipe of one cell; its evaluation split is the held-out starts."""
        held_out = Split(self.held_out.first, self.held_out.last, self.held_out.count, self.held_out.seed)
        return replace(self.recipe, suite=cell.suite, task=cell.task, seed=cell.seed, evaluation=held_out)

    def starts(self, cell: Cell, method: str) -> dict[str, list[Start]]:
        """Start set → the starts on which a method is tried."""
        sets = {HELD_OUT: self.held_out, **({SHIFTED: self.shifted} if method in self.shifted_methods else {})}
        return {name: chosen.starts(cell.suite, cell.task) for name, chosen in sets.items()}


def read_plan(path: Path) -> StudyPlan:
    """The plan of a file, checked.

    Raises:
        World2ActError: no such file, unknown keys or names, splits that overlap, a comparison of something else.
    """
    raw = read_yaml(path, "plan")
    _refuse(raw, ("sha256",), path.name)
    _refuse(raw.get("recipe") if isinstance(raw, Mapping) else None, SET_BY_THE_PLAN, f"{path.name}: recipe")
    plan = _with_usual_rest(override(StudyPlan(), raw, path.name), raw, path.name)
    if "comparisons" not in ((raw.get("analysis") or {}) if isinstance(raw, Mapping) else {}):
        plan = replace(plan, analysis=replace(plan.analysis, comparisons=()))
    _check(plan, path.name)
    return replace(plan, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def _with_usual_rest(plan: StudyPlan, raw: Any, where: str) -> StudyPlan:
    """One recipe serves all tasks, so their arms must be commanded alike."""
    suites = [_task(task)[0] for task in plan.tasks]
    contracts = [simulated_contract(suite) if contract_of(suite)[1] else plan.recipe.embodiment for suite in suites]
    arms = {contract: load_embodiment(contract) for contract in contracts}
    if len({arm.action.kind for arm in arms.values()}) > 1:
        raise World2ActError(f"{where}: tasks of {' and '.join(arms)}, which are commanded otherwise: give each a plan")
    said = raw.get("recipe") if isinstance(raw, Mapping) else None
    for arm in arms.values():
        if PIXELS in plan.methods and placed_dimensions(arm):
            raise World2ActError(f"{where}: {PIXELS} is not for {arm.name}: no dream says where an arm stands")
        plan = replace(plan, recipe=with_usual_rest(plan.recipe, said, arm))
    return plan


def is_committed(path: Path) -> bool:
    """Whether git holds the file as it stands: a plan that can still be changed fixes nothing."""
    command = ["git", "-C", str(path.resolve().parent), "status", "--porcelain", "--ignored", "--", path.name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and not done.stdout.strip()


def check_names(wanted: Iterable[str], known: Iterable[str], what: str) -> None:
    """Refuse a name that is not known.

    Raises:
        World2ActError: names it and lists the known ones.
    """
    known = list(known)
    for name in wanted:
        if name not in known:
            raise World2ActError(f"{what} {name!r} is not known; known are {', '.join(known)}")


def _refuse(raw: Any, keys: Sequence[str], where: str) -> None:
    for key in keys:
        if isinstance(raw, Mapping) and key in raw:
            raise World2ActError(f"{where}: {key} is decided by the rest of the plan: leave it out")


def _task(text: str) -> tuple[str, int]:
    match = re.fullmatch(r"(\w+(?:@\w+)?)/(\d+)", text)
    if not match:
        raise World2ActError(f"{text!r} is not a task: expected something like libero_goal/8")
    return match[1], int(match[2])


def _check(plan: StudyPlan, where: str) -> None:
    """Refuse what would only fail, or be wrong, after hours of work."""
    tasks = [f"{suite}/{task}" for suite, task in sorted(DEMONSTRATORS)]
    scripted = (f"{contract_of(suite)[0]}/{task}" for suite, task in map(_task, plan.tasks))
    check_names(scripted, tasks, f"{where}: task")
    check_names(plan.shifted_methods, plan.methods, f"{where}: shifted_methods: method")
    for name in ("tasks", "seeds", "methods", "shifted_methods"):
        values = getattr(plan, name)
        if len(set(values)) < len(values) or (not values and name != "shifted_methods"):
            raise World2ActError(f"{where}: {name} = {list(values)} must name at least one thing, and each once")
    if len(set(map(_task, plan.tasks))) < len(plan.tasks):
        raise World2ActError(f"{where}: tasks = {list(plan.tasks)} names a task twice")
    if min(plan.seeds) < 0:
        raise World2ActError(f"{where}: seeds = {list(plan.seeds)} must be 0 or more")
    for name in plan.methods:
        if not re.fullmatch(r"\w[\w.-]*", name):
            raise World2ActError(f"{where}: method {name!r} cannot name a folder: take letters, digits, '-', '_', '.'")
    _check_splits(plan, where)
    _check_level(plan.analysis.alpha, f"{where}: analysis")
    if not -1 <= plan.analysis.cosine_ranks_from <= 1:
        raise World2ActError(f"{where}: analysis: cosine_ranks_from is a correlation, from -1 to 1")
    for comparison in plan.analysis.comparisons:
        _check_comparison(comparison, plan, where)


def _check_level(alpha: float, where: str) -> None:
    """A level above a half would call everything shown, and 0 nothing."""
    if not 0 < alpha <= 0.5:
        raise World2ActError(f"{where}: alpha = {alpha:g} is no level of a test: take one above 0 and at most 0.5")


def _check_splits(plan: StudyPlan, where: str) -> None:
    splits: dict[str, Split] = {**plan.recipe.learned_from, HELD_OUT: plan.held_out, SHIFTED: plan.shifted}
    for name, starts in ((HELD_OUT, plan.held_out), (SHIFTED, plan.shifted)):
        starts.check(f"{where}: {name}")
        starts.check_tried_once(f"{where}: {name}", starts.jitter_cm)
    for (one, first), (two, second) in combinations(splits.items(), 2):
        if first.shares_a_state_with(second) and (one, two) not in _MAY_SHARE:
            raise World2ActError(f"{where}: {one} and {two} share official states: change their first and last")
    if min(plan.held_out.jitter_cm, plan.shifted.jitter_cm) < 0:
        raise World2ActError(f"{where}: a jitter_cm is below 0: it is the half-width of a displacement")
    if plan.held_out.jitter_cm == plan.shifted.jitter_cm:
        raise World2ActError(f"{where}: shifted displaces as far as held_out: give it another jitter_cm")


def _check_comparison(comparison: Comparison, plan: StudyPlan, where: str) -> None:
    where = f"{where}: comparison of {comparison.method!r} with {comparison.against!r}"
    check_names((comparison.method, comparison.against), plan.methods, f"{where}: method")
    check_names((comparison.kind,), (SUPERIOR, NOT_WORSE), f"{where}: kind")
    check_names((comparison.starts,), (HELD_OUT, SHIFTED), f"{where}: starts")
    if comparison.method == comparison.against:
        raise World2ActError(f"{where}: a method cannot be compared with itself")
    if comparison.starts == SHIFTED:
        check_names((comparison.method, comparison.against), plan.shifted_methods, f"{where}: shifted method")
    if comparison.alpha != 0:  # which takes the analysis'
        _check_level(comparison.alpha, where)
    for name in ("margin", "at_least", "worst_task"):
        if not 0 <= getattr(comparison, name) <= 100:
            raise World2ActError(f"{where}: {name} = {getattr(comparison, name):g} must be 0 to 100 points")
    if (comparison.kind == NOT_WORSE) != (comparison.margin > 0):
        raise World2ActError(f"{where}: a margin above 0 belongs to kind {NOT_WORSE!r}, and only to it")
