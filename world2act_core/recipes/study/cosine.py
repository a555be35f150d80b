"""Does the cosine between video and action latents rank policies by success? Asked within cells and over training.

Cosines of different adapters are not comparable, so ranks are correlated over the methods of a cell that learned with
the same adapter, or within a training run (over its checkpoints), and the correlations are averaged. Each method's is
of its own last batch of training, so methods also differ in what it was taken over.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from world2act_core.recipes.study.plan import HELD_OUT, Cell
from world2act_core.recipes.study.records import CellRecord, MethodRecord
from world2act_core.types import Array

FEWEST = 3
"""Points from which ranks are correlated."""


@dataclass(frozen=True)
class CosineReading:
    """Rank correlations (Spearman) of cosine and success.

    Attributes:
        methods: cell → correlation of last cosine and held-out success rate over its methods, those of the adapter that
            most of them learned with.
        training: (cell, method) → correlation over the checkpoints of that training.
        curves: (cell, method) → (cosine, success rate) of those checkpoints, in the order of training.
        enough: mean correlation from which cosine is called usable.
    """

    methods: Mapping[Cell, float]
    training: Mapping[tuple[Cell, str], float]
    curves: Mapping[tuple[Cell, str], tuple[list[float], list[float]]]
    enough: float

    @property
    def ranks(self) -> bool | None:
        """Whether both mean correlations are high enough; None while there is nothing to judge by."""
        means = [_mean(values) for values in (self.methods, self.training) if values]
        return all(mean >= self.enough for mean in means) if means else None

    @property
    def sentence(self) -> str:
        if self.ranks is None:
            return "Whether cosine ranks policies cannot be said: too few methods and checkpoints report one."
        parts = [
            f"{_mean(values):+.2f} over {over} (mean of {len(values)} {units})"
            for values, over, units in (
                (self.methods, "methods", "cells"),
                (self.training, "training", "runs"),
            )
            if values
        ]
        verb = "ranks" if self.ranks else "does not rank"
        return (
            f"Cosine {verb} policies by success: rank correlation {', '.join(parts)}; "
            f"{self.enough:g} was set beforehand as enough."
        )


def read_cosine(records: Mapping[Cell, CellRecord], enough: float) -> CosineReading:
    """What the records say of cosine and success."""
    methods: dict[Cell, float] = {}
    training: dict[tuple[Cell, str], float] = {}
    curves: dict[tuple[Cell, str], tuple[list[float], list[float]]] = {}
    for cell, record in records.items():
        _keep(methods, cell, _of_one_adapter(record))
        for name, method in record.methods.items():
            checkpoints = _checkpoints(method.figures)
            if checkpoints:
                curves[cell, name] = [c for c, _ in checkpoints], [s for _, s in checkpoints]
            _keep(training, (cell, name), checkpoints)
    return CosineReading(methods, training, curves, enough)


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's rank correlation with mean ranks for ties; NaN if either side is constant.

    scipy.stats.spearmanr agrees (tested); scipy comes with the simulators only, and reading results needs none.
    """
    a, b = _ranks(x), _ranks(y)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])


def _ranks(values: Sequence[float]) -> Array:
    _, inverse, counts = np.unique(np.asarray(values, np.float64), return_inverse=True, return_counts=True)
    means: Array = np.cumsum(counts) - (counts - 1) / 2
    ranks: Array = means[inverse]
    return ranks


def _keep(into: dict[Any, float], key: Any, points: Sequence[tuple[float, float]]) -> None:
    if len(points) >= FEWEST and not math.isnan(rho := spearman(*zip(*points, strict=True))):
        into[key] = rho


def _of_one_adapter(record: CellRecord) -> list[tuple[float, float]]:
    """(last cosine, success rate) of the methods that share an adapter, which its figures tell apart from others."""
    groups: dict[str, list[tuple[float, float]]] = {}
    for method in record.methods.values():
        if (point := _final(method)) is not None:
            adapter = {name: value for name, value in method.figures.items() if name.startswith("stage1_")}
            groups.setdefault(json.dumps(adapter, sort_keys=True), []).append(point)
    return max(groups.values(), key=len, default=[])


def _final(method: MethodRecord) -> tuple[float, float] | None:
    cosine, trials = _number(method.figures.get("cosine")), method.trials.get(HELD_OUT, ())
    if cosine is None or not trials:
        return None
    return cosine, sum(trial.success for trial in trials) / len(trials)


def _checkpoints(figures: Mapping[str, Any]) -> list[tuple[float, float]]:
    entries = figures.get("checkpoints") or []
    pairs = [(_number(entry.get("cosine")), _number(entry.get("success"))) for entry in entries]
    return [(cosine, success) for cosine, success in pairs if cosine is not None and success is not None]


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _mean(values: Mapping[Any, float]) -> float:
    return sum(values.values()) / len(values)
