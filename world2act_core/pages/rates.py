"""A rate with its Wilson interval, and how both are said: the same in the console, on pages and in pictures."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

MINUS = "−"

CONFIDENCE = 0.95
"""Confidence level of every interval in a report, unless it says otherwise."""


class Interval(NamedTuple):
    """A confidence interval, ``low <= high``, on the scale of a rate (0.1 is ten percentage points)."""

    low: float
    high: float


def wilson_interval(successes: float, n: float, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's score interval of a success rate.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927) 209-212.

    Args:
        successes: number of successes, ``0 <= successes <= n``.
        n: number of trials, above 0; both may be effective numbers, which are not whole.
        confidence: coverage aimed at, in (0, 1).

    Raises:
        ValueError: the counts or the confidence are impossible.
    """
    if n <= 0 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} trials is not a result: expected 0 <= successes <= n, n > 0")
    z = _normal_quantile(confidence)
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # Exact at the ends: rounding must not turn 0 of n into a lower limit of 1e-17.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Interval(low, high)


def percent(rate: float) -> str:
    """``0.8`` → ``80.0 %``."""
    return f"{100 * rate:.1f} %"


def percent_interval(interval: Interval) -> str:
    """``65.2 to 89.5 %``."""
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f} %"


def interval_name(confidence: float = CONFIDENCE) -> str:
    """``95 % interval``."""
    return f"{100 * confidence:g} % interval"


def _normal_quantile(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is not between 0 and 1")
    return NormalDist().inv_cdf(0.5 + confidence / 2)
