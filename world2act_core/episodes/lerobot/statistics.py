"""Statistics of features, as LeRobot keeps them for an episode and for the whole data set.

Keys are LeRobot's: ``min``, ``max``, ``mean``, ``std``, ``count`` and quantiles ``q01`` to ``q99``. LeRobot estimates
an episode's quantiles from a histogram; here they are exact. Those of the whole set are, as in LeRobot 0.6, the
outermost of the episodes': quantiles cannot be joined.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from world2act_core.types import Array

Stats = dict[str, Array]
QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}


def vector_stats(values: Array) -> Stats:
    """Statistics over the rows of ``(N, D)`` or ``(N,)``; each is ``(D,)``, one number counts as ``(1,)``."""
    rows = np.asarray(values, np.float64).reshape(len(values), -1)
    stats = {"min": rows.min(0), "max": rows.max(0), "mean": rows.mean(0), "std": rows.std(0)}
    stats["count"] = np.array([len(rows)])
    return stats | dict(zip(QUANTILES, np.quantile(rows, list(QUANTILES.values()), axis=0), strict=True))


def image_stats(images: Array, held: Array) -> Stats:
    """Statistics a colour channel of a video, ``(3, 1, 1)`` each, in [0, 1].

    LeRobot looks at some hundred frames of an episode, and at every n-th pixel of large ones; so does this.

    Args:
        images: ``(K, H, W, 3)`` uint8.
        held: ``(N,)`` which image each of the N frames of the video shows.
    """
    shown, often = np.unique(held[_sampled(len(held))], return_counts=True)
    stride = _pixel_stride(*images.shape[1:3])
    counts = np.zeros((3, 256))
    for k, times in zip(shown, often, strict=True):
        pixels = images[k, ::stride, ::stride]
        counts += times * np.stack([np.bincount(pixels[..., c].ravel(), minlength=256) for c in range(3)])
    stats = {name: value.reshape(3, 1, 1) for name, value in _histogram_stats(counts).items()}
    return stats | {"count": np.array([int(often.sum())])}


def joined(parts: Iterable[Mapping[str, Stats]]) -> dict[str, Stats]:
    """Statistics of the union of sets that have statistics of their own."""
    parts = list(parts)
    return {name: _joined([part[name] for part in parts]) for name in parts[0]} if parts else {}


def _joined(parts: list[Stats]) -> Stats:
    counts = np.stack([part["count"] for part in parts]).astype(np.float64)
    weights = counts.reshape(-1, *[1] * parts[0]["mean"].ndim) / counts.sum()
    means = np.stack([part["mean"] for part in parts])
    mean = (weights * means).sum(0)
    variances = np.stack([part["std"] for part in parts]) ** 2 + (means - mean) ** 2
    stats = {
        "min": np.min([part["min"] for part in parts], axis=0),
        "max": np.max([part["max"] for part in parts], axis=0),
        "mean": mean,
        "std": np.sqrt((weights * variances).sum(0)),
        "count": counts.sum(0).astype(np.int64),
    }
    for name, quantile in QUANTILES.items():
        outermost = np.min if quantile <= 0.5 else np.max
        stats[name] = outermost([part[name] for part in parts], axis=0)
    return stats


def _sampled(frames: int) -> Array:
    """Which frames LeRobot looks at: all of up to 100, then a number that grows with the power 0.75."""
    number = max(min(100, frames), min(int(frames**0.75), 10_000))
    return np.round(np.linspace(0, frames - 1, number)).astype(np.int64)


def _pixel_stride(height: int, width: int) -> int:
    """LeRobot thins images of 300 pixels and more to about 150."""
    return 1 if max(height, width) < 300 else max(height, width) // 150


def _histogram_stats(counts: Array) -> Stats:
    """Exact statistics of 8-bit values from their counts ``(3, 256)``; each is ``(3,)``, scaled to [0, 1]."""
    levels = np.arange(256) / 255.0
    share = counts / counts.sum(1, keepdims=True)
    mean = share @ levels
    cumulated = share.cumsum(1)
    occurring = [np.flatnonzero(row) for row in counts]
    stats = {
        "min": levels[[row[0] for row in occurring]],
        "max": levels[[row[-1] for row in occurring]],
        "mean": mean,
        "std": np.sqrt(np.maximum(0, share @ levels**2 - mean**2)),
    }
    for name, quantile in QUANTILES.items():
        # Rounding may leave the last sum a hair under 1.
        stats[name] = levels[[min(int(np.searchsorted(row, quantile)), 255) for row in cumulated]]
    return stats
