"""What the page shows of a stored result: a row for each policy on each task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from world2act_core.evaluation.trials import Trial

TRIAL_FIELDS = {"start_id", "policy", "success", "steps", "seconds"}
"""What every trial has; any other number that a trial carries becomes a column."""


class Mean(NamedTuple):
    """A mean over ``n`` trials; ``n`` 0: a figure of the whole result, which no trial weighs."""

    value: float
    n: int


@dataclass(frozen=True)
class Row:
    """One policy on one task.

    Attributes:
        task: within the suite, as its start ids say it.
        words: the instruction, "" if not stated.
        policy: address of the policy, or a study's name of the method.
        part: which trials of the result these are, where it has several of one policy and task (``held_out``).
        trials: one a start.
        metrics: name → mean of a number that the trials carry besides their outcome, or a figure of the whole.
        commit: of the code, "" if unknown.
    """

    suite: str
    task: str
    words: str
    policy: str
    trials: tuple[Trial, ...]
    part: str = ""
    metrics: Mapping[str, Mean] = field(default_factory=dict)
    commit: str = ""


@dataclass(frozen=True)
class Stored:
    """One file of results.

    Attributes:
        kind: ``evaluation``, ``run``, ``gate`` or ``study``.
        home: folder in which what belongs to it lies, e.g. its videos.
        facts: what it says of how it was made, besides what stands in the rows: name → JSON value.
        embodiment: name of the contract, "" if not stated.
        assets: label of the simulator's assets, "" if not stated.
        finished: ISO 8601, "" if the file does not say.
    """

    path: Path
    kind: str
    rows: tuple[Row, ...]
    home: Path
    facts: Mapping[str, Any]
    embodiment: str = ""
    assets: str = ""
    finished: str = ""


def by_task(trials: Iterable[Trial]) -> dict[tuple[str, str], list[Trial]]:
    """Trials by suite and task, in their order; of a start that is no simulator's, both are what stands before its
    last part, or ""."""
    found: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        suite, _, task = trial.start_id.rpartition("/")[0].partition("/")
        found.setdefault((suite, task), []).append(trial)
    return found


def trial_means(trials: Sequence[Mapping[str, Any]]) -> dict[str, Mean]:
    """Means of the numbers that trials carry besides their outcome; of something that is true or false, the share.

    What is nested is named with dots: ``safety.limit_hits``. Texts and lists have no column.
    """
    values: dict[str, list[float]] = {}
    for trial in trials:
        if extra := trial.keys() - TRIAL_FIELDS:
            for name, number in numbers({name: trial[name] for name in sorted(extra)}).items():
                values.setdefault(name, []).append(number)
    return {name: Mean(sum(found) / len(found), len(found)) for name, found in values.items()}


def numbers(content: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Every finite number of nested objects, by its dotted name."""
    found: dict[str, float] = {}
    for name, value in content.items():
        if isinstance(value, Mapping):
            found.update(numbers(value, f"{prefix}{name}."))
        elif isinstance(value, (bool, int, float)) and abs(value) < float("inf"):  # NaN is not below either
            found[prefix + name] = float(value)
    return found


def assets_label(raw: Mapping[str, Any]) -> str:
    """How a result names the assets that its simulator drew: a word, or what its facts say; "" if it does not.

    Placeholder assets are called so wherever a result says it: of the result, its rendering or its protocol.
    """
    for holder in (raw, raw.get("rendering"), raw.get("protocol")):
        found = holder.get("assets") if isinstance(holder, Mapping) else None
        if isinstance(found, Mapping):
            for name in ("label", "name", "kind"):
                if isinstance(found.get(name), str):
                    return str(found[name])
            return ", ".join(f"{name} {value}" for name, value in found.items())
        if found not in (None, ""):
            return str(found)
    return ""
