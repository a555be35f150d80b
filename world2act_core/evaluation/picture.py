"""One picture that tells a run: what both policies did, how often they succeed, what was imagined and what happened."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from world2act_core.evaluation import wording
from world2act_core.evaluation.trials import PairedTrials
from world2act_core.types import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _SOFT, _RULE = "#16191f", "#5b6472", "#e2e5ea"
_BASE, _POST = "#8e99ab", "#0f766e"
_VERDICT = {"better": "#0f766e", "worse": "#c2410c", "no difference": "#475569"}
_SIZE = (16.0, 7.0)  # inches at 100 dots an inch: 1600 x 700 pixels
_STRIP = 4  # frames of a filmstrip
_IMAGINED = 3
_FRAME = 0.104  # width of a frame, and below its height, as fractions of the figure
_FRAME_HEIGHT = _FRAME * _SIZE[0] / _SIZE[1]
_ROWS = (0.505, 0.105)  # lower edges of the two rows of filmstrips


def summary_picture(
    trials: PairedTrials,
    base_frames: Array,
    post_frames: Array,
    imagined: Array,
    happened: Array,
    *,
    title: str,
    base_ending: str = "",
    post_ending: str = "",
    base_steps: Sequence[int] | Array = (),
    post_steps: Sequence[int] | Array = (),
    imagined_steps: Sequence[int] | Array = (),
) -> bytes:
    """The picture that opens the README, 1600 x 700 pixels.

    Left, base above post-trained on the same start, each attempt from its first frame to its last; middle,
    successes with Wilson intervals; right, frames that the world model imagined above those that then happened at
    the same steps.

    Args:
        trials: the paired evaluation.
        base_frames, post_frames: ``(K, H, W, 3)`` uint8, the two attempts from the same start; K may differ.
        imagined, happened: ``(N, H, W, 3)`` uint8, frame by frame the same steps; sizes may differ between the two.
        title: the heading, e.g. the task in words.
        base_ending, post_ending: how each attempt ended, e.g. ``not solved in 300 steps``.
        base_steps, post_steps, imagined_steps: control step of each frame (``Episode.frame_steps``), written under
            the frames that are shown; empty writes nothing.

    Returns:
        PNG; the same arguments give the same bytes with the same Matplotlib.

    Raises:
        ValueError: an array is not ``(K, H, W, 3)`` uint8, or imagined and happened differ in number.
    """
    for name, frames in (("base", base_frames), ("post", post_frames), ("imagined", imagined), ("happened", happened)):
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
            raise ValueError(f"{name} frames are {frames.dtype} {frames.shape}: expected uint8 (K, H, W, 3)")
    if len(imagined) != len(happened):
        raise ValueError(f"{len(imagined)} imagined frames for {len(happened)} that happened: give the same steps")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE, dpi=100, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    _headline(figure, 0.935, title, fontsize=23, fontweight="bold", color=_INK)
    _headline(figure, 0.872, _subtitle(trials), fontsize=14, color=_VERDICT[trials.verdict])

    rows = (
        ("base policy", base_frames, base_steps, base_ending, _BASE, _SOFT),
        ("post-trained", post_frames, post_steps, post_ending, _POST, _POST),
    )
    for bottom, (name, frames, steps, ending, border, colour) in zip(_ROWS, rows, strict=True):
        _filmstrip(figure, frames, steps, _STRIP, (0.02, bottom), border=border)
        _strip_label(figure, (0.02, bottom), name, ending, colour)
    _success_bars(figure, trials)
    pair = (("imagined by the world model", imagined), ("what then happened", happened))
    for bottom, (name, frames) in zip(_ROWS, pair, strict=True):
        _filmstrip(figure, frames, imagined_steps, _IMAGINED, (0.66, bottom), border=_RULE)
        _strip_label(figure, (0.66, bottom), name, "", _INK)
    memory = io.BytesIO()
    canvas.print_png(memory, metadata={"Software": None})
    return memory.getvalue()


def _subtitle(trials: PairedTrials) -> str:
    return (
        f"{trials.base_successes} → {trials.post_successes} of {trials.n} held-out starts, "
        f"{wording.points(trials.difference)} points ({wording.points_interval(trials.difference_interval)}), "
        f"exact paired test {wording.p_value(trials.p_value)}. {wording.verdict_in_words(trials)}"
    )


def _headline(figure: Figure, height: float, words: str, **style: Any) -> None:
    """A line across the picture, made smaller if it would not fit."""
    text = figure.text(0.02, height, words, va="center", **style)
    share = text.get_window_extent().width / (0.96 * figure.bbox.width)
    if share > 1:
        text.set_fontsize(float(text.get_fontsize()) / share)


def _filmstrip(
    figure: Figure,
    frames: Array,
    steps: Sequence[int] | Array,
    most: int,
    corner: tuple[float, float],
    *,
    border: str,
) -> None:
    """At most ``most`` square frames in a row, the first and the last among them.

    ``corner`` is the lower left one, in fractions of the figure.
    """
    left, bottom = corner
    picks = np.linspace(0, len(frames) - 1, min(most, len(frames))).round().astype(int)
    for place, pick in enumerate(picks):
        axes = figure.add_axes((left + place * (_FRAME + 0.004), bottom, _FRAME, _FRAME_HEIGHT))
        axes.imshow(frames[pick], interpolation="lanczos", aspect="auto")
        axes.set_xticks([])
        axes.set_yticks([])
        if len(steps):
            axes.set_xlabel(f"step {steps[pick]}", fontsize=11.5, color=_SOFT, labelpad=4)
        for spine in axes.spines.values():
            spine.set_color(border)
            spine.set_linewidth(2.5 if border != _RULE else 1.0)


def _strip_label(figure: Figure, corner: tuple[float, float], name: str, ending: str, colour: str) -> None:
    """Name, and how it ended, above a filmstrip."""
    height = corner[1] + _FRAME_HEIGHT + 0.035
    text = figure.text(corner[0], height, name, fontsize=14.5, fontweight="bold", color=_INK, va="center")
    if ending:
        right = text.get_window_extent().x1 / figure.bbox.width
        figure.text(right + 0.009, height, ending, fontsize=13.5, color=colour, va="center")


def _success_bars(figure: Figure, trials: PairedTrials) -> None:
    axes: Axes = figure.add_axes((0.503, 0.105, 0.122, _ROWS[0] - _ROWS[1] + _FRAME_HEIGHT))
    rates = [trials.base_successes / trials.n, trials.post_successes / trials.n]
    intervals = [trials.base_interval, trials.post_interval]
    axes.bar([0, 1], rates, width=0.62, color=[_BASE, _POST], zorder=2)
    below = [rate - interval.low for rate, interval in zip(rates, intervals, strict=True)]
    above = [interval.high - rate for rate, interval in zip(rates, intervals, strict=True)]
    axes.errorbar([0, 1], rates, [below, above], fmt="none", ecolor=_INK, elinewidth=2, capsize=7, capthick=2, zorder=3)
    counts = (trials.base_successes, trials.post_successes)
    for x, (count, interval) in enumerate(zip(counts, intervals, strict=True)):
        y = min(interval.high + 0.035, 1.03)
        text = axes.text(x, y, f"{count}/{trials.n}", ha="center", va="bottom", fontsize=15, fontweight="bold")
        text.set(color=_INK, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})
    axes.set_xticks([0, 1], ["base", "post-\ntrained"], fontsize=13.5, color=_INK)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25", "50", "75", "100 %"], fontsize=12, color=_SOFT)
    axes.set_ylim(0, 1.1)
    axes.set_xlim(-0.55, 1.55)
    axes.grid(axis="y", color=_RULE, zorder=0)
    axes.tick_params(length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_SOFT)
    figure.text(
        0.474,
        _ROWS[0] + _FRAME_HEIGHT + 0.035,
        "success, same starts",
        fontsize=14.5,
        fontweight="bold",
        color=_INK,
        va="center",
    )
