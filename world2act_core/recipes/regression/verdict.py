"""What all entries say together: lines for the terminal, ``verdict.json`` for programs, ``report.html`` for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from world2act_core.pages import Page
from world2act_core.recipes.evaluation import commit
from world2act_core.recipes.regression.entry import Checked
from world2act_core.recipes.regression.question import Regression
from world2act_core.runs.stage import make_folder, versions, write_json

SCHEMA = "world2act.regression/1"
VERDICT, REPORT = "verdict.json", "report.html"


def lines(checked: Checked) -> Iterator[str]:
    """A line a check, then where the failures are kept."""
    for name, check in checked.checks.items():
        yield f"{'ok  ' if check.passed else 'FAIL'}  {checked.entry.id}  {name}: {check.message}"
    failures = kept_failures(checked)
    if failures:
        yield f"      failures kept: {len(failures)}; the first again: world2act replay-trial {failures[0]}"


def kept_failures(checked: Checked) -> list[Path]:
    """Folders of the failed trials that were counted."""
    kept = checked.folder / "failures"
    names = [trial.start_id.replace("/", "-") for trial in checked.results.trials if not trial.success]
    return [kept / name for name in names if (kept / name).is_dir()]


def forget(out: Path) -> None:
    """Make the folder, without what an earlier regression concluded: it must not be taken for this one's if this one is
    killed.

    Raises:
        RunError: a file is in the way of the folder.
    """
    make_folder(out)
    for name in (VERDICT, REPORT):
        (out / name).unlink(missing_ok=True)


def conclude(question: Regression, entries: Sequence[Checked], out: Path, broken: Sequence[str] = ()) -> bool:
    """Write verdict and report; returns whether every check of every entry passed.

    Args:
        broken: entries that were not tried or came to no end, and why, a sentence each.
    """
    passed = all(entry.passed for entry in entries) and bool(entries) and not broken
    content = _content(question, entries, broken, passed, out)
    make_folder(out)
    write_json(out / VERDICT, content)
    page(question, entries, broken, passed, content).write(out / REPORT)
    return passed


def _content(
    question: Regression, entries: Sequence[Checked], broken: Sequence[str], passed: bool, out: Path
) -> dict[str, Any]:
    asked = {**asdict(question), "against": [str(path) for path in question.against]}
    return {
        "schema": SCHEMA,
        "passed": passed,
        "question": asked,
        "policy": dict(entries[0].results.policy) if entries else {"address": question.policy},
        "entries": [
            {
                "suite": one.entry.suite,
                "task": one.entry.task,
                "instruction": one.results.instructions[one.entry.task],
                "folder": str(one.folder.relative_to(out)),
                "passed": one.passed,
                "checks": {name: asdict(check) for name, check in one.checks.items()},
                "failures": [str(path.relative_to(out)) for path in kept_failures(one)],
            }
            for one in entries
        ],
        "broken": list(broken),
        "finished": datetime.now(timezone.utc).isoformat(),
        "versions": versions(),
        "commit": commit(),
    }


def page(
    question: Regression, entries: Sequence[Checked], broken: Sequence[str], passed: bool, content: dict[str, Any]
) -> Page:
    """The report: the verdict, every check in words, how to repeat each failure."""
    made = Page(f"Before the arm moves: {question.policy}")
    failed = [(one, check) for one in entries for check in one.checks.values() if not check.passed]
    word = "PASS: every check of every task" if passed else f"FAIL: {len(failed) + len(broken)} checks"
    outcomes = [trial.success for one in entries for trial in one.results.trials]
    numbers = [("tasks", str(len(entries)), ""), ("starts", str(len(outcomes)), f"{sum(outcomes)} solved")]
    made.add_verdict(word, "better" if passed else "worse", numbers)
    rows = [
        (
            one.entry.id,
            one.results.instructions[one.entry.task],
            name,
            "pass" if check.passed else "FAIL",
            check.message,
        )
        for one in entries
        for name, check in one.checks.items()
    ]
    made.add_table(("entry", "task", "check", "", "what was found"), rows, title="Checks")
    if broken:
        made.add_table(("what came to no end",), [(text,) for text in broken], title="Broken")
    repeats = [(path.name, f"world2act replay-trial {path}") for one in entries for path in kept_failures(one)]
    if repeats:
        made.add_table(("failure", "this repeats it"), repeats, title="Failures")
    made.add_manifest({name: content[name] for name in ("question", "policy", "versions", "commit")})
    return made
