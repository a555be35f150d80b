"""The analysis against cases computed by hand, on whole and on unfinished studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from world2act_core.evaluation import Trial, exact_paired_p, wilson_interval
from world2act_core.evaluation.clustered import PairedCounts, clustered_difference_interval
from world2act_core.recipes.study.analysis import analyse, compare, pair
from world2act_core.recipes.study.plan import Analysis, Cell, Comparison, StartSet, StudyPlan
from world2act_core.recipes.study.records import CellRecord, MethodRecord

TASKS, SEEDS = ("libero_goal/8", "libero_object/0"), (0, 1)
GAIN = Comparison(method="new", against="base")


def plan_with(*comparisons: Comparison, starts: int = 8) -> StudyPlan:
    return StudyPlan(
        tasks=TASKS,
        seeds=SEEDS,
        held_out=StartSet(35, 49, starts, 50000, 3.0),
        methods=("base", "new"),
        shifted_methods=(),
        analysis=Analysis(comparisons=comparisons),
        sha256="p",
    )


def method(plan: StudyPlan, cell: Cell, name: str, solved: str, **given: Any) -> MethodRecord:
    """``solved``: 1 or 0 for every held-out start."""
    starts = plan.starts(cell, name)["held_out"]
    trials = [Trial(start.id, name, one == "1", 50, 6.0) for start, one in zip(starts, solved, strict=False)]
    record = MethodRecord({"held_out": tuple(trials)}, 2.0, {}, name == "base", "digest", "c0ffee")
    return replace(record, **given)


def records_of(plan: StudyPlan, solved: Mapping[str, Sequence[str]]) -> dict[Cell, CellRecord]:
    """Method → outcomes a cell, in the plan's order of cells; an empty text leaves the method out."""
    return {
        cell: CellRecord(
            plan.name, cell, "p", "s", True,
            {name: method(plan, cell, name, texts[i]) for name, texts in solved.items() if texts[i]},
            {}, {"processor": "x", "cores": 2},
        )
        for i, cell in enumerate(plan.cells)
    }  # fmt: skip


# Cells: goal seed 0, object seed 0, goal seed 1, object seed 1. The base is the task's, so seeds repeat it.
BASE = ("10000000", "11000000", "10000000", "11000000")
NEW = ("11110000", "11110000", "10111000", "01111000")


def test_counts_pair_by_task_seed_and_start():
    plan = plan_with(GAIN)
    row = compare(plan, records_of(plan, {"base": BASE, "new": NEW}), GAIN)
    assert row is not None
    assert (row.pairs, row.missing, row.gained, row.lost) == (32, 0, 3 + 2 + 3 + 3, 1)
    assert row.difference == pytest.approx(10 / 32)
    assert row.tasks == pytest.approx({"libero_goal_8": 6 / 16, "libero_object_0": 4 / 16})


def test_each_p_value_is_that_of_its_unit():
    plan = plan_with(GAIN)
    row = compare(plan, records_of(plan, {"base": BASE, "new": NEW}), GAIN)
    assert row is not None
    assert row.p_pairs == exact_paired_p(1, 11)
    # By start over two seeds. goal: 0 1 2 2 1 0 0 0; object: -1 0 2 2 1 0 0 0. Sum 10 of weights 1 2 2 1 1 2 2 1 = 12:
    # it or more is reached by no weight turned (12) or a weight of 1 turned (10, four ways): 5 of 2^8 patterns.
    assert row.p_starts == pytest.approx(2 * 5 / 2**8)
    assert row.p_runs == pytest.approx(2 / 2**4), "four runs, all of them gains"
    assert row.p == max(row.p_pairs, row.p_starts)


def test_the_interval_is_that_of_whole_starts_at_the_level_of_the_comparison():
    planned = replace(GAIN, alpha=0.2)
    plan = plan_with(planned)
    row = compare(plan, records_of(plan, {"base": ("10",) * 4, "new": ("11", "01", "01", "11")}), planned)
    goal = [PairedCounts(1, 1, 0, 0), PairedCounts(0, 0, 2, 0)]
    object_ = [PairedCounts(1, 1, 0, 0), PairedCounts(0, 0, 2, 0)]
    assert row is not None
    assert row.interval == clustered_difference_interval(goal + object_, 0.8)


def test_a_verdict_needs_the_test_that_knows_of_shared_starts():
    """Seeds that repeat each other: 6 starts won twice are p = 0.03, not the 0.0005 of twelve pairs."""
    base, new = ("00000000",) * 4, ("11100000",) * 4
    for alpha, verdict in ((0.05, "better"), (0.01, "not shown")):
        planned = replace(GAIN, alpha=alpha)
        plan = plan_with(planned)
        row = compare(plan, records_of(plan, {"base": base, "new": new}), planned)
        assert row is not None and row.p_pairs < 0.001
        assert row.p_starts == pytest.approx(2 / 2**6)
        assert (row.verdict, row.reached) == (verdict, verdict == "better")


@pytest.mark.parametrize(
    ("new", "planned", "verdict", "reached"),
    [
        ("11111111", GAIN, "better", True),
        ("00000000", GAIN, "worse", False),
        ("11111000", GAIN, "not shown", False),
        ("11110000", replace(GAIN, kind="not worse", margin=5.0), "not shown", False),  # 16 starts cannot show that
        ("11110000", replace(GAIN, kind="not worse", margin=30.0), "not worse", True),
        ("11111111", replace(GAIN, kind="not worse", margin=5.0), "better", True),
        ("00000000", replace(GAIN, kind="not worse", margin=5.0), "worse", False),
        ("00000000", replace(GAIN, kind="not worse", margin=80.0), "not worse", True),
    ],
)
def test_verdicts_follow_the_plans_rules(new, planned, verdict, reached):
    plan = plan_with(planned)
    row = compare(plan, records_of(plan, {"base": ("11110000",) * 4, "new": (new,) * 4}), planned)
    assert row is not None
    assert (row.verdict, row.reached) == (verdict, reached)


def test_bars_besides_the_verdict_are_named_where_they_are_missed():
    planned = replace(GAIN, at_least=60.0, worst_task=5.0, alpha=0.2)
    plan = plan_with(planned)
    row = compare(
        plan, records_of(plan, {"base": ("00000000", "10000000") * 2, "new": ("11111111", "00000000") * 2}), planned
    )
    assert row is not None and row.verdict == "better" and not row.reached
    assert row.bars_missed == (
        "at least +60 points were aimed at",
        "-12.5 points on libero_object_0, -5 at worst was aimed at",
    )
    lower = replace(planned, at_least=43.75, worst_task=12.5)  # both met exactly
    met = compare(
        plan, records_of(plan, {"base": ("00000000", "10000000") * 2, "new": ("11111111", "00000000") * 2}), lower
    )
    assert met is not None and met.reached


def test_a_policy_of_the_task_counts_once_in_its_rate_and_stands_against_every_seed():
    plan = plan_with(GAIN)
    findings = analyse(plan, records_of(plan, {"base": BASE, "new": NEW}))
    base, new = findings.methods
    assert base.tasks == {"libero_goal_8": (1, 8), "libero_object_0": (2, 8)} and base.pooled == (3, 16)
    assert new.pooled == (16, 32) and new.pooled.interval == wilson_interval(16, 32)
    assert base.minutes == 2.0


def test_an_unfinished_study_has_figures_but_no_verdict_and_says_what_is_missing():
    plan = plan_with(GAIN)
    records = records_of(plan, {"base": ("00000000",) * 4, "new": ("11111111", "11111111", "11111111", "")})
    del records[plan.cells[0]]
    findings = analyse(plan, records)
    ((_, row),) = findings.comparisons
    assert row is not None
    assert (row.pairs, row.missing, row.verdict, row.reached) == (16, 16, "unfinished", False)
    assert row.difference == 1.0 and row.p < 0.05
    assert findings.missing == ("libero_goal_8_s0: not begun", "libero_object_0_s1: new")
    new = findings.methods[1]
    assert (new.pooled, new.verdicts) == ((16, 16), ("unfinished",))


def test_a_study_of_which_nothing_is_there_yet_is_all_missing():
    plan = plan_with(GAIN)
    findings = analyse(plan, {})
    assert findings.comparisons == ((GAIN, None),)
    assert len(findings.missing) == 4 and findings.methods[0].pooled is None
    assert findings.methods[1].verdicts == ("unfinished",)


def test_a_method_that_was_broken_off_within_its_starts_leaves_pairs_missing():
    plan = plan_with(GAIN)
    pairs, missing = pair(plan, records_of(plan, {"base": BASE, "new": ("1111", *NEW[1:])}), GAIN)
    assert (len(pairs), missing) == (28, 4)


def test_a_reader_is_told_of_an_uncommitted_plan_and_of_several_commits():
    plan = plan_with(GAIN)
    records = records_of(plan, {"base": BASE, "new": NEW})
    assert analyse(plan, records).remarks == ()
    first, second = plan.cells[:2]
    records[first] = replace(records[first], plan_committed=False, settings_sha256="other")
    changed = replace(records[second].methods["new"], commit="decaf")
    records[second] = replace(records[second], methods={**records[second].methods, "new": changed})
    remarks = " / ".join(analyse(plan, records).remarks)
    assert "was not committed" in remarks and "2 commits: c0ffee, decaf" in remarks and "2 of them" in remarks


def test_a_reader_is_told_of_a_base_that_was_made_twice():
    plan = plan_with(GAIN)
    records = records_of(plan, {"base": BASE, "new": NEW})
    for cell, digest in zip(plan.cells[:2], ("one", "other"), strict=True):
        new = replace(records[cell].methods["new"], read={"libero_goal_8/base": digest, f"{cell.name}/stage1": digest})
        records[cell] = replace(records[cell], methods={**records[cell].methods, "new": new})
    remarks = " / ".join(analyse(plan, records).remarks)
    assert "libero_goal_8/base was made 2 times" in remarks and "stage1" not in remarks
