"""Results as the product's own writers store them, for the tests of the page that shows them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from world2act_core.evaluation.gate import Gate
from world2act_core.evaluation.results import Results, write_results
from world2act_core.evaluation.signature import write_gate
from world2act_core.evaluation.suite import SuiteResults, write_suite
from world2act_core.evaluation.trials import PairedTrials, Trial, pair_trials
from world2act_core.recipes.study.plan import Cell
from world2act_core.recipes.study.records import CellRecord, MethodRecord, record_path, write_record

COMMIT = "c0ffee" + 34 * "0"


def trials(outcomes: str, policy: str = "policy", place: str = "libero_goal/8") -> tuple[Trial, ...]:
    """A trial for each 0 or 1."""
    return tuple(
        Trial(f"{place}/i{index}", policy, outcome == "1", 100 + index, 2.5) for index, outcome in enumerate(outcomes)
    )


def evaluation(folder: Path, outcomes: Mapping[int, str], policy: str = "compact:a.pt", **changes: Any) -> SuiteResults:
    """``evaluation.json`` in a folder: task → outcomes."""
    suite = changes.pop("suite", "libero_goal")
    settings: dict[str, Any] = {
        "suite": suite,
        "policy": {"address": policy, "identity": {"a.pt": policy}, "metadata": {}},
        "protocol": {"controller": "OSC_POSE", "horizon": 300},
        "embodiment": {"name": "libero_panda", "sha256": "34cd"},
        "rendering": {"image_size": 128},
        "instructions": {task: f"instruction {task}" for task in outcomes},
        "trials": tuple(t for task, found in outcomes.items() for t in trials(found, place=f"{suite}/{task}")),
        "versions": {"mujoco": "3.17.0"},
        "commit": COMMIT,
    }
    written = SuiteResults(**{**settings, **changes})
    folder.mkdir(parents=True, exist_ok=True)
    write_suite(folder / "evaluation.json", written)
    return written


def pairs(base: str, post: str) -> PairedTrials:
    return pair_trials(trials(base, "base"), trials(post, "post-trained"))


def run(folder: Path, base: str, post: str) -> Results:
    """``results.json`` as a run of a recipe keeps it."""
    written = Results(
        pairs(base, post), "put the bowl on the plate", "libero_panda", COMMIT, {}, {"base": 8}, {"seed": 0}
    )
    (folder / "evaluation").mkdir(parents=True)
    write_results(folder / "evaluation" / "results.json", written)
    return written


def gate(folder: Path, base: str, post: str) -> Gate:
    finished = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)
    written = Gate(
        pairs(base, post), 60, 0.0, 0.05, "libero_goal/8", "libero_panda", {"base": "1", "residual": "2"}, finished,
        versions={}, commit=COMMIT,
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    write_gate(folder, written)
    return written


def study(folder: Path, seed: int, methods: Mapping[str, str], once: str = "base") -> CellRecord:
    """A cell's record: method → outcomes on the held-out starts; ``once``: the method that is one for all seeds."""
    made = {
        name: MethodRecord({"held_out": trials(found, name)}, 1.5, {"loss": 0.25}, name == once, "9a", COMMIT)
        for name, found in methods.items()
    }
    written = CellRecord("toy", Cell("libero_goal", 8, seed), "ab", "cd", True, made, {}, {"cores": 2})
    write_record(record_path(folder, written.cell), written)
    return written


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    raw = json.loads(path.read_text())
    change(raw)
    path.write_text(json.dumps(raw))
