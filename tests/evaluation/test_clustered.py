"""Exact sign-flip tests by cluster: against enumeration, scipy and cases computed by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from world2act_core.evaluation import exact_paired_p
from world2act_core.evaluation.clustered import RESOLUTION, sign_flip_interval, sign_flip_p

DIFFERENCES = st.lists(st.integers(-4, 4), min_size=1, max_size=9)


def enumerated_p(differences: list[int], shift: float = 0.0, *, two_sided: bool = True) -> float:
    values = np.array(differences) - shift
    sums = np.array(list(product((1, -1), repeat=len(values)))) @ values
    return float(np.mean(abs(sums) >= abs(values.sum()) - 1e-9 if two_sided else sums >= values.sum() - 1e-9))


@given(DIFFERENCES)
def test_it_is_the_share_of_all_sign_patterns(differences):
    assert sign_flip_p(differences) == pytest.approx(enumerated_p(differences), abs=1e-12)


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


@given(DIFFERENCES)
def test_an_interval_holds_just_the_shifts_that_neither_one_sided_test_rejects(differences):
    sizes = [4] * len(differences)
    low, high = sign_flip_interval(differences, sizes, 0.9)
    assert low <= sum(differences) / sum(sizes) <= high
    for end, inward, signed in ((low, 1, differences), (-high, 1, [-d for d in differences])):
        inside = end + inward / RESOLUTION
        assert enumerated_p(signed, 4 * inside, two_sided=False) > 0.05
        if end > -1:
            assert enumerated_p(signed, 4 * end, two_sided=False) <= 0.05


@given(DIFFERENCES)
def test_turning_the_comparison_round_turns_the_interval_round(differences):
    sizes = [4] * len(differences)
    low, high = sign_flip_interval(differences, sizes)
    assert sign_flip_interval([-d for d in differences], sizes) == pytest.approx((-high, -low))


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """Thirty starts of different difficulty, three seeds, a base that is the same for every seed."""
    rng, held, trials = np.random.default_rng(0), 0, 100
    for _ in range(trials):
        hard = rng.normal(size=30)
        base, method = (1 / (1 + np.exp(hard - bias)) for bias in (-0.8, 0.8))
        outcomes = rng.random(30) < base
        differences = (rng.random((3, 30)) < method).sum(0) - 3 * outcomes
        low, high = sign_flip_interval(differences.tolist(), [3] * 30)
        held += low <= (method - base).mean() <= high
    assert 0.89 <= held / trials <= 1.0


@pytest.mark.parametrize(("differences", "sizes"), [([1], []), ([], []), ([1, 0], [1, 0])])
def test_what_is_no_result_is_refused(differences, sizes):
    with pytest.raises(ValueError, match="are not a result"):
        sign_flip_interval(differences, sizes)
