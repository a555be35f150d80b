"""A paired test that may stop at any start: is the post-trained policy better than its base, or not worse by a margin?

Every start gives X = post-trained success - base success, in {-1, 0, +1}. The test bets against "the mean of X is at
most m" (m = 0: not better; m = -margin: worse by the margin or more) and keeps score of its wealth, which begins at 1.
If the claim is true the wealth is a test martingale or falls on average, so by Ville's inequality it ever reaches
1 / alpha with probability alpha at most, however often one looks and whenever one stops. A test for a fixed number of
starts, looked at after every start, has no such guarantee.

The bets are those of I. Waudby-Smith and A. Ramdas, "Estimating means of bounded random variables by betting",
Journal of the Royal Statistical Society B 86 (2024) 1-27: a mixture of constant bets (their grid Kelly). With
Y = (1 + X) / 2 in [0, 1] and mu = (1 + m) / 2, the bet u in [0, 1] puts the share u of its wealth on Y: a start
multiplies it by (1 - u) + u Y / mu. The bets are weighted by the Beta(3, 2) density 12 u^2 (1 - u), fixed before any
data: most money on bets that pay within some dozen starts. Three things follow from a mixture. Wealth depends on how
many starts were gained, alike and lost, not on their order. It falls as m rises, so the means that are not refuted form
an interval. And the best that can still happen is that every start left is gained, so futility is exact.

What it assumes: given the starts before it, a start's X has a mean on one side of m. Starts drawn at random and
independently have that; starts that go through easy and hard scenes in a fixed order do not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import numpy as np

from world2act_core.pages.rates import Interval

Decision = Literal["shown", "worse", "not shown"]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)
_BETS = (_NODES + 1) / 2
_LOG_KEPT = np.log1p(-_BETS)
_LOG_WEIGHTS = np.log(6 * _WEIGHTS * _BETS**2 * (1 - _BETS))
"""Gauss-Legendre: the mixture's integral exactly up to 124 starts, and beyond that still a mixture, so a valid test."""


def log_wealth(gained: int, alike: int, lost: int, mean: float) -> float:
    """Natural logarithm of the wealth of betting against "the mean of X is at most ``mean``".

    Args:
        gained, alike, lost: starts with X = +1, 0, -1.
        mean: in (-1, 1).
    """
    if min(gained, alike, lost) < 0 or not -1 < mean < 1:
        raise ValueError(f"counts {gained}, {alike}, {lost} and mean {mean}: expected counts >= 0 and -1 < mean < 1")
    paid = 1 / (1 + mean)  # Y / mu = (1 + X) / (1 + m)
    logs = _LOG_WEIGHTS + lost * _LOG_KEPT
    logs += gained * np.log1p(_BETS * (2 * paid - 1)) + alike * np.log1p(_BETS * (paid - 1))
    highest = float(logs.max())
    return highest + math.log(float(np.exp(logs - highest).sum()))


def log_wealth_below(gained: int, alike: int, lost: int, mean: float) -> float:
    """The mirror image: betting against "the mean of X is at least ``mean``"."""
    return log_wealth(lost, alike, gained, -mean)


def confidence_sequence(gained: int, alike: int, lost: int, confidence: float) -> Interval:
    """The means of X that the bets do not refute; over all starts together it covers the true one with ``confidence``.

    The bets for the test, inverted in both directions with half of the error each. So the interval at ``1 - 2 alpha``
    excludes a mean from below exactly when the test at ``alpha`` refutes it.
    """
    enough = math.log(2 / (1 - confidence))

    def lowest(up: int, down: int) -> float:
        """The lowest mean that bets on gains leave standing; wealth falls as the mean rises."""
        low, high = -1.0 + 1e-9, 1.0 - 1e-9
        if log_wealth(up, alike, down, low) < enough:
            return -1.0
        while high - low > 1e-9:
            middle = (low + high) / 2
            low, high = (middle, high) if log_wealth(up, alike, down, middle) >= enough else (low, middle)
        return low

    return Interval(lowest(gained, lost), -lowest(lost, gained))


def decide(gained: int, alike: int, lost: int, max_starts: int, margin: float, alpha: float) -> Decision | None:
    """What the test says at these counts if it has said nothing before; see ``SequentialPairedTest``."""
    enough = math.log(1 / alpha)
    if log_wealth(gained, alike, lost, -margin) >= enough:
        return "shown"
    if log_wealth_below(gained, alike, lost, -margin) >= enough:
        return "worse"
    left = max_starts - gained - alike - lost
    return "not shown" if log_wealth(gained + left, alike, lost, -margin) < enough else None


class SequentialPairedTest:
    """The test while it runs: feed it the starts in order until ``decision`` is no longer None.

    Args:
        max_starts: the most starts there will be.
        margin: 0 asks whether the post-trained policy is better; otherwise whether it is not worse by this much or
            more, as a difference of success rates in (0, 1).
        alpha: the most that may be the probability of "shown" where it is false, and of "worse" where that is false.

    Attributes:
        decision: ``shown`` (better, or not worse by the margin), ``worse`` (than the base; by more than the margin),
            ``not shown`` (the starts left cannot show it any more, or there are none left), None while undecided.
        wealth, wealth_worse: of the bets for "shown" and for "worse", one value a start; 1 / alpha decides.

    Raises:
        ValueError: settings that mean nothing, or not even ``max_starts`` gains could show it.
    """

    def __init__(self, max_starts: int, margin: float = 0.0, alpha: float = 0.05) -> None:
        if not 0 <= margin < 1 or not 0 < alpha < 0.5:
            raise ValueError(f"margin {margin} and alpha {alpha}: expected 0 <= margin < 1 and 0 < alpha < 0.5")
        self.max_starts, self.margin, self.alpha = max_starts, margin, alpha
        self.gained = self.alike = self.lost = 0
        self.decision: Decision | None = None
        self.wealth: list[float] = []
        self.wealth_worse: list[float] = []
        if decide(0, 0, 0, max_starts, margin, alpha) == "not shown":
            raise ValueError(f"{max_starts} starts cannot show it at alpha {alpha}, not even if all of them are gained")

    @property
    def starts(self) -> int:
        """How many starts it has been fed."""
        return self.gained + self.alike + self.lost

    @property
    def confidence(self) -> float:
        """Of ``interval``: both directions together, so that interval and decision cannot disagree."""
        return 1 - 2 * self.alpha

    @property
    def interval(self) -> Interval:
        """Confidence sequence of the difference of success rates, at the starts so far."""
        return confidence_sequence(self.gained, self.alike, self.lost, self.confidence)

    def add(self, base: bool, post: bool) -> Decision | None:
        """Count the next start; returns the decision, None while there is none.

        Raises:
            ValueError: the test has been decided before.
        """
        if self.decision is not None:
            raise ValueError(f"the test was decided ({self.decision}) after {self.starts} starts")
        self.gained += post and not base
        self.lost += base and not post
        self.alike += base == post
        counts = (self.gained, self.alike, self.lost)
        self.wealth.append(_exp(log_wealth(*counts, -self.margin)))
        self.wealth_worse.append(_exp(log_wealth_below(*counts, -self.margin)))
        self.decision = decide(*counts, self.max_starts, self.margin, self.alpha)
        return self.decision


def sequential_test(
    pairs: Iterable[tuple[bool, bool]], max_starts: int, margin: float = 0.0, alpha: float = 0.05
) -> SequentialPairedTest:
    """The test after the outcomes (base, post-trained) of the starts in order; nothing behind the decision is read."""
    test = SequentialPairedTest(max_starts, margin, alpha)
    for base, post in pairs:
        if test.add(base, post) is not None:
            break
    return test


def _exp(log: float) -> float:
    return math.exp(min(log, 700.0))  # beyond lies infinity, which JSON does not know
