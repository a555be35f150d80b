"""From the files that the product writes to rows; each file goes through the reader that checks it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from world2act_core.evaluation import results, signature, suite
from world2act_core.evaluation.trials import Trial
from world2act_core.recipes.results.rows import Mean, Row, Stored, assets_label, by_task, numbers, trial_means

STUDY = "world2act.study_cell/1"
"""``recipes.study.records.SCHEMA``: its module brings torch, which is imported only if there is such a record."""
NO_RESULTS = ("world2act.export/", "world2act.residuals/", "world2act.regression/", "world2act.failure/")
"""Schemas of files that hold no success rates, or whose trials an ``evaluation.json`` beside them holds."""


def _evaluation(path: Path, raw: Mapping[str, Any]) -> Stored:
    """``evaluation.json`` of ``world2act eval``: a row a task."""
    read = suite.read_suite(path)
    extra = {trial["start_id"]: trial for trial in raw["trials"]}
    of_task = {str(entry["task"]): entry for entry in raw["tasks"]}
    known = {"suite", "policy", "protocol", "embodiment", "rendering", "versions", "commit", "all", "tasks", "assets"}
    whole = _figures({name: value for name, value in raw.items() if name not in known})
    rows = []
    for (name, task), trials in by_task(read.trials).items():
        entry = of_task.get(task, {})
        stated = {key: value for key, value in entry.items() if key not in {"task", "n", "rate", "successes"}}
        means = trial_means([extra[trial.start_id] for trial in trials])
        metrics = {**whole, **_figures(stated), **means}
        words = str(entry.get("instruction", ""))
        rows.append(Row(name, task, words, read.policy["address"], tuple(trials), metrics=metrics, commit=read.commit))
    facts = {key: raw[key] for key in ("protocol", "embodiment", "rendering", "assets", "policy", "versions")
             if key in raw}  # fmt: skip
    finished = str(raw.get("finished", ""))
    embodiment = read.embodiment["name"]
    return Stored(path, "evaluation", tuple(rows), path.parent, facts, embodiment, assets_label(raw), finished)


def _run(path: Path, raw: Mapping[str, Any]) -> Stored:
    """``results.json`` of a run: base and post-trained."""
    read = results.read_results(path)
    home = path.parent.parent if path.parent.name == "evaluation" else path.parent
    sides = (read.trials.base, read.trials.post)
    rows = _two_sides(raw["trials"], sides, f"run:{home}", read.task, read.commit)
    facts = {key: raw[key] for key in ("details", "training_starts", "versions", "rendering", "assets") if key in raw}
    return Stored(path, "run", rows, home, facts, read.embodiment, assets_label(raw), str(raw.get("finished", "")))


def _gate(path: Path, raw: Mapping[str, Any]) -> Stored:
    """``gate.json``: base and post-trained on the starts that the sequential test counted."""
    read = signature.read_gate(path.parent)
    sides = (read.trials.base, read.trials.post)
    rows = _two_sides(raw["trials"], sides, f"run:{path.parent}", "", read.commit)
    names = ("verdict", "passed", "mode", "margin", "alpha", "max_starts", "counts", "confidence_sequence", "digests",
             "earlier", "versions", "rendering", "assets")  # fmt: skip
    facts = {key: raw[key] for key in names if key in raw}
    finished = read.finished.isoformat()
    return Stored(path, "gate", rows, path.parent, facts, read.embodiment, assets_label(raw), finished)


def _study(path: Path, raw: Mapping[str, Any]) -> Stored:
    """The record of a study's cell: a row for each method and set of starts."""
    from world2act_core.recipes.study.records import read_record

    read = read_record(path)
    rows = tuple(
        Row(
            read.cell.suite, str(read.cell.task), "", name, trials, part=part, commit=method.commit,
            metrics={"minutes to make": Mean(method.minutes, 0), **_figures(method.figures)},
        )
        for name, method in read.methods.items()
        for part, trials in method.trials.items()
        if trials
    )  # fmt: skip
    keys = ("study", "seed", "plan_sha256", "settings_sha256", "plan_committed", "versions", "machine")
    return Stored(path, "study", rows, path.parent, {key: raw[key] for key in keys}, assets=assets_label(raw))


def _two_sides(
    raw: Mapping[str, Any], sides: Sequence[tuple[Trial, ...]], address: str, words: str, commit: str
) -> tuple[Row, ...]:
    rows = []
    for name, policy, trials in zip(("base", "post_trained"), (f"{address}#base", address), sides, strict=True):
        extra = {trial["start_id"]: trial for trial in raw[name]}
        for (suite_name, task), part in by_task(trials).items():
            metrics = trial_means([extra[trial.start_id] for trial in part])
            rows.append(Row(suite_name, task, words, policy, tuple(part), metrics=metrics, commit=commit))
    return tuple(rows)


def _figures(content: Mapping[str, Any]) -> dict[str, Mean]:
    return {name: Mean(value, 0) for name, value in numbers(content).items()}


READERS: dict[str, Callable[[Path, Mapping[str, Any]], Stored]] = {
    suite.SCHEMA: _evaluation,
    results.SCHEMA: _run,
    signature.SCHEMA: _gate,
    STUDY: _study,
}
"""Schema → what reads it; the second argument is the file's JSON, for what a reader does not keep.

Each raises RunError where the reader does, and KeyError or TypeError for a file that it would not have let through.
"""
