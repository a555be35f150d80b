"""What a cell of the study leaves behind: one JSON file, small enough to be committed, with every trial in it."""

from __future__ import annotations

import fcntl
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from world2act_core.errors import RunError
from world2act_core.evaluation import Trial
from world2act_core.evaluation.results import read_with_schema, trial_from_json
from world2act_core.recipes.study.plan import Cell, StudyPlan
from world2act_core.runs.machine import cores, processor
from world2act_core.runs.stage import versions, write_text

SCHEMA = "world2act.study_cell/1"
FOLDER = "cells"
"""Where in a study's folder the records lie."""


@dataclass(frozen=True)
class MethodRecord:
    """What became of one method in one cell.

    Attributes:
        trials: start set → one trial a start.
        minutes: that making the policy took, over all its resumes.
        figures: whatever the method says of itself; see ``cells.Made``.
        once_a_task: the policy is the task's, so these trials stand in the record of every seed.
        policy_sha256: of everything that the method sealed.
        commit: of the code that made the policy, "" if unknown.
        read: shared stage, such as ``libero_goal_8/base`` → digest, of those that the policy was made from.
    """

    trials: Mapping[str, tuple[Trial, ...]]
    minutes: float
    figures: Mapping[str, Any]
    once_a_task: bool
    policy_sha256: str
    commit: str
    read: Mapping[str, str] = field(default_factory=dict)

    @property
    def trial_minutes(self) -> float:
        return sum(trial.seconds for trials in self.trials.values() for trial in trials) / 60


@dataclass(frozen=True)
class CellRecord:
    """One cell, finished or not: method → what became of it, and of which plan and machine that is."""

    study: str
    cell: Cell
    plan_sha256: str
    settings_sha256: str
    plan_committed: bool
    methods: Mapping[str, MethodRecord] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=versions)
    machine: Mapping[str, Any] = field(default_factory=lambda: {"processor": processor(), "cores": cores()})


def record_path(folder: Path, cell: Cell) -> Path:
    return folder / FOLDER / f"{cell.name}.json"


def write_record(path: Path, record: CellRecord) -> None:
    """Write a record, whole or not at all; the same record gives the same bytes."""
    cell = record.cell
    content = {
        "schema": SCHEMA,
        "study": record.study,
        "suite": cell.suite,
        "task": cell.task,
        "seed": cell.seed,
        "plan_sha256": record.plan_sha256,
        "settings_sha256": record.settings_sha256,
        "plan_committed": record.plan_committed,
        "versions": dict(record.versions),
        "machine": dict(record.machine),
        "methods": {name: _method_json(method) for name, method in record.methods.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1, allow_nan=False)
    write_text(path, re.sub(r"\[\n([^\[\]{}]*)\n\s*\]", _in_one_line, text) + "\n")


def _in_one_line(flat_list: re.Match[str]) -> str:
    return "[" + " ".join(line.strip() for line in flat_list[1].split("\n")) + "]"


def _method_json(method: MethodRecord) -> dict[str, Any]:
    return {
        "minutes": round(method.minutes, 2),
        "trial_minutes": round(method.trial_minutes, 2),
        "once_a_task": method.once_a_task,
        "policy_sha256": method.policy_sha256,
        "commit": method.commit,
        "figures": method.figures,
        "read": dict(method.read),
        "trials": {name: [_line(trial) for trial in trials] for name, trials in method.trials.items()},
    }


def _line(trial: Trial) -> list[Any]:
    """A trial as a list; a fifth entry marks one that was begun more than once."""
    again = [trial.attempts] if trial.attempts > 1 else []
    return [trial.start_id, trial.success, trial.steps, round(trial.seconds, 1), *again]


def read_record(path: Path) -> CellRecord:
    """Read a record back.

    Raises:
        RunError: damaged, or of another schema.
    """
    raw = read_with_schema(path, SCHEMA, "remove it and run the study again")
    try:
        return CellRecord(
            cell=Cell(raw["suite"], raw["task"], raw["seed"]),
            methods={name: _method(name, method) for name, method in raw["methods"].items()},
            **{
                name: raw[name]
                for name in ("study", "plan_sha256", "settings_sha256", "plan_committed", "versions", "machine")
            },
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{path} is incomplete (at {error}): remove it and run the study again") from None


def _method(name: str, raw: Mapping[str, Any]) -> MethodRecord:
    keys = ("start_id", "success", "steps", "seconds", "attempts")
    trials = {
        starts: tuple(
            trial_from_json({"policy": name, **dict(zip(keys[: max(4, len(line))], line, strict=True))})
            for line in lines
        )
        for starts, lines in raw["trials"].items()
    }
    same = {key: raw[key] for key in ("minutes", "figures", "once_a_task", "policy_sha256", "commit")}
    return MethodRecord(trials=trials, read=raw.get("read", {}), **same)


def record_of(folder: Path, plan: StudyPlan, cell: Cell, plan_committed: bool) -> CellRecord:
    """The record of a cell that a folder holds, or an empty one.

    Raises:
        RunError: it is damaged, or was made by another plan.
    """
    empty = CellRecord(plan.name, cell, plan.sha256, plan.settings_sha256, plan_committed)
    return _read_if_there(folder, plan, cell) or empty


def add_to_record(folder: Path, plan: StudyPlan, record: CellRecord, name: str, method: MethodRecord) -> None:
    """Write a finished method beside those that the cell's record holds by now; another process may add to it too."""
    path = record_path(folder, record.cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = _read_if_there(folder, plan, record.cell) or record
        methods = {**known.methods, name: method}
        write_record(path, replace(known, methods={one: methods[one] for one in plan.methods if one in methods}))


def read_records(folder: Path, plan: StudyPlan) -> dict[Cell, CellRecord]:
    """The records of the plan's cells that a folder holds.

    Raises:
        RunError: one is damaged, or was made by another plan.
    """
    found = {cell: _read_if_there(folder, plan, cell) for cell in plan.cells}
    return {cell: record for cell, record in found.items() if record is not None}


def merged(
    kept: Mapping[Cell, CellRecord], new: Mapping[Cell, CellRecord], plan: StudyPlan, where: Path
) -> dict[Cell, CellRecord]:
    """All methods of two sets of records of one plan, cells and methods in the plan's order.

    Raises:
        RunError: both have a method of a cell, but not the same policy or trials.
    """
    together: dict[Cell, CellRecord] = {}
    for cell in plan.cells:
        records = [records[cell] for records in (kept, new) if cell in records]
        if not records:
            continue
        methods: dict[str, MethodRecord] = {}
        for name, method in (item for record in records for item in record.methods.items()):
            if name in methods and _results(methods[name]) != _results(method):
                raise RunError(
                    f"{record_path(where, cell)} holds {name} with another policy or other trials: they are two runs "
                    f"of one plan, and only one of them can be kept there"
                )
            methods[name] = method
        together[cell] = replace(records[-1], methods={name: methods[name] for name in plan.methods if name in methods})
    return together


def _results(method: MethodRecord) -> tuple[Any, ...]:
    trials = {name: [(t.start_id, t.success, t.steps) for t in found] for name, found in method.trials.items()}
    return method.policy_sha256, trials


def _read_if_there(folder: Path, plan: StudyPlan, cell: Cell) -> CellRecord | None:
    path = record_path(folder, cell)
    if not path.exists():
        return None
    record = read_record(path)
    if record.plan_sha256 != plan.sha256:
        raise RunError(
            f"{path} was made by a plan with SHA-256 {record.plan_sha256[:12]}, not {plan.sha256[:12]}: "
            f"a plan is fixed before its first run, so name another --out for the changed one"
        )
    return record
