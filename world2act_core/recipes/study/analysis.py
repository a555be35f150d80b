"""From the records of a study to its findings: pure functions, no file and no clock.

Three things are easily got wrong, so they are said here once.

- Trials that share a start are alike: the layout is the same, and so is the base, which does not depend on the seed.
  The exact McNemar test over all (task, seed, start) takes them as independent, so a verdict also needs the exact
  sign-flip test whose unit is the start with all its seeds (``evaluation.clustered``): the larger of the two p-values
  counts. Intervals are of that unit too. Neither says anything of training seeds that were not run; the sign-flip test
  whose unit is the training run (task, seed) is shown beside them, and with nine runs cannot fall below 2/512.
- A policy that is made once a task is tried once a start. In comparisons it stands against every seed; in its own rate
  every trial counts once.
- A verdict is given only when every planned pair is there. Until then it is ``unfinished``, whatever the figures say.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeVar

from world2act_core.evaluation import Interval, exact_paired_p, wilson_interval
from world2act_core.evaluation.clustered import PairedCounts, clustered_difference_interval, sign_flip_p
from world2act_core.recipes.study.cosine import CosineReading, read_cosine
from world2act_core.recipes.study.plan import HELD_OUT, NOT_WORSE, SHIFTED, SUPERIOR, Cell, Comparison, StudyPlan
from world2act_core.recipes.study.records import CellRecord, MethodRecord

Verdict = Literal["better", "not worse", "worse", "not shown", "unfinished"]
Records = Mapping[Cell, CellRecord]
Key = TypeVar("Key")


class Rate(NamedTuple):
    """Successes of so many trials."""

    successes: int
    n: int

    @property
    def interval(self) -> Interval:
        """Wilson's, which takes the trials as independent."""
        return wilson_interval(self.successes, self.n)


@dataclass(frozen=True)
class MethodRow:
    """One method on one start set.

    Attributes:
        tasks: task → rate over the seeds; None where nothing was run yet.
        minutes: of making the policy, mean of the cells; of a method that is run once a task, of the tasks.
        verdicts: of its planned comparisons with the base on this start set.
    """

    name: str
    starts: str
    tasks: Mapping[str, Rate | None]
    minutes: float | None
    verdicts: tuple[Verdict, ...]

    @property
    def pooled(self) -> Rate | None:
        """Over tasks and seeds."""
        rates = [rate for rate in self.tasks.values() if rate is not None]
        return Rate(sum(r.successes for r in rates), sum(r.n for r in rates)) if rates else None


class Pair(NamedTuple):
    """Two methods from the same start with the same training seed."""

    task: str
    seed: int
    start_id: str
    method: bool
    against: bool


@dataclass(frozen=True)
class ComparisonRow:
    """A planned comparison; differences and intervals as fractions.

    Attributes:
        pairs: those that are there; ``missing`` are planned besides.
        gained, lost: starts that only the method, or only the other, solved.
        interval: Newcombe's, with the number of pairs that the starts are worth.
        p_pairs, p_starts, p_runs: exact McNemar; exact sign flip by start; by training run.
        tasks: task → difference.
        bars_missed: what was aimed at besides the verdict and is not reached, in words.
    """

    planned: Comparison
    pairs: int
    missing: int
    gained: int
    lost: int
    difference: float
    interval: Interval
    p_pairs: float
    p_starts: float
    p_runs: float
    tasks: Mapping[str, float]
    verdict: Verdict
    bars_missed: tuple[str, ...]

    @property
    def p(self) -> float:
        """The p-value of the verdict: the larger of the two."""
        return max(self.p_pairs, self.p_starts)

    @property
    def reached(self) -> bool:
        """Whether all that was planned to be shown was shown."""
        enough: tuple[Verdict, ...] = ("better",) if self.planned.kind == SUPERIOR else ("better", "not worse")
        return self.verdict in enough and not self.bars_missed


@dataclass(frozen=True)
class Findings:
    """All that a study says. ``comparisons`` holds None for one of which there is no pair yet."""

    plan: StudyPlan
    methods: tuple[MethodRow, ...]
    comparisons: tuple[tuple[Comparison, ComparisonRow | None], ...]
    cosine: CosineReading
    missing: tuple[str, ...]
    remarks: tuple[str, ...]
    records: Records


def analyse(plan: StudyPlan, records: Records) -> Findings:
    """Read the records of a study, finished or not, by the rules of its plan."""
    comparisons = [(planned, compare(plan, records, planned)) for planned in plan.analysis.comparisons]
    rows = [
        _method_row(plan, records, name, starts, _against_base(plan, comparisons, name, starts))
        for starts, names in ((HELD_OUT, plan.methods), (SHIFTED, plan.shifted_methods))
        for name in plan.methods
        if name in names
    ]
    cosine = read_cosine(records, plan.analysis.cosine_ranks_from)
    return Findings(plan, tuple(rows), tuple(comparisons), cosine, _missing(plan, records), _remarks(records), records)


def compare(plan: StudyPlan, records: Records, planned: Comparison) -> ComparisonRow | None:
    """One planned comparison; None while there is no pair."""
    pairs, missing = pair(plan, records, planned)
    if not pairs:
        return None
    return judged(pairs, missing, planned, planned.alpha or plan.analysis.alpha)


def judged(pairs: Sequence[Pair], missing: int, planned: Comparison, alpha: float) -> ComparisonRow:
    """A planned comparison by its pairs, of which there is at least one, at a two-sided level."""
    every = _counts(pairs)
    starts = [_counts(group) for group in _grouped(pairs, lambda p: (p.task, p.start_id)).values()]
    runs = [_counts(group) for group in _grouped(pairs, lambda p: (p.task, p.seed)).values()]
    tasks = {task: _counts(group) for task, group in _grouped(pairs, lambda p: p.task).items()}
    row = ComparisonRow(
        planned=planned,
        pairs=len(pairs),
        missing=missing,
        gained=every.only_post,
        lost=every.only_base,
        difference=every.difference / len(pairs),
        interval=clustered_difference_interval(starts, 1 - alpha),
        p_pairs=exact_paired_p(every.only_base, every.only_post),
        p_starts=sign_flip_p([counts.difference for counts in starts]),
        p_runs=sign_flip_p([counts.difference for counts in runs]),
        tasks={task: counts.difference / sum(counts) for task, counts in tasks.items()},
        verdict="unfinished",
        bars_missed=(),
    )
    return row if missing else _with_verdict(row, alpha)


def pair(plan: StudyPlan, records: Records, planned: Comparison) -> tuple[list[Pair], int]:
    """The pairs of a comparison, and how many of the planned ones are missing."""
    pairs, missing = [], 0
    for cell in plan.cells:
        method, against = (_outcomes(records, cell, name, planned.starts) for name in (planned.method, planned.against))
        for start in plan.starts(cell, planned.method)[planned.starts]:
            if start.id in method and start.id in against:
                pairs.append(Pair(cell.task_name, cell.seed, start.id, method[start.id], against[start.id]))
            else:
                missing += 1
    return pairs, missing


def _outcomes(records: Records, cell: Cell, name: str, starts: str) -> dict[str, bool]:
    found = _found(records, cell, name)
    return {trial.start_id: trial.success for trial in found.trials.get(starts, ())} if found else {}


def _found(records: Records, cell: Cell, name: str) -> MethodRecord | None:
    return records[cell].methods.get(name) if cell in records else None


def _grouped(pairs: Sequence[Pair], key: Callable[[Pair], Key]) -> dict[Key, list[Pair]]:
    groups: dict[Key, list[Pair]] = defaultdict(list)
    for each in pairs:
        groups[key(each)].append(each)
    return groups


def _counts(pairs: Sequence[Pair]) -> PairedCounts:
    """The paired 2x2 table, the second method of the comparison standing as the base."""
    found = Counter((each.method, each.against) for each in pairs)
    return PairedCounts(found[True, True], found[False, True], found[True, False], found[False, False])


def _with_verdict(row: ComparisonRow, alpha: float) -> ComparisonRow:
    """The row with its verdict by the plan's rules."""
    planned, missed = row.planned, []
    differs = row.p <= alpha
    verdict: Verdict = "not shown"
    if differs and row.difference > 0:
        verdict = "better"
    elif planned.kind == NOT_WORSE and row.interval.low > -planned.margin / 100:
        verdict = "not worse"
    elif differs:
        verdict = "worse"
    points = {task: round(100 * difference, 6) for task, difference in {"": row.difference, **row.tasks}.items()}
    if points.pop("") < planned.at_least > 0:
        missed.append(f"at least {planned.at_least:+g} points were aimed at")
    for task, difference in points.items():
        if difference < -planned.worst_task:
            missed.append(f"{difference:+.1f} points on {task}, {-planned.worst_task:+g} at worst was aimed at")
    return replace(row, verdict=verdict, bars_missed=tuple(missed))


def _against_base(
    plan: StudyPlan, comparisons: Sequence[tuple[Comparison, ComparisonRow | None]], name: str, starts: str
) -> tuple[Verdict, ...]:
    base = plan.methods[0]
    return tuple(
        "unfinished" if row is None else row.verdict
        for planned, row in comparisons
        if (planned.method, planned.against, planned.starts) == (name, base, starts)
    )


def _method_row(plan: StudyPlan, records: Records, name: str, starts: str, verdicts: tuple[Verdict, ...]) -> MethodRow:
    tasks: dict[str, Rate | None] = {}
    minutes: list[float] = []
    for task in dict.fromkeys(cell.task_name for cell in plan.cells):
        outcomes: list[bool] = []
        for cell in (cell for cell in plan.cells if cell.task_name == task):
            found = _found(records, cell, name)
            trials = found.trials.get(starts, ()) if found else ()
            if found is None or (found.once_a_task and outcomes):
                continue
            outcomes += [trial.success for trial in trials]
            minutes.append(found.minutes)
        tasks[task] = Rate(sum(outcomes), len(outcomes)) if outcomes else None
    mean = sum(minutes) / len(minutes) if minutes else None
    return MethodRow(name, starts, tasks, mean, verdicts)


def _missing(plan: StudyPlan, records: Records) -> tuple[str, ...]:
    """One line for every cell that is not finished."""
    lines = []
    for cell in plan.cells:
        absent = [name for name in plan.methods if _found(records, cell, name) is None]
        if cell not in records:
            lines.append(f"{cell.name}: not begun")
        elif absent:
            lines.append(f"{cell.name}: {', '.join(absent)}")
    return tuple(lines)


def _made_of_two(records: Records) -> list[str]:
    """Of which shared stages, such as a task's base, methods have read more than one version."""
    versions: dict[str, set[str]] = {}
    for record in records.values():
        for method in record.methods.values():
            for stage, digest in method.read.items():
                versions.setdefault(stage, set()).add(digest)
    return [
        f"{stage} was made {len(found)} times, and some methods read one and some another"
        for stage, found in sorted(versions.items())
        if len(found) > 1
    ]


def _remarks(records: Records) -> tuple[str, ...]:
    """What a reader of the results must know of how they were made."""
    commits = {method.commit[:10] or "unknown" for record in records.values() for method in record.methods.values()}
    settings = {record.settings_sha256 for record in records.values()}
    remarks = []
    if not all(record.plan_committed for record in records.values()):
        remarks.append("the plan was not committed when the study began, so nothing shows that it was fixed before")
    if len(settings) > 1:
        remarks.append(f"the code's default settings changed under way: the cells have {len(settings)} of them")
    remarks += _made_of_two(records)
    if len(commits) > 1:
        remarks.append(f"made by {len(commits)} commits: {', '.join(sorted(commits))}")
    return tuple(remarks)
