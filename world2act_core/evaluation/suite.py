"""``evaluation.json``: one policy on a benchmark's suite, every start with its outcome, to be compared with another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from world2act_core.errors import RunError
from world2act_core.evaluation import wording
from world2act_core.evaluation.conduct import SafetyCounters, add_up, latency_figures
from world2act_core.evaluation.console import result_table
from world2act_core.evaluation.results import read_with_schema, trial_from_json, trial_to_json
from world2act_core.evaluation.trials import PairedTrials, Trial, pair_trials
from world2act_core.pages.rates import interval_name, percent, percent_interval, wilson_interval
from world2act_core.simulators.starts import Start

SCHEMA = "world2act.suite/1"
MUST_AGREE = ("suite", "protocol", "embodiment")
"""Of two evaluations: where these differ, the same start is not the same trial."""
MAY_DIFFER = ("rendering", "versions", "commit")
"""What may change an outcome although nobody meant it to: said, not refused."""


@dataclass(frozen=True)
class SuiteResults:
    """An evaluation with its provenance.

    Attributes:
        policy: ``address``, ``identity`` (hashes of its files) and ``metadata`` (what it says of itself).
        protocol: controller, rate, settle steps, horizon, starts; ``assets`` where they can be stand-ins.
        embodiment: ``name`` and ``sha256`` of the contract.
        rendering: what the frames looked like.
        instructions: task → the instruction in words.
        trials: one a start, in order of task and start.
        deadline_ms: how long the arm takes to execute a chunk: a policy that thinks longer makes it wait. 0: unknown.
        finished: when the last trial ended, ISO 8601 in UTC; "" in a file of before this was kept.
    """

    suite: str
    policy: Mapping[str, Any]
    protocol: Mapping[str, Any]
    embodiment: Mapping[str, str]
    rendering: Mapping[str, Any]
    instructions: Mapping[int, str]
    trials: tuple[Trial, ...]
    versions: Mapping[str, str]
    commit: str = ""
    finished: str = field(default="", compare=False)
    deadline_ms: float = 0.0

    @property
    def safety(self) -> SafetyCounters | None:
        """Safety counters of all trials as of one long stream; None if they were not counted."""
        return add_up(trial.conduct.safety for trial in self.trials if trial.conduct and trial.conduct.safety)

    @property
    def latency(self) -> dict[str, Any]:
        """``latency_figures`` of all trials."""
        times = [ms for trial in self.trials if trial.conduct for ms in trial.conduct.latency_ms]
        return latency_figures(times, self.deadline_ms)

    def of_task(self, task: int) -> list[Trial]:
        return [trial for trial in self.trials if Start.parse(trial.start_id).task == task]


def write_suite(path: Path, results: SuiteResults) -> None:
    """Write ``evaluation.json``, whole or not at all; rates, intervals, safety and latency repeat what follows from the
    trials."""
    from world2act_core.runs.stage import write_json

    tasks = [
        {"task": task, "instruction": words, **_rate(results.of_task(task))}
        for task, words in results.instructions.items()
    ]
    content = {
        "schema": SCHEMA,
        **{name: getattr(results, name) for name in ("suite", "policy", *MUST_AGREE[1:], *MAY_DIFFER)},
        **({"finished": results.finished} if results.finished else {}),
        "all": _rate(results.trials),
        "safety": None if results.safety is None else asdict(results.safety),
        "latency": results.latency,
        "tasks": tasks,
        "trials": [trial_to_json(trial) for trial in results.trials],
    }
    write_json(path, content)


def read_suite(path: Path) -> SuiteResults:
    """Read ``evaluation.json`` back.

    Raises:
        RunError: missing, not JSON, another schema, incomplete, or its rates do not follow from its trials.
    """
    raw = read_with_schema(path, SCHEMA, "evaluate again")
    try:
        results = SuiteResults(
            **{name: raw[name] for name in ("suite", "policy", *MUST_AGREE[1:], *MAY_DIFFER)},
            instructions={entry["task"]: entry["instruction"] for entry in raw["tasks"]},
            trials=tuple(trial_from_json(trial) for trial in raw["trials"]),
            finished=raw.get("finished", ""),
            deadline_ms=raw.get("latency", {}).get("deadline_ms", 0.0),  # not in files of before
        )
        stated = [raw["all"]["successes"], *(entry["successes"] for entry in raw["tasks"])]
    except (KeyError, TypeError) as error:
        raise RunError(f"{path} is incomplete (at {error}): evaluate again") from None
    solved = Counter(Start.parse(trial.start_id).task for trial in results.trials if trial.success)
    if stated != [solved.total(), *(solved[task] for task in results.instructions)]:
        raise RunError(f"{path} states rates that do not follow from its trials: it was edited, evaluate again")
    return results


def _rate(trials: Sequence[Trial]) -> dict[str, Any]:
    successes, n = sum(trial.success for trial in trials), len(trials)
    return {"successes": successes, "n": n, "rate": successes / n, "wilson": list(wilson_interval(successes, n))}


def suite_table(results: SuiteResults) -> str:
    """The table at the end: a row a task, with Wilson intervals; ASCII, no trailing newline."""
    rows = [("task", "successes", "rate", interval_name())]
    rows += [_row(f"{task} {words}", results.of_task(task)) for task, words in results.instructions.items()]
    rows.append(_row("all", results.trials))
    lines = _aligned(rows)
    rule = "-" * len(lines[0])
    starts = results.protocol.get("starts", "official initial states")
    heading = f"{results.suite}, {starts}; policy {results.policy['address']}"
    labels = [label] if (label := wording.stand_ins(results.protocol)) else []
    notes = [note] if (note := wording.tried_again(results.trials)) else []
    return "\n".join([heading, *labels, rule, lines[0], rule, *lines[1:-1], rule, lines[-1], *notes])


def _row(label: str, trials: Sequence[Trial]) -> tuple[str, str, str, str]:
    successes, n = sum(trial.success for trial in trials), len(trials)
    return label, f"{successes}/{n}", percent(successes / n), percent_interval(wilson_interval(successes, n))


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]


def pair_suites(other: SuiteResults, this: SuiteResults) -> PairedTrials:
    """Both on the starts that they have in common.

    Raises:
        RunError: the protocols differ, so that the same start is not the same trial; or no start is in common.
    """
    both = set(other.instructions) & set(this.instructions)
    for name in MUST_AGREE:
        theirs, ours = getattr(other, name), getattr(this, name)
        if _of_tasks(theirs, both) != _of_tasks(ours, both):
            raise RunError(
                f"the evaluations differ in {name} ({theirs} against {ours}), so their trials cannot be paired: "
                f"evaluate both alike"
            )
    common = {trial.start_id for trial in other.trials} & {trial.start_id for trial in this.trials}
    if not common:
        raise RunError("the evaluations have no start in common: evaluate both on the same tasks")
    return pair_trials(*([trial for trial in side.trials if trial.start_id in common] for side in (other, this)))


def _of_tasks(value: Any, tasks: set[int]) -> Any:
    """Of a protocol the time limits of these tasks only: the others' have no trial to pair."""
    if not isinstance(value, Mapping) or "horizon" not in value:
        return value
    limits = value["horizon"]
    return {
        **value,
        "horizon": {task: limits.get(str(task)) if isinstance(limits, Mapping) else limits for task in sorted(tasks)},
    }


def against_table(other: SuiteResults, this: SuiteResults) -> str:
    """The paired comparison with the exact McNemar test: a row a task, then all; ASCII, no trailing newline.

    Raises:
        RunError: see ``pair_suites``.
    """
    paired = pair_suites(other, this)
    rows: list[tuple[str, ...]] = [("task", "other", "new", "gained", "lost")]
    for task, words in this.instructions.items():
        pairs = [
            (base.success, post.success)
            for base, post in zip(paired.base, paired.post, strict=True)
            if Start.parse(base.start_id).task == task
        ]
        if pairs:
            sides = (f"{sum(side)}/{len(pairs)}" for side in zip(*pairs, strict=True))
            gained, lost = pairs.count((False, True)), pairs.count((True, False))
            rows.append((f"{task} {words}", *sides, str(gained), str(lost)))
    left = len(other.trials) + len(this.trials) - 2 * paired.n
    heading = f"{this.suite}: the same {paired.n} starts"
    notes = [label] if (label := wording.stand_ins(this.protocol)) else []
    notes += [f"other: {other.policy['address']}", f"new:   {this.policy['address']}"]
    notes += [f"{left} trials on starts that only one side has are left out"] * bool(left)
    notes += [
        f"note: {n} differs between the two evaluations" for n in MAY_DIFFER if getattr(other, n) != getattr(this, n)
    ]
    total = result_table(paired, names=("other", "new"), heading=heading)
    return "\n".join([*notes, "", *_aligned(rows), "", total])
