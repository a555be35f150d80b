"""Success rates with honest uncertainty, for two policies tried on the same starts.

Successes are Bernoulli outcomes and the trials are paired, so everything here is made for that: a Wilson interval
for each rate, an exact test that looks only at the starts on which the policies differ, and a score interval for
the difference that knows the pairing. Nothing rests on the normal approximation of a rate, which fails for the
sample sizes (20 to 100) and rates (near 0 or 1) of robot evaluations.
"""

from __future__ import annotations

import math
from typing import Literal

from world2act_core.pages.rates import CONFIDENCE, Interval, wilson_interval

Verdict = Literal["better", "worse", "no difference"]

ALPHA = 0.05
"""Two-sided level at which a difference is called one."""


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
    both: float, only_base: float, only_post: float, neither: float, confidence: float = CONFIDENCE
) -> Interval:
    """Score interval of ``rate(post-trained) - rate(base)`` on the same starts.

    Method 10 of R. G. Newcombe, "Improved confidence intervals for the difference between binomial proportions
    based on paired data", Statistics in Medicine 17 (1998) 2635-2650: the two Wilson intervals, joined by squaring
    and adding with the correlation of the outcomes, whose estimate is continuity-corrected towards 0 if positive.

    It is a companion of ``exact_paired_p``, not its inverse: near the border one may exclude 0 and the other not.
    The verdict always comes from the exact test.

    Args:
        both, only_base, only_post, neither: the four cells of the paired 2x2 table, at least one trial in all; not
            whole where a design effect was taken out (``clustered``).
        confidence: coverage aimed at, in (0, 1).
    """
    cells = (both, only_base, only_post, neither)
    n = sum(cells)
    if min(cells) < 0 or n <= 0:
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


def _corrected_correlation(both: float, only_base: float, only_post: float, neither: float) -> float:
    """Newcombe's estimate of the correlation between the outcomes; 0 where a margin is empty."""
    margins = (both + only_base) * (both + only_post) * (neither + only_base) * (neither + only_post)
    if margins == 0:
        return 0.0
    covariance = both * neither - only_base * only_post
    if covariance > 0:
        covariance = max(0.0, covariance - (both + only_base + only_post + neither) / 2)
    return covariance / math.sqrt(margins)
