"""A picture of where the milliseconds of every chunk went."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from world2act_core.errors import World2ActError
from world2act_core.evaluation.latency import CHAIN, LatencyReport, statistics

FORMATS = (".png", ".svg", ".pdf")
_COLOURS = dict(zip(CHAIN, ("#8e99ab", "#c9a227", "#c2410c", "#0f766e", "#7c3aed", "#1d4ed8"), strict=True))


def plot_latency(report: LatencyReport, path: Path) -> None:
    """Write the picture: above, every chunk as a column of its segments; below, the median and p99 of each.

    Args:
        path: its ending names the format, one of ``FORMATS``.

    Raises:
        World2ActError: another ending, or the file cannot be written.
    """
    if path.suffix.lower() not in FORMATS:
        raise World2ActError(f"{path}: a plot ends in one of {', '.join(FORMATS)}")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    chains = [chunk.chain() for chunk in report.chunks]
    names = [name for name in CHAIN if any(name in chain for chain in chains)]
    values = {name: np.array([chain.get(name, 0.0) for chain in chains]) for name in names}
    figure = Figure(figsize=(10, 7), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, height_ratios=(3, 2))
    base = np.zeros(len(chains))
    edges = np.repeat(np.arange(len(chains) + 1) + 0.5, 2)[1:-1]
    for name in names:
        top = base + values[name]
        # Filled outlines, not bars: a long recording has thousands of chunks.
        above.fill_between(edges, np.repeat(base, 2), np.repeat(top, 2), color=_COLOURS[name], linewidth=0, label=name)
        base = top
    above.set(xlabel="chunk", ylabel="ms", xlim=(0.5, len(chains) + 0.5), title=f"{report.path.name}: every chunk")
    above.set_ylim(bottom=0)
    above.xaxis.get_major_locator().set_params(integer=True)
    above.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0), reverse=True)

    found = [statistics(np.array([chain[name] for chain in chains if name in chain])) for name in names]
    rows = np.arange(len(names))[::-1]
    below.barh(rows, [one["p99"] for one in found], color=[_COLOURS[name] for name in names], alpha=0.3)
    below.barh(rows, [one["p50"] for one in found], color=[_COLOURS[name] for name in names])
    for row, one in zip(rows, found, strict=True):
        below.annotate(f" {one['p50']:.2f} / {one['p99']:.2f}", (max(one["p99"], 0.0), row), va="center", fontsize=8)
    below.set_yticks(rows, names)
    below.set(xlabel="ms", title="median (solid) and p99 (pale)")
    below.margins(x=0.15)
    try:
        figure.savefig(path)
    except OSError as error:
        raise World2ActError(f"{path} cannot be written: {error.strerror}") from error
