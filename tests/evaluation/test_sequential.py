"""The paired test that may stop at any start: its wealth by hand, its errors by simulation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from world2act_core.evaluation import sequential
from world2act_core.evaluation.sequential import (
    SequentialPairedTest,
    confidence_sequence,
    log_wealth,
    log_wealth_below,
    sequential_test,
)
from world2act_core.evaluation.statistics import exact_paired_p

GAINED, LOST, BOTH, NEITHER = (False, True), (True, False), (True, True), (False, False)
ALPHA = 0.05

Pair = tuple[bool, bool]
counts = st.tuples(*[st.integers(0, 40)] * 3)
means = st.floats(-0.99, 0.99)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulations ask for the same counts many times."""
    remembered = lru_cache(None)(log_wealth)

    def of_counts(gained: int, alike: int, lost: int, mean: float) -> float:
        return remembered(gained, alike if mean else 0, lost, mean)  # see the test of 30 starts that end alike

    monkeypatch.setattr(sequential, "log_wealth", of_counts)


@pytest.mark.parametrize(
    ("gained", "alike", "lost", "mean", "wealth"),
    [
        # With Beta(3, 2) weights the mean of u is 3/5 and that of u^2 is 2/5.
        (0, 0, 0, 0.0, 1.0),
        (1, 0, 0, 0.0, 1.6),  # 1 + u
        (2, 0, 0, 0.0, 2.6),  # 1 + 2 u + u^2
        (0, 0, 1, 0.0, 0.4),  # 1 - u
        (1, 0, 1, 0.0, 0.6),  # 1 - u^2
        (0, 30, 0, 0.0, 1.0),  # a start on which both end alike says nothing of which is better
        (0, 1, 0, -0.5, 1.6),  # but it speaks against a loss of 50 points: 1 - u + 2 u
        (1, 0, 0, -0.5, 2.8),  # 1 - u + 4 u
        (2, 0, 0, -0.5, 8.2),  # 1 + 6 u + 9 u^2
        (0, 0, 1, -0.5, 0.4),
    ],
)
def test_wealth_of_short_sequences_by_hand(gained: int, alike: int, lost: int, mean: float, wealth: float) -> None:
    assert math.exp(log_wealth(gained, alike, lost, mean)) == pytest.approx(wealth, rel=1e-12)
    assert log_wealth_below(lost, alike, gained, -mean) == pytest.approx(math.log(wealth), abs=1e-12)


def test_wealth_is_the_integral_of_the_mixture_for_many_starts_too() -> None:
    """Against a sum of Beta functions in whole numbers: (1 + u)^a (1 - u)^b 12 u^2 (1 - u) over [0, 1]."""
    a, b = 40, 12
    exact = sum(
        math.comb(a, k) * 12 * math.factorial(k + 2) * math.factorial(b + 1) / math.factorial(k + b + 4)
        for k in range(a + 1)
    )
    assert math.exp(log_wealth(a, 100, b, 0.0)) == pytest.approx(exact, rel=1e-10)


@given(counts, means)
def test_a_fair_bet_keeps_the_wealth_on_average(before: tuple[int, int, int], mean: float) -> None:
    """What makes it a test: one more start whose X has exactly the mean in question adds nothing on average."""
    a, z, b = before
    alike = (1 - abs(mean)) / 2
    gained = (1 - alike + mean) / 2
    chances = (gained, alike, 1 - alike - gained)
    after = [log_wealth(a + 1, z, b, mean), log_wealth(a, z + 1, b, mean), log_wealth(a, z, b + 1, mean)]
    growth = [math.exp(log - log_wealth(a, z, b, mean)) for log in after]
    average = sum(chance * factor for chance, factor in zip(chances, growth, strict=True))
    assert average == pytest.approx(1.0, rel=1e-9)


@given(counts, means, means)
def test_wealth_falls_as_the_mean_in_question_rises(c: tuple[int, int, int], one: float, other: float) -> None:
    assert log_wealth(*c, min(one, other)) >= log_wealth(*c, max(one, other)) - 1e-9


@given(st.permutations([GAINED] * 5 + [LOST] * 2 + [BOTH] * 3 + [NEITHER]))
def test_order_does_not_change_the_wealth_where_it_ends(pairs: list[Pair]) -> None:
    test = sequential_test(pairs, max_starts=40)
    assert test.decision is None
    assert math.log(test.wealth[-1]) == pytest.approx(log_wealth(5, 4, 2, 0.0))


def test_order_decides_when_it_stops() -> None:
    """Six gains in a row are enough, whatever would have come after them."""
    early = sequential_test([GAINED] * 6 + [LOST] * 6, max_starts=40)
    late = sequential_test([LOST] * 3 + [GAINED] * 6, max_starts=40)
    assert (early.decision, early.starts, early.lost) == ("shown", 6, 0)
    assert (late.decision, late.starts) == (None, 9)


def test_it_stops_early_when_the_policy_is_worse() -> None:
    test = sequential_test([BOTH] + [LOST] * 20, max_starts=40)
    assert (test.decision, test.starts) == ("worse", 7)
    assert test.wealth_worse[-1] >= 20 > test.wealth_worse[-2]


def test_it_gives_up_exactly_when_gains_alone_could_not_show_it_any_more() -> None:
    test = sequential_test([NEITHER] * 40, max_starts=40)
    assert (test.decision, test.starts) == ("not shown", 35)
    saved = sequential_test([NEITHER] * 34 + [GAINED] * 6, max_starts=40)
    assert (saved.decision, saved.starts) == ("shown", 40)


def test_it_ends_at_the_last_start() -> None:
    pairs = [GAINED, LOST] * 17 + [GAINED] * 6
    test = sequential_test(pairs, max_starts=40)
    assert test.decision == "not shown"


def test_a_decided_test_takes_no_further_start() -> None:
    test = sequential_test([GAINED] * 6, max_starts=40)
    with pytest.raises(ValueError, match="was decided"):
        test.add(*GAINED)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"max_starts": 5}, "5 starts cannot show it at alpha 0.05"),
        ({"max_starts": 60, "margin": 1.0}, "expected 0 <= margin < 1"),
        ({"max_starts": 60, "margin": -0.1}, "expected 0 <= margin < 1"),
        ({"max_starts": 60, "alpha": 0.0}, "0 < alpha < 0.5"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        SequentialPairedTest(**settings)  # type: ignore[arg-type]


def test_equal_outcomes_show_that_it_is_not_worse_but_never_that_it_is_better() -> None:
    pairs = [BOTH, NEITHER] * 100
    assert sequential_test(pairs, max_starts=200).decision == "not shown"
    harmless = sequential_test(pairs, max_starts=200, margin=0.05)
    assert (harmless.decision, harmless.starts) == ("shown", 86)


def iid(gained: float, lost: float) -> Callable[[np.random.Generator], Iterator[Pair]]:
    def draw(rng: np.random.Generator) -> Iterator[Pair]:
        while True:
            u = rng.random()
            yield GAINED if u < gained else LOST if u < gained + lost else BOTH

    return draw


def gambler(rng: np.random.Generator) -> Iterator[Pair]:
    """No difference on any start, but how often the policies differ depends on who is ahead."""
    ahead = 0
    while True:
        differs = rng.random() < (0.05 if ahead > 2 else 0.9)
        pair = BOTH if not differs else GAINED if rng.random() < 0.5 else LOST
        ahead += pair[1] - pair[0]
        yield pair


def rate(draw: Callable[[np.random.Generator], Iterator[Pair]], says: str, runs: int, **settings: float) -> float:
    """Share of simulated gates that end with a decision."""
    decisions = [
        sequential_test(draw(np.random.default_rng((7, run))), **settings).decision  # type: ignore[arg-type]
        for run in range(runs)
    ]
    return decisions.count(says) / runs  # type: ignore[arg-type]


@pytest.mark.parametrize("draw", [iid(0.1, 0.1), iid(0.3, 0.3), iid(0.5, 0.5), iid(0.2, 0.3), gambler])
def test_false_alarms_stay_below_alpha_however_often_one_looks(
    draw: Callable[[np.random.Generator], Iterator[Pair]], quick: None
) -> None:
    assert rate(draw, "shown", 1000, max_starts=60, alpha=ALPHA) <= ALPHA


def test_false_alarms_of_not_worse_stay_below_alpha(quick: None) -> None:
    """At the border: worse by exactly the margin."""
    assert rate(iid(0.1, 0.3), "shown", 500, max_starts=60, margin=0.2, alpha=ALPHA) <= ALPHA
    assert rate(iid(0.0, 0.2), "shown", 500, max_starts=60, margin=0.2, alpha=ALPHA) <= ALPHA


def test_worse_is_rarely_said_of_a_policy_that_is_not(quick: None) -> None:
    assert rate(iid(0.3, 0.3), "worse", 1000, max_starts=60, alpha=ALPHA) <= ALPHA


def test_a_test_for_a_fixed_number_of_starts_would_break_under_the_same_looking() -> None:
    """So the checks above can fail: McNemar's exact test at the same level, looked at after every start."""
    alarms = 0
    for run in range(1000):
        draw, gained, lost = iid(0.3, 0.3)(np.random.default_rng((7, run))), 0, 0
        for _ in range(60):
            base, post = next(draw)
            gained, lost = gained + (post > base), lost + (base > post)
            if gained > lost and exact_paired_p(lost, gained) <= 2 * ALPHA:  # its one-sided p-value is half of that
                alarms += 1
                break
    assert alarms / 1000 > 2 * ALPHA


@pytest.mark.parametrize(
    ("gained", "lost", "power"), [(0.25, 0.0, 0.99), (0.30, 0.05, 0.85), (0.35, 0.10, 0.70), (0.65, 0.0, 0.999)]
)
def test_a_gain_of_25_points_is_shown_within_60_starts(gained: float, lost: float, power: float, quick: None) -> None:
    assert rate(iid(gained, lost), "shown", 500, max_starts=60) >= power


def test_the_confidence_sequence_covers_at_all_starts_at_once(quick: None) -> None:
    """By the wealth at the true mean, which is what decides whether the interval holds it (see the last test)."""
    missed = 0
    for run in range(1000):
        draw, gained, lost = iid(0.3, 0.1)(np.random.default_rng((8, run))), 0, 0
        for number in range(1, 61):
            base, post = next(draw)
            gained, lost = gained + (post > base), lost + (base > post)
            c = (gained, number - gained - lost, lost)
            if max(sequential.log_wealth(*c, 0.2), log_wealth_below(*c, 0.2)) >= math.log(2 / 0.1):
                missed += 1
                break
    assert 0 < missed / 1000 <= 0.1


@given(counts)
def test_the_confidence_sequence_holds_what_was_observed_and_mirrors(c: tuple[int, int, int]) -> None:
    a, z, b = c
    low, high = confidence_sequence(a, z, b, 0.9)
    assert -1 <= low < high <= 1
    if n := a + z + b:
        assert low < (a - b) / n + 1e-6 and high > (a - b) / n - 1e-6
    assert confidence_sequence(b, z, a, 0.9) == pytest.approx((-high, -low), abs=1e-6)


@given(counts, means)
def test_interval_and_decision_never_disagree(c: tuple[int, int, int], mean: float) -> None:
    low, high = confidence_sequence(*c, 1 - 2 * ALPHA)
    enough = math.log(1 / ALPHA)
    if abs(low - mean) > 1e-6:
        assert (low > mean) == (log_wealth(*c, mean) >= enough)
    if abs(high - mean) > 1e-6:
        assert (high < mean) == (log_wealth_below(*c, mean) >= enough)
