"""A cell: what is made and tried once, what a failure costs, what is refused. In this process, without workers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.recipes.study.fakes import METHODS, PLAN, RATES, as_trial, diary, outcome, train
from world2act_core.errors import RunError
from world2act_core.evaluation import Trial
from world2act_core.recipes.recording import Attempt
from world2act_core.recipes.study import cells
from world2act_core.recipes.study.cells import Context, Made, Method, run_cell
from world2act_core.recipes.study.plan import Cell, StudyPlan, read_plan
from world2act_core.recipes.study.records import CellRecord, read_record, read_records, record_path
from world2act_core.simulators.workers import WorkerPool


class Here:
    """Runs attempts in this process and counts them; with a limit it breaks off there."""

    def __init__(self, limit: int | None = None) -> None:
        self.tried: list[str] = []
        self.limit = limit

    def __call__(self, pool: WorkerPool, attempts: Iterable[Attempt], label: str) -> Iterator[Trial]:
        for job in attempts:
            if len(self.tried) == self.limit:
                raise RuntimeError("the power went")
            self.tried.append(f"{job.source} {job.start.id}")
            yield as_trial(outcome(job))


@pytest.fixture
def plan(tmp_path: Path) -> StudyPlan:
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    return read_plan(path)


def run(plan: StudyPlan, cell: Cell, folder: Path, trials: Here, methods: dict[str, Method] = METHODS) -> CellRecord:
    return run_cell(plan, cell, folder, WorkerPool(1), methods, run_trials=trials, announce=lambda _: None)


def test_every_method_is_tried_on_its_planned_starts_in_order(plan, tmp_path):
    trials = Here()
    record = run(plan, plan.cells[0], tmp_path, trials)
    assert list(record.methods) == ["base", "good"]
    for name, method in record.methods.items():
        planned = plan.starts(plan.cells[0], name)
        assert {starts: [t.start_id for t in tried] for starts, tried in method.trials.items()} == {
            starts: [start.id for start in chosen] for starts, chosen in planned.items()
        }
    assert len(trials.tried) == len(set(trials.tried)) == 6 + 3 + 6


def test_the_record_on_disk_is_the_record(plan, tmp_path):
    record = run(plan, plan.cells[0], tmp_path, Here())
    path = record_path(tmp_path, plan.cells[0])
    assert read_record(path) == record
    assert record.plan_sha256 == plan.sha256 and not record.plan_committed
    assert record.methods["good"].figures == {"cosine": RATES["good"], "loss": None}, "JSON has no NaN"
    assert '["libero_goal/8/i35+3cm#50000", ' in path.read_text(), "a trial is a line"
    assert str(tmp_path) not in path.read_text(), "a path of this machine would be committed"


def test_a_finished_cell_is_not_touched_again(plan, tmp_path):
    run(plan, plan.cells[0], tmp_path, Here())
    before, again = diary(tmp_path), Here(limit=0)
    run(plan, plan.cells[0], tmp_path, again)
    assert (diary(tmp_path), again.tried) == (before, [])


def test_what_is_the_tasks_is_made_and_tried_once_for_all_seeds(plan, tmp_path):
    first, second = (cell for cell in plan.cells if cell.suite == "libero_goal")
    trials = Here()
    one, other = (run(plan, cell, tmp_path, trials) for cell in (first, second))
    assert diary(tmp_path) == [f"train {first.name} base", f"train {first.name} good", f"train {second.name} good"]
    assert sum(line.startswith("base ") for line in trials.tried) == 6 + 3
    assert one.methods["base"] == other.methods["base"] and one.methods["base"].once_a_task
    assert one.methods["good"].trials != other.methods["good"].trials


def test_after_a_break_only_what_is_missing_is_done(plan, tmp_path):
    broken = Here(limit=9 + 2)
    with pytest.raises(RunError, match=r"1 method\(s\) of libero_goal_8_s0 failed.*good \(the power went\)"):
        run(plan, plan.cells[0], tmp_path, broken)
    rest = Here()
    record = run(plan, plan.cells[0], tmp_path, rest)
    assert [line for line in diary(tmp_path) if line.startswith("train")] == [
        "train libero_goal_8_s0 base",
        "train libero_goal_8_s0 good",
    ]
    assert len(broken.tried) == 11 and len(rest.tried) == 4
    assert set(broken.tried).isdisjoint(rest.tried) and len(record.methods["good"].trials["held_out"]) == 6


def test_a_method_that_fails_does_not_stop_those_after_it(plan, tmp_path):
    def fails(context: Context) -> Made:
        raise ValueError("no gradient")

    with pytest.raises(RunError, match=r"base \(no gradient\)"):
        run(plan, plan.cells[0], tmp_path, Here(), {**METHODS, "base": fails})
    assert list(read_record(record_path(tmp_path, plan.cells[0])).methods) == ["good"]
    record = run(plan, plan.cells[0], tmp_path, Here())
    assert list(record.methods) == ["base", "good"], "in the plan's order, whatever came first"


def test_a_method_that_trained_on_an_evaluation_start_is_refused(plan, tmp_path):
    def peeks(context: Context) -> Made:
        context.stage.starts = ["libero_goal/8/i35+3cm#50000"]
        return train(context)

    with pytest.raises(RunError, match=r"i35\+3cm#50000 of the evaluation was used by stage"):
        run(plan, plan.cells[0], tmp_path, Here(), {**METHODS, "good": peeks})
    assert "good" not in read_record(record_path(tmp_path, plan.cells[0])).methods


def test_results_of_another_plan_are_not_mixed_in(plan, tmp_path):
    run(plan, plan.cells[0], tmp_path, Here())
    changed = replace(plan, sha256="0" * 64)
    with pytest.raises(RunError, match="was made by a plan with SHA-256 .* so name another --out"):
        run(changed, plan.cells[0], tmp_path, Here())


def test_minutes_that_a_method_does_not_say_are_those_that_it_ran(plan, tmp_path):
    def silent(context: Context) -> Made:
        return replace(train(context), minutes=None)

    record = run(plan, plan.cells[0], tmp_path, Here(), {**METHODS, "good": silent})
    assert record.methods["base"].minutes == 1.5
    assert 0 <= record.methods["good"].minutes < 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[:-40], "is not JSON"),
        (lambda text: text.replace("study_cell/1", "study_cell/9"), "expected 'world2act.study_cell/1'"),
        (lambda text: text.replace('"success"', '"won"').replace("false, 40", "0, 40"), "is incomplete"),
        (lambda text: json.dumps({**json.loads(text), "methods": 3}), "is incomplete"),
    ],
)
def test_a_damaged_record_is_named(plan, tmp_path, damage, message):
    run(plan, plan.cells[0], tmp_path, Here())
    path = record_path(tmp_path, plan.cells[0])
    path.write_text(damage(path.read_text()))
    with pytest.raises(RunError, match=message) as refused:
        read_records(tmp_path, plan)
    assert str(path) in str(refused.value)


def test_a_lost_record_comes_back_from_what_is_sealed(plan, tmp_path):
    record = run(plan, plan.cells[0], tmp_path, Here())
    record_path(tmp_path, plan.cells[0]).unlink()
    again = Here(limit=0)
    assert run(plan, plan.cells[0], tmp_path, again) == record
    assert len(diary(tmp_path)) == 2


def test_a_method_that_was_broken_off_is_not_gone_on_with_by_other_code(plan, tmp_path, monkeypatch):
    with pytest.raises(RunError, match=r"good \(the power went\)"):
        run(plan, plan.cells[0], tmp_path, Here(limit=9 + 2))
    monkeypatch.setattr(cells, "CODE", "0" * 64)
    with pytest.raises(RunError, match=r"methods/good was made of another configuration, code or input"):
        run(plan, plan.cells[0], tmp_path, Here())
    assert list(read_record(record_path(tmp_path, plan.cells[0])).methods) == ["base"]


def test_a_record_tells_what_the_policy_was_made_from(plan, tmp_path):
    def reads(context: Context) -> Made:
        return replace(train(context), read={"libero_goal_8/base": "abc"})

    run(plan, plan.cells[0], tmp_path, Here(), {**METHODS, "good": reads})
    kept = read_record(record_path(tmp_path, plan.cells[0]))
    assert kept.methods["good"].read == {"libero_goal_8/base": "abc"} and kept.methods["base"].read == {}
