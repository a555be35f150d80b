"""Tests and intervals by cluster: against enumeration, scipy, simulation and cases computed by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from world2act_core.evaluation import exact_paired_p, paired_difference_interval
from world2act_core.evaluation.clustered import (
    PairedCounts,
    clustered_difference_interval,
    design_effect,
    sign_flip_p,
)

DIFFERENCES = st.lists(st.integers(-4, 4), min_size=1, max_size=9)


@given(DIFFERENCES)
def test_it_is_the_share_of_all_sign_patterns(differences):
    sums = np.array(list(product((1, -1), repeat=len(differences)))) @ differences
    assert sign_flip_p(differences) == pytest.approx(np.mean(abs(sums) >= abs(sum(differences))), abs=1e-12)


@settings(max_examples=15)
@given(st.lists(st.integers(-4, 4), min_size=2, max_size=8))
def test_scipy_finds_the_same(differences):
    stats = pytest.importorskip("scipy.stats", reason="SciPy comes with LIBERO: make setup")
    found = stats.permutation_test((np.array(differences),), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_p(differences) == pytest.approx(found.pvalue, abs=1e-12)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 5))
def test_clusters_of_one_pair_give_mcnemars_exact_test(gained, lost, alike):
    differences = [1] * gained + [-1] * lost + [0] * alike
    assert sign_flip_p(differences) == pytest.approx(exact_paired_p(lost, gained), rel=1e-9)


def test_three_seeds_that_only_repeat_each_other_weigh_as_one():
    """Six starts won with each of three seeds: 2 / 2^6, where McNemar over the 18 pairs says 2 / 2^18."""
    assert sign_flip_p([3] * 6) == pytest.approx(2 / 2**6)
    assert exact_paired_p(0, 18) == pytest.approx(2 / 2**18)


def test_many_clusters_neither_overflow_nor_vanish():
    assert sign_flip_p([3] * 150) == pytest.approx(2 / 2**150, rel=1e-9)
    assert sign_flip_p([0] * 150) == 1.0


COUNTS = st.lists(st.builds(PairedCounts, *[st.integers(0, 3)] * 4).filter(sum), min_size=1, max_size=8)


@given(COUNTS)
def test_an_interval_encloses_the_difference_and_turns_round_with_the_comparison(clusters):
    low, high = clustered_difference_interval(clusters)
    assert -1 <= low <= sum(c.difference for c in clusters) / sum(map(sum, clusters)) <= high <= 1
    turned = [PairedCounts(c.both, c.only_post, c.only_base, c.neither) for c in clusters]
    assert clustered_difference_interval(turned) == pytest.approx((-high, -low), abs=1e-12)


@given(COUNTS)
def test_clusters_never_make_an_interval_narrower_than_independent_pairs_would(clusters):
    low, high = clustered_difference_interval(clusters)
    alone_low, alone_high = paired_difference_interval(*map(sum, zip(*clusters, strict=True)))
    assert low <= alone_low + 1e-9 and high >= alone_high - 1e-9


def test_seeds_that_only_repeat_each_other_give_the_interval_of_one_seed():
    once = [PairedCounts(1, 0, 0, 0)] * 9 + [PairedCounts(0, 0, 1, 0)] * 8 + [PairedCounts(0, 1, 0, 0)] * 3
    thrice = [PairedCounts(*(3 * count for count in cluster)) for cluster in once]
    assert design_effect(thrice) == 3.0
    assert clustered_difference_interval(thrice) == pytest.approx(paired_difference_interval(9, 3, 8, 0))


def test_the_design_effect_of_a_case_computed_by_hand():
    """Differences 2, 1, 0, -1 of clusters of 2, mean 2/8: between (1.5² + 0.5² + 0.5² + 1.5²) 4/3 = 20/3 over
    independent 4 - 8/16 = 3.5."""
    clusters = [PairedCounts(0, 0, 2, 0), PairedCounts(1, 0, 1, 0), PairedCounts(1, 0, 0, 1), PairedCounts(1, 1, 0, 0)]
    assert design_effect(clusters) == pytest.approx(20 / 3 / 3.5)


def test_policies_that_never_differ_leave_the_width_that_the_starts_allow():
    """Nobody differed on 30 starts, whatever the seeds: that cannot show a difference of less than some points."""
    low, high = clustered_difference_interval([PairedCounts(3, 0, 0, 0)] * 30)
    assert (low, high) == pytest.approx(paired_difference_interval(30, 0, 0, 0))
    assert low < -0.1


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """Thirty starts of different difficulty, three seeds, a base that is the same for every seed."""
    rng, held, trials = np.random.default_rng(0), 0, 200

    def solved(bias: float, hard: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(hard - bias))

    many = rng.normal(size=100_000)
    truth = solved(0.8, many).mean() - solved(-0.8, many).mean()
    for _ in range(trials):
        hard = rng.normal(size=30)
        base, post = rng.random(30) < solved(-0.8, hard), rng.random((3, 30)) < solved(0.8, hard)
        cells = [(post & base), (~post & base), (post & ~base), (~post & ~base)]
        clusters = [PairedCounts(*map(int, column)) for column in np.array([cell.sum(0) for cell in cells]).T]
        low, high = clustered_difference_interval(clusters)
        held += low <= truth <= high
    assert 0.91 <= held / trials <= 0.99
