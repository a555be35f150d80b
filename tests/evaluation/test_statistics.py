"""The statistics against published tables, brute force and the edges where formulas usually break."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from world2act_core.evaluation.statistics import (
    exact_paired_p,
    paired_difference_interval,
    verdict,
    wilson_interval,
)

# Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3 (score, no continuity correction).
NEWCOMBE_SINGLE = [
    (81, 263, 0.2553, 0.3662),
    (15, 148, 0.0624, 0.1605),
    (0, 20, 0.0000, 0.1611),
    (1, 29, 0.0061, 0.1718),
]

# Newcombe, Statistics in Medicine 17 (1998) 2635-2650, table III, method 10. Cells: both, first only, second only,
# neither; the published difference is first - second.
NEWCOMBE_PAIRED = [
    ((36, 12, 2, 0), 0.0569, 0.3404),
    ((20, 12, 2, 16), 0.0562, 0.3292),
    ((18, 12, 2, 18), 0.0562, 0.3290),
    ((36, 14, 0, 0), 0.1528, 0.4167),
    ((35, 14, 0, 1), 0.1461, 0.4175),
    ((18, 14, 0, 18), 0.1441, 0.3963),
    ((2, 97, 1, 0), 0.8721, 0.9854),
    ((0, 29, 1, 0), 0.6666, 0.9882),
    ((0, 30, 0, 0), 0.8395, 1.0),
    ((54, 0, 0, 0), -0.0664, 0.0664),
]

cells = st.integers(min_value=0, max_value=60)


@pytest.mark.parametrize(("successes", "n", "low", "high"), NEWCOMBE_SINGLE)
def test_wilson_reproduces_the_published_table(successes: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("n", [1, 7, 40])
def test_wilson_ends_are_exact(n: int) -> None:
    assert wilson_interval(0, n).low == 0.0
    assert wilson_interval(n, n).high == 1.0
    assert wilson_interval(0, n).high == pytest.approx(1 - wilson_interval(n, n).low)


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_wilson_limits_solve_the_score_equation(counts: tuple[int, int], confidence: float) -> None:
    """At a limit p the observed rate lies exactly z standard errors (computed at p) away."""
    successes, n = counts
    z = norm.ppf(0.5 + confidence / 2)
    for limit in wilson_interval(successes, n, confidence):
        distance = abs(successes / n - limit)
        assert distance == pytest.approx(z * math.sqrt(limit * (1 - limit) / n), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize(("successes", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_wilson_refuses_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="is not a result"):
        wilson_interval(successes, n)


def test_wilson_refuses_impossible_confidence() -> None:
    with pytest.raises(ValueError, match="not between 0 and 1"):
        wilson_interval(3, 5, confidence=95)


@pytest.mark.parametrize("discordant", range(1, 11))
def test_exact_test_equals_the_enumeration_of_all_coin_flips(discordant: int) -> None:
    flips = [sum(signs) for signs in itertools.product((0, 1), repeat=discordant)]
    for only_post in range(discordant + 1):
        observed = abs(only_post - discordant / 2)
        as_extreme = sum(abs(wins - discordant / 2) >= observed for wins in flips) / len(flips)
        assert exact_paired_p(discordant - only_post, only_post) == pytest.approx(as_extreme)


def test_exact_test_of_a_published_example() -> None:
    """Airway hyper-responsiveness of Bentur et al. (2009), 1 against 7: exact conditional p = 0.0703 (Fagerland
    et al., BMC Medical Research Methodology 13:91, 2013)."""
    assert exact_paired_p(1, 7) == pytest.approx(0.0703, abs=5e-5)


def test_no_discordant_pairs_is_no_evidence() -> None:
    assert exact_paired_p(0, 0) == 1.0
    assert verdict(0, 0) == "no difference"


@given(cells, cells)
def test_exact_test_is_symmetric_and_agrees_with_scipy(one: int, other: int) -> None:
    assert exact_paired_p(one, other) == exact_paired_p(other, one)
    if one + other:
        assert exact_paired_p(one, other) == pytest.approx(binomtest(one, one + other).pvalue)


@pytest.mark.parametrize(("table", "low", "high"), NEWCOMBE_PAIRED)
def test_paired_interval_reproduces_the_published_table(
    table: tuple[int, int, int, int], low: float, high: float
) -> None:
    both, first, second, neither = table
    interval = paired_difference_interval(both, only_base=second, only_post=first, neither=neither)
    assert interval == pytest.approx((low, high), abs=6e-5)


@given(cells, cells, cells, cells)
def test_paired_interval_holds_the_difference_and_mirrors(both: int, base: int, post: int, neither: int) -> None:
    n = both + base + post + neither
    if n == 0:
        return
    low, high = paired_difference_interval(both, base, post, neither)
    assert -1 <= low <= (post - base) / n + 1e-12
    assert (post - base) / n - 1e-12 <= high <= 1
    mirrored = paired_difference_interval(both, post, base, neither)
    assert (-mirrored.high, -mirrored.low) == pytest.approx((low, high))


def test_paired_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Exact coverage by summing over every table of 12 starts, for one truth with correlated outcomes."""
    n, truth = 12, (0.35, 0.05, 0.35, 0.25)  # both, only base, only post, neither
    covered = 0.0
    for table in itertools.product(range(n + 1), repeat=4):
        if sum(table) != n:
            continue
        low, high = paired_difference_interval(*table)
        if low <= truth[2] - truth[1] <= high:
            ways = math.factorial(n) / math.prod(math.factorial(count) for count in table)
            covered += ways * math.prod(p**count for p, count in zip(truth, table, strict=True))
    assert 0.93 < covered < 0.985


def test_paired_interval_refuses_an_empty_table() -> None:
    with pytest.raises(ValueError, match="at least one trial"):
        paired_difference_interval(0, 0, 0, 0)


@pytest.mark.parametrize(
    ("only_base", "only_post", "expected"),
    [(0, 5, "no difference"), (0, 6, "better"), (6, 0, "worse"), (1, 7, "no difference"), (1, 8, "better")],
)
def test_verdict_follows_the_exact_test(only_base: int, only_post: int, expected: str) -> None:
    assert verdict(only_base, only_post) == expected
