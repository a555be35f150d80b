"""Whether cosine ranks policies: rank correlations within cells and over training, and what is said of them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from world2act_core.evaluation import Trial
from world2act_core.recipes.study.cosine import read_cosine, spearman
from world2act_core.recipes.study.plan import Cell
from world2act_core.recipes.study.records import CellRecord, MethodRecord

VALUES = st.integers(0, 5).map(float)


@given(st.lists(st.tuples(VALUES, VALUES), min_size=3, max_size=12))
def test_scipy_finds_the_same_ties_included(points):
    stats = pytest.importorskip("scipy.stats", reason="SciPy comes with LIBERO: make setup")
    x, y = zip(*points, strict=True)
    ours = spearman(x, y)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert math.isnan(ours)
    else:
        assert ours == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


def method(cosine: object, successes: int, checkpoints: object = None) -> MethodRecord:
    trials = tuple(Trial(f"s{i}", "m", i < successes, 10, 1.0) for i in range(10))
    return MethodRecord({"held_out": trials}, 1.0, {"cosine": cosine, "checkpoints": checkpoints}, False, "d", "c")


def cell_of(seed: int, **methods: MethodRecord) -> tuple[Cell, CellRecord]:
    cell = Cell("libero_goal", 8, seed)
    return cell, CellRecord("study", cell, "p", "s", True, methods, {}, {})


def test_methods_are_ranked_within_a_cell_because_other_cells_have_other_adapters():
    """Within each cell the higher cosine wins, although over both cells together it loses."""
    records = dict(
        [
            cell_of(0, a=method(0.1, 5), b=method(0.2, 6), c=method(0.3, 7)),
            cell_of(1, a=method(0.7, 1), b=method(0.8, 2), c=method(0.9, 3)),
        ]
    )
    reading = read_cosine(records, 0.7)
    assert [round(rho, 12) for rho in reading.methods.values()] == [1.0, 1.0] and reading.ranks
    assert reading.sentence == (
        "Cosine ranks policies by success: rank correlation +1.00 over methods (mean of 2 cells); "
        "0.7 was set beforehand as enough."
    )


def test_methods_that_learned_with_another_adapter_are_not_ranked_among_the_rest():
    other = method(0.9, 0)
    other = replace(other, figures={**other.figures, "stage1_r2": 0.5})
    records = dict([cell_of(0, a=method(0.1, 5), b=method(0.2, 6), c=method(0.3, 7), other=other)])
    assert [round(rho, 12) for rho in read_cosine(records, 0.7).methods.values()] == [1.0]


def test_a_cosine_that_rises_while_success_falls_over_training_does_not_rank():
    path = [{"step": n, "cosine": n / 10, "success": 0.5 - n / 10} for n in range(4)]
    records = dict([cell_of(0, a=method(0.1, 1), b=method(0.2, 5), c=method(0.3, 9, path))])
    reading = read_cosine(records, 0.7)
    assert reading.ranks is False
    assert "does not rank" in reading.sentence
    assert "+1.00 over methods (mean of 1 cells), -1.00 over training (mean of 1 runs)" in reading.sentence
    ((cosine, success),) = reading.curves.values()
    assert cosine == [0.0, 0.1, 0.2, 0.3] and success == pytest.approx([0.5, 0.4, 0.3, 0.2])


def test_methods_without_a_cosine_and_checkpoints_without_success_are_left_out():
    path = [{"step": 0, "cosine": 0.1}, {"step": 1, "cosine": None, "success": 0.3}, {"step": 2, "success": 0.4}]
    records = dict([cell_of(0, a=method(None, 1), b=method(0.2, 5), c=method(True, 9, path))])
    reading = read_cosine(records, 0.7)
    assert (reading.methods, reading.training, reading.curves, reading.ranks) == ({}, {}, {}, None)
    assert "cannot be said" in reading.sentence


def test_policies_that_all_succeed_alike_rank_nothing():
    records = dict([cell_of(0, a=method(0.1, 5), b=method(0.2, 5), c=method(0.3, 5))])
    assert read_cosine(records, 0.7).ranks is None
