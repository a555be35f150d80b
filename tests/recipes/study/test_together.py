"""Two plans of one experiment read as one, and what is no one experiment refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.recipes.study.test_analysis import BASE, NEW, plan_with, records_of
from world2act_core.errors import World2ActError
from world2act_core.recipes.settings import Recipe
from world2act_core.recipes.study.analysis import compare
from world2act_core.recipes.study.plan import Comparison, StudyPlan, read_plan
from world2act_core.recipes.study.records import CellRecord, record_path, write_record
from world2act_core.recipes.study.together import Study, compared_together, report_together

GAIN = Comparison("new", "base", alpha=0.05)
NOT_BELOW = Comparison("new", "base", kind="not worse", margin=5.0)


def two_plans(*second: Comparison, **changed: Any) -> tuple[StudyPlan, StudyPlan]:
    first = plan_with(GAIN, NOT_BELOW)
    moved = [replace(getattr(first, name), seed=getattr(first, name).seed + 500) for name in ("held_out", "shifted")]
    other = replace(first, name="other", seeds=(2, 3), held_out=moved[0], shifted=moved[1])
    other = replace(other, analysis=replace(first.analysis, comparisons=second or (GAIN,)), **changed)
    return first, other


def studies(*plans: StudyPlan) -> list[Study]:
    return [Study(plan, records_of(plan, {"base": BASE, "new": NEW})) for plan in plans]


def test_pairs_of_both_are_counted_once_each():
    first, other = two_plans()
    ((planned, row),) = compared_together(studies(first, other))
    alone = compare(first, studies(first)[0].records, GAIN)
    assert planned == GAIN and row is not None and alone is not None
    assert (row.pairs, row.gained, row.lost) == (2 * alone.pairs, 2 * alone.gained, 2 * alone.lost)
    assert row.difference == alone.difference and row.p < alone.p
    assert row.interval.high - row.interval.low < alone.interval.high - alone.interval.low


def test_a_level_that_is_the_analysis_is_the_same_level_written_out():
    first, other = two_plans(replace(GAIN, alpha=0.0))
    assert [planned for planned, _ in compared_together(studies(first, other))] == [GAIN]


def test_as_long_as_one_of_them_lacks_pairs_there_is_no_verdict():
    first, other = two_plans()
    whole, half = studies(first, other)
    gone = {cell: record for cell, record in half.records.items() if cell != other.cells[0]}
    ((_, row),) = compared_together([whole, Study(other, gone)])
    assert row is not None and (row.verdict, row.missing) == ("unfinished", 8)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seeds": (1, 2)}, "share training seeds"),
        ({"max_steps": 9}, "their max_steps differ"),
        ({"recipe": Recipe(rounds=2)}, "their recipes differ in rounds"),
        ({"held_out": plan_with().held_out}, "share held_out starts"),
        (
            {"held_out": replace(plan_with().held_out, seed=9000, jitter_cm=4.0)},
            "held_out starts are drawn differently",
        ),
    ],
)
def test_what_is_not_one_experiment_is_refused(changed, message):
    first, other = two_plans()
    with pytest.raises(World2ActError, match=message):
        compared_together(studies(first, replace(other, **changed)))


def test_no_plan_is_counted_twice_wherever_it_is_named():
    first, other = two_plans()
    with pytest.raises(World2ActError, match="share training seeds"):
        compared_together(studies(first, other, other))


def test_plans_that_compare_nothing_alike_are_refused():
    first, other = two_plans(replace(GAIN, alpha=0.01))
    with pytest.raises(World2ActError, match="have no comparison in common"):
        compared_together(studies(first, other))


def test_the_table_is_read_from_files(tmp_path: Path) -> None:
    given = []
    for name, seed, start in (("one", 0, 1000), ("other", 1, 2000)):
        path = tmp_path / f"{name}.yaml"
        path.write_text(
            f"name: {name}\nseeds: [{seed}]\nheld_out: {{count: 8, seed: {start}}}\n"
            f"shifted: {{count: 1, seed: {start}}}\nmethods: [base, new]\nshifted_methods: []\n"
            "analysis: {comparisons: [{method: new, against: base}]}\n"
        )
        plan = read_plan(path)
        for cell, record in records_of(plan, {"base": BASE, "new": NEW}).items():
            kept: CellRecord = replace(record, plan_sha256=plan.sha256)
            write_record(record_path(tmp_path / name, cell), kept)
        given.append((path, tmp_path / name))
    said: list[str] = []
    report_together(given, said.append)
    assert "one and other together" in said[0] and "new better than base" in said[0] and "16 " in said[0]
