"""Paired differences whose trials are not independent: exact sign-flip tests by cluster, and intervals from them.

Two methods tried from the same starts with several training seeds give several pairs a start, and these are alike: the
same layout, often the same base policy. McNemar's test would count them as independent and find too much. Here the unit
is the cluster (a start with all its seeds, or a training run with all its starts): if the methods do not differ, all
labels within a cluster could be swapped at once, so the difference within each cluster is as likely to have the
opposite sign (R. A. Fisher, The Design of Experiments, 1935, section 21). Every one of the ``2^n`` sign patterns
counts: their sums are convolved cluster by cluster, not sampled.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from world2act_core.pages.rates import CONFIDENCE, Interval
from world2act_core.types import Array

RESOLUTION = 200
"""An interval's ends are found on a grid of ``1 / RESOLUTION``: half a percentage point."""


def sign_flip_p(differences: Sequence[int]) -> float:
    """Two-sided p-value of the exact sign-flip test of a sum.

    Args:
        differences: one a cluster: successes of one method less those of the other. Clusters of 0 say nothing.

    Returns:
        The share of sign patterns whose sum lies at least as far from 0 as the observed one.
    """
    observed = abs(sum(differences))
    total = sum(abs(difference) for difference in differences)
    # Sum over clusters with random signs = 2 * (sum of a random subset) - total, of absolute values.
    subsets = _subset_sums([abs(difference) for difference in differences])
    signed = 2 * np.arange(len(subsets)) - total
    return min(1.0, float(subsets[np.abs(signed) >= observed].sum()))


def sign_flip_interval(differences: Sequence[int], sizes: Sequence[int], confidence: float = CONFIDENCE) -> Interval:
    """Interval of the difference of two rates: the shifts that two one-sided sign-flip tests do not reject.

    The test is exact where the methods do not differ. At another shift it takes the differences to lie symmetrically
    about it, which outcomes of 0 and 1 do only roughly; by simulation its coverage is near what is aimed at (see the
    tests). Ends are rounded outwards to ``1 / RESOLUTION``.

    Args:
        differences: one a cluster, as in ``sign_flip_p``.
        sizes: pairs in each cluster, at least 1.
        confidence: coverage aimed at, in (0, 1).
    """
    if len(differences) != len(sizes) or not sizes or min(sizes) < 1:
        raise ValueError(f"{len(differences)} clusters of {len(sizes)} sizes are not a result: expected sizes >= 1")
    alpha = (1 - confidence) / 2
    low = _first_kept(differences, sizes, alpha)
    high = -_first_kept([-difference for difference in differences], sizes, alpha)
    return Interval(low / RESOLUTION, high / RESOLUTION)


def _first_kept(differences: Sequence[int], sizes: Sequence[int], alpha: float) -> int:
    """The last shift of the grid, coming from below, that "the difference is no larger than this" still rejects; the
    least possible shift if none is rejected. The p-value grows with the shift, so that halving finds it."""
    rejected, kept = -RESOLUTION, RESOLUTION
    while kept - rejected > 1:
        shift = (rejected + kept) // 2
        shifted = [RESOLUTION * d - shift * size for d, size in zip(differences, sizes, strict=True)]
        if _upper_tail(shifted) <= alpha:
            rejected = shift
        else:
            kept = shift
    return rejected


def _upper_tail(values: Sequence[int]) -> float:
    """The share of sign patterns whose sum is at least that of the values: those whose flipped values sum to 0 or less,
    that is, whose flipped negative values weigh at least as much as the flipped positive ones."""
    positive = _subset_sums([value for value in values if value > 0])
    negative = _subset_sums([-value for value in values if value < 0])
    no_more = np.cumsum(positive)
    reached = no_more[np.minimum(np.arange(len(negative)), len(no_more) - 1)]
    return float(negative @ reached)


def _subset_sums(values: Sequence[int]) -> Array:
    """``(total + 1,)``: the probability of each sum of a random subset, of values >= 0."""
    sums = np.zeros(sum(values) + 1)
    sums[0] = 1.0
    reach = 0
    for value in values:
        moved = sums[: reach + 1].copy()
        sums[value : reach + value + 1] += moved
        sums[: reach + value + 1] *= 0.5
        reach += value
    return sums
