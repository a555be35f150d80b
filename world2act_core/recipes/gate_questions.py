"""What a gate is asked, and what was asked of the same policies before: who asks often enough gets any answer, and who
stops a gate that looks bad has asked.

``RUN/gate/asked.json`` lists every question when its gate begins; ``gate.json`` tells how those that ended did.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from world2act_core.errors import RunError, World2ActError
from world2act_core.evaluation.signature import GATE
from world2act_core.runs.stage import write_json
from world2act_core.simulators.starts import Start

STARTS, STARTS_NON_INFERIOR = 60, 300
"""How many starts there are at most unless told otherwise; to show that nothing was lost takes more of them."""
TRIALS, ASKED = "gate", "asked.json"
SEEDS_APART = 1_000_000
"""Displacement seeds of two gates, and of a gate and a recipe, never meet."""

_IDENTITY = ("margin", "alpha", "seed", "jitter_cm")


@dataclass(frozen=True)
class Question:
    """What a gate is asked. ``jitter_cm`` None takes the run's; the rest as ``SequentialPairedTest`` and ``Start``."""

    margin: float = 0.0
    alpha: float = 0.05
    max_starts: int = STARTS
    seed: int = 0
    jitter_cm: float | None = None


def note_question(folder: Path, digests: Mapping[str, str], question: Question) -> None:
    """Keep on disk that a run's policies, told by their digests, are asked this; once, however often it goes on."""
    asked = {**{name: getattr(question, name) for name in _IDENTITY}, "digests": dict(digests)}
    before = _asked(folder)
    if asked not in before:
        (folder / TRIALS).mkdir(exist_ok=True)
        write_json(folder / TRIALS / ASKED, [*before, asked])


def earlier_gates(folder: Path, digests: Mapping[str, str], question: Question) -> list[dict[str, Any]]:
    """The other questions that these policies were asked before this one begins, those with a verdict first.

    The same question of the same draw of starts is not another gate: this one goes on with its trials.

    Returns:
        For each ``margin``, ``alpha``, ``seed``, ``jitter_cm``, ``verdict``, ``finished`` and ``starts``. Of a gate
        that was stopped before its end verdict and ``finished`` are None, and ``starts`` is how many of its draw had
        been tried; margin and alpha are None where only trials are left to tell of it.

    Raises:
        RunError: what an earlier gate left is damaged.
    """
    told = {_identity(entry): entry for entry in _of_the_last(folder, digests)}
    asked = [entry for entry in _asked(folder) if entry["digests"] == digests]
    tried = _tried(folder, digests)
    known = {_draw(entry) for entry in [*told.values(), *asked] if entry["margin"] is not None}
    lost = [{"margin": None, "alpha": None, "seed": seed, "jitter_cm": jitter} for seed, jitter in tried.keys() - known]
    for entry in [*asked, *sorted(lost, key=_draw)]:
        starts = tried.get(_draw(entry), 0)
        if starts and told.get(_identity(entry), {"verdict": None})["verdict"] is None:
            kept = {name: entry[name] for name in _IDENTITY}
            told[_identity(entry)] = {**kept, "verdict": None, "finished": None, "starts": starts}
    now = {name: getattr(question, name) for name in _IDENTITY}
    return [entry for entry in told.values() if not _is(entry, now)]


def _is(entry: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Trials of which no question is known may be those of any question of their draw."""
    return _draw(entry) == _draw(now) and (entry["margin"] is None or _identity(entry) == _identity(now))


def _identity(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(entry[name] for name in _IDENTITY)


def _draw(entry: Mapping[str, Any]) -> tuple[int, float]:
    """Seed and displacement, as the ids of its starts tell them."""
    return entry["seed"], float(f"{entry['jitter_cm']:g}")


def _of_the_last(folder: Path, digests: Mapping[str, str]) -> list[dict[str, Any]]:
    """The last gate that ended and those before it, as the ``gate.json`` that is about to be replaced tells them."""
    try:
        old = json.loads((folder / GATE).read_text())
        if old["digests"] != digests:
            return []
        last = {name: old[name] for name in (*_IDENTITY, "verdict", "finished")}
        return [*old["earlier"], {**last, "starts": old["counts"]["starts"]}]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _asked(folder: Path) -> list[dict[str, Any]]:
    path = folder / TRIALS / ASKED
    try:
        asked: list[dict[str, Any]] = json.loads(path.read_text())
        return [{name: entry[name] for name in (*_IDENTITY, "digests")} for entry in asked]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError):
        raise RunError(f"{path}, which lists what was asked before, is damaged: remove it") from None


def _tried(folder: Path, digests: Mapping[str, str]) -> dict[tuple[int, float], int]:
    """Seed and displacement → how many of the starts drawn with them either policy was tried on, by any version."""
    tried: dict[tuple[int, float], set[str]] = {}
    for path in sorted((folder / TRIALS).glob("trials-*.jsonl")):
        try:
            lines = [json.loads(line) for line in path.read_text().splitlines(True) if line.endswith("\n")]
            ours = lines[:1] and lines[0]["identity"]["digests"] == digests
            starts = [Start.parse(trial["start_id"]) for trial in lines[1:] if ours]
        except (ValueError, KeyError, TypeError, World2ActError):
            raise RunError(f"{path}, which holds the trials of a gate, is damaged: move it away") from None
        for start in starts:
            tried.setdefault((start.seed // SEEDS_APART - 1, start.jitter_cm), set()).add(start.id)
    return {draw: len(ids) for draw, ids in tried.items()}
