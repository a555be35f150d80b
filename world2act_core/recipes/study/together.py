"""Studies that ask the same of other training seeds and other starts, read as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from world2act_core.errors import World2ActError
from world2act_core.recipes.overrides import as_json
from world2act_core.recipes.study import report
from world2act_core.recipes.study.analysis import ComparisonRow, Pair, Records, judged, pair
from world2act_core.recipes.study.plan import HELD_OUT, SHIFTED, Comparison, StudyPlan, read_plan
from world2act_core.recipes.study.records import read_records


@dataclass(frozen=True)
class Study:
    """A plan and what was found by it."""

    plan: StudyPlan
    records: Records


def report_together(studies: Sequence[tuple[Path, Path]], announce: Callable[[str], None] = print) -> None:
    """Print the table of the comparisons that several plans have in common.

    Args:
        studies: file of the plan, folder with its records.

    Raises:
        World2ActError: a plan or its records cannot be read, or the plans are not of one experiment.
    """
    read = []
    for path, folder in studies:
        plan = read_plan(path)
        read.append(Study(plan, read_records(folder, plan)))
    names = " and ".join(study.plan.name for study in read)
    table = report.comparisons_table(f"{names} together, in percentage points", compared_together(read))
    announce(report.drawn(table))


def compared_together(studies: Sequence[Study]) -> list[tuple[Comparison, ComparisonRow | None]]:
    """The comparisons that all the plans made alike, over the pairs of all of them, by the first plan's level.

    Raises:
        World2ActError: tasks, recipe or steps differ, training seeds or starts repeat, or no comparison is common.
    """
    plans = [study.plan for study in studies]
    for one, other in combinations(plans, 2):
        _check_one_experiment(one, other)
    common = [
        planned
        for planned in plans[0].analysis.comparisons
        if all(
            _levelled(planned, plans[0]) in [_levelled(c, plan) for c in plan.analysis.comparisons] for plan in plans
        )
    ]
    if not common:
        raise World2ActError(f"{' and '.join(plan.name for plan in plans)} have no comparison in common")
    return [(planned, _compared(studies, planned)) for planned in common]


def _compared(studies: Sequence[Study], planned: Comparison) -> ComparisonRow | None:
    pairs: list[Pair] = []
    missing = 0
    for study in studies:
        found, absent = pair(study.plan, study.records, planned)
        pairs, missing = pairs + found, missing + absent
    return judged(pairs, missing, planned, _levelled(planned, studies[0].plan).alpha) if pairs else None


def _levelled(planned: Comparison, plan: StudyPlan) -> Comparison:
    """The comparison with its level written out."""
    return replace(planned, alpha=planned.alpha or plan.analysis.alpha)


def _check_one_experiment(one: StudyPlan, other: StudyPlan) -> None:
    names = f"{one.name} and {other.name}"
    for name in ("tasks", "max_steps"):
        if getattr(one, name) != getattr(other, name):
            raise World2ActError(f"{names} cannot be read together: their {name} differ")
    settings = [as_json(plan.recipe) for plan in (one, other)]
    differ = [name for name in settings[0] if settings[0][name] != settings[1][name]]
    if differ:
        raise World2ActError(f"{names} cannot be read together: their recipes differ in {', '.join(differ)}")
    if set(one.seeds) & set(other.seeds):
        raise World2ActError(f"{names} cannot be read together: they share training seeds, so runs would count twice")
    for starts in (HELD_OUT, SHIFTED):
        mine, theirs = getattr(one, starts), getattr(other, starts)
        if (mine.first, mine.last, mine.count, mine.jitter_cm) != (
            theirs.first,
            theirs.last,
            theirs.count,
            theirs.jitter_cm,
        ):
            raise World2ActError(f"{names} cannot be read together: their {starts} starts are drawn differently")
        if abs(mine.seed - theirs.seed) < mine.count:
            raise World2ActError(f"{names} cannot be read together: they share {starts} starts")
