"""Paired differences whose trials are not independent: an exact sign-flip test by cluster, and an interval.

Two methods tried from the same starts with several training seeds give several pairs a start, and these are alike: the
same layout, often the same base policy. McNemar's test and Newcombe's interval would count them as independent and find
too much. Here the unit is the cluster: a start with all its seeds, or a training run with all its starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from world2act_core.evaluation.statistics import paired_difference_interval
from world2act_core.pages.rates import CONFIDENCE, Interval


class PairedCounts(NamedTuple):
    """The paired 2x2 table of one cluster."""

    both: int
    only_base: int
    only_post: int
    neither: int

    @property
    def difference(self) -> int:
        return self.only_post - self.only_base


def sign_flip_p(differences: Sequence[int]) -> float:
    """Two-sided p-value of the exact sign-flip test of a sum.

    If the methods do not differ, all labels within a cluster could be swapped at once, so the difference within each
    cluster is as likely to have the opposite sign (R. A. Fisher, The Design of Experiments, 1935, section 21). Every
    one of the ``2^n`` sign patterns counts: their sums are convolved cluster by cluster, not sampled.

    Args:
        differences: one a cluster: successes of one method less those of the other. Clusters of 0 say nothing.

    Returns:
        The share of sign patterns whose sum lies at least as far from 0 as the observed one.
    """
    weights = [abs(difference) for difference in differences]
    total = sum(weights)
    # With the sign of a random subset turned, the sum is total - 2 * (sum of that subset).
    subsets = np.zeros(total + 1)
    subsets[0] = 1.0
    for weight in weights:
        turned = np.zeros_like(subsets)
        turned[weight:] = subsets[: total + 1 - weight]
        subsets = 0.5 * (subsets + turned)
    signed = total - 2 * np.arange(total + 1)
    return min(1.0, float(subsets[np.abs(signed) >= abs(sum(differences))].sum()))


def clustered_difference_interval(clusters: Sequence[PairedCounts], confidence: float = CONFIDENCE) -> Interval:
    """Newcombe's interval of ``rate(post-trained) - rate(base)`` with the number of pairs that the clusters are worth.

    The counts are divided by the design effect before they go into Newcombe's formula, as J. N. K. Rao and A. J. Scott
    do it, "A simple method for the analysis of clustered binary data", Biometrics 48 (1992) 577-585. An interval from
    the sign-flip test alone would shrink to nothing where the methods never differ, and so prove of any two policies
    that one is not worse; this one keeps the width that the number of starts allows.

    Args:
        clusters: with at least one pair in all.
        confidence: coverage aimed at, in (0, 1); by simulation it is met (see the tests).
    """
    effect = design_effect(clusters)
    both, only_base, only_post, neither = (sum(column) / effect for column in zip(*clusters, strict=True))
    return paired_difference_interval(both, only_base, only_post, neither, confidence)


def design_effect(clusters: Sequence[PairedCounts]) -> float:
    """How many of the pairs are worth one independent pair: the variance of the difference between clusters over that
    of independent pairs, at least 1 and at most the size of the largest cluster, which it is where nothing varies."""
    sizes = np.array([sum(cluster) for cluster in clusters], np.float64)
    differences = np.array([cluster.difference for cluster in clusters], np.float64)
    pairs, mean = sizes.sum(), differences.sum() / sizes.sum()
    discordant = sum(cluster.only_base + cluster.only_post for cluster in clusters)
    independent = discordant - pairs * mean**2
    largest = float(sizes.max())
    if independent <= 1e-9 or len(clusters) < 2:
        return largest
    between = ((differences - sizes * mean) ** 2).sum() * len(clusters) / (len(clusters) - 1)
    return float(np.clip(between / independent, 1.0, largest))
