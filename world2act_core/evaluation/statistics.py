"""Success rates with honest uncertainty, for two policies tried on the same starts.

Successes are Bernoulli outcomes and the trials are paired, so everything here is made for that: a Wilson interval
for each rate, an exact test that looks only at the starts on which the policies differ, and a score interval for
the difference that knows the pairing. Nothing rests on the normal approximation of a rate, which fails for the
sample sizes (20 to 100) and rates (near 0 or 1) of robot evaluations.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Literal, NamedTuple

Verdict = Literal["better", "worse", "no difference"]

ALPHA = 0.05
"""Two-sided level at which a difference is called one."""

CONFIDENCE = 0.95
"""Confidence level of every interval in a report, unless it says otherwise."""


class Interval(NamedTuple):
    """A confidence interval, ``low <= high``, on the scale of a rate (0.1 is ten percentage points)."""

    low: float
    high: float


def wilson_interval(successes: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's score interval of a success rate.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927) 209-212.

    Args:
        successes: number of successes, ``0 <= successes <= n``.
        n: number of trials, at least 1.
        confidence: coverage aimed at, in (0, 1).

    Raises:
        ValueError: the counts or the confidence are impossible.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} trials is not a result: expected 0 <= successes <= n, n >= 1")
    z = _normal_quantile(confidence)
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # Exact at the ends: rounding must not turn 0 of n into a lower limit of 1e-17.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Interval(low, high)


def exact_paired_p(only_base: int, only_post: int) -> float:
    """Two-sided p-value of the exact McNemar test (sign test on the discordant pairs).

    Under "no difference" each start on which the policies disagree is a fair coin. Starts on which both succeed or
    both fail say nothing about which is better, so they do not enter. The test is exact (never too small a
    p-value), at the price of being conservative for few discordant starts: fewer than 6 can never reach 0.05.

    Args:
        only_base: starts that only the base policy solved.
        only_post: starts that only the post-trained policy solved.
    """
    if only_base < 0 or only_post < 0:
        raise ValueError(f"discordant counts cannot be negative: {only_base}, {only_post}")
    discordant = only_base + only_post
    # Whole numbers until the last division; scipy.stats.binomtest agrees (tested) but takes a second to import.
    tail = sum(math.comb(discordant, wins) for wins in range(min(only_base, only_post) + 1))
    return min(1.0, 2 * tail / 2**discordant)


def paired_difference_interval(
    both: int, only_base: int, only_post: int, neither: int, confidence: float = CONFIDENCE
) -> Interval:
    """Score interval of ``rate(post-trained) - rate(base)`` on the same starts.

    Method 10 of R. G. Newcombe, "Improved confidence intervals for the difference between binomial proportions
    based on paired data", Statistics in Medicine 17 (1998) 2635-2650: the two Wilson intervals, joined by squaring
    and adding with the correlation of the outcomes, whose estimate is continuity-corrected towards 0 if positive.

    It is a companion of ``exact_paired_p``, not its inverse: near the border one may exclude 0 and the other not.
    The verdict always comes from the exact test.

    Args:
        both, only_base, only_post, neither: the four cells of the paired 2x2 table, at least one trial in all.
        confidence: coverage aimed at, in (0, 1).
    """
    cells = (both, only_base, only_post, neither)
    n = sum(cells)
    if min(cells) < 0 or n < 1:
        raise ValueError(f"the paired table {cells} is not a result: expected counts >= 0 with at least one trial")
    post, base = both + only_post, both + only_base
    post_low, post_high = wilson_interval(post, n, confidence)
    base_low, base_high = wilson_interval(base, n, confidence)
    phi = _corrected_correlation(both, only_base, only_post, neither)
    down, up = post / n - post_low, base_high - base / n
    lower_arm = math.sqrt(max(0.0, down * down - 2 * phi * down * up + up * up))
    up, down = post_high - post / n, base / n - base_low
    upper_arm = math.sqrt(max(0.0, up * up - 2 * phi * up * down + down * down))
    difference = (only_post - only_base) / n
    return Interval(max(-1.0, difference - lower_arm), min(1.0, difference + upper_arm))


def verdict(only_base: int, only_post: int, alpha: float = ALPHA) -> Verdict:
    """Which policy is better, by the exact paired test at level ``alpha``; seen from the post-trained policy."""
    if exact_paired_p(only_base, only_post) > alpha:
        return "no difference"
    return "better" if only_post > only_base else "worse"


def _corrected_correlation(both: int, only_base: int, only_post: int, neither: int) -> float:
    """Newcombe's estimate of the correlation between the outcomes; 0 where a margin is empty."""
    margins = (both + only_base) * (both + only_post) * (neither + only_base) * (neither + only_post)
    if margins == 0:
        return 0.0
    covariance = float(both * neither - only_base * only_post)
    if covariance > 0:
        covariance = max(0.0, covariance - (both + only_base + only_post + neither) / 2)
    return covariance / math.sqrt(margins)


def _normal_quantile(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is not between 0 and 1")
    return NormalDist().inv_cdf(0.5 + confidence / 2)
