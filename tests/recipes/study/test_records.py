"""A cell's record keeps what its trials say of themselves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.recipes.study.fakes import PLAN
from world2act_core.errors import RunError
from world2act_core.evaluation import Trial
from world2act_core.recipes.study.plan import Cell, StudyPlan, read_plan
from world2act_core.recipes.study.records import (
    CellRecord,
    MethodRecord,
    add_to_record,
    merged,
    read_record,
    record_of,
    write_record,
)


def test_a_trial_that_was_begun_twice_keeps_its_mark_and_others_have_none(tmp_path: Path) -> None:
    trials = (Trial("s0", "base", True, 80, 2.5), Trial("s1", "base", False, 300, 9.0, attempts=2))
    method = MethodRecord({"held_out": trials}, 2.0, {}, False, "digest", "c0ffee")
    record = CellRecord("s", Cell("libero_goal", 8, 0), "p", "s", True, {"base": method}, {}, {"cores": 2})
    write_record(tmp_path / "cell.json", record)
    stored = json.loads((tmp_path / "cell.json").read_text())["methods"]["base"]["trials"]["held_out"]
    assert stored == [["s0", True, 80, 2.5], ["s1", False, 300, 9.0, 2]]
    assert read_record(tmp_path / "cell.json").methods["base"].trials["held_out"] == trials


@pytest.fixture
def plan(tmp_path: Path) -> StudyPlan:
    (tmp_path / "plan.yaml").write_text(PLAN)
    return read_plan(tmp_path / "plan.yaml")


def made(digest: str = "digest") -> MethodRecord:
    return MethodRecord({"held_out": (Trial("s0", "m", True, 80, 2.5),)}, 2.0, {}, False, digest, "c0ffee")


def test_processes_that_work_on_one_cell_keep_each_others_methods(plan: StudyPlan, tmp_path: Path) -> None:
    both_began_with = record_of(tmp_path, plan, plan.cells[0], True)
    add_to_record(tmp_path, plan, both_began_with, "good", made())
    add_to_record(tmp_path, plan, both_began_with, "base", made())
    assert list(record_of(tmp_path, plan, plan.cells[0], True).methods) == ["base", "good"]


def records(plan: StudyPlan, **methods: MethodRecord) -> dict[Cell, CellRecord]:
    cell = plan.cells[0]
    return {cell: CellRecord(plan.name, cell, plan.sha256, "s", True, methods)}


def test_what_is_collected_is_added_to_what_was_kept(plan: StudyPlan, tmp_path: Path) -> None:
    kept = {**records(plan, base=made(), good=made()), **{plan.cells[1]: replace(records(plan)[plan.cells[0]])}}
    together = merged(kept, records(plan, base=made()), plan, tmp_path)
    assert list(together[plan.cells[0]].methods) == ["base", "good"] and plan.cells[1] in together


def test_two_runs_of_one_method_are_not_mixed(plan: StudyPlan, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"libero_goal_8_s0\.json holds good with another policy or other trials"):
        merged(records(plan, good=made("one")), records(plan, good=made("other")), plan, tmp_path)
