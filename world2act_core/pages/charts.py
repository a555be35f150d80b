"""Inline SVG charts for a page: small, without scripts, coloured by the page's style in light and dark.

Colours come from CSS classes (``s0`` .. ``s5`` for series), so one chart serves both themes. Numbers are rounded to a
tenth of a pixel: the same data give the same bytes everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from html import escape

import numpy as np
import numpy.typing as npt

from world2act_core.types import Array

SERIES_COLOURS = 6
_WIDTH, _HEIGHT = 520, 290
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 12, 46
_DEEP = _HEIGHT - _TOP - _BOTTOM  # of the plotting area
_MOST_POINTS = 600
_NOISY_FROM = 200  # longer series are drawn faintly, with their running mean on top


def line_chart(
    curves: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]], xlabel: str, ylabel: str, *, log_y: bool = False
) -> str:
    """Lines over one pair of axes, with a legend if there are several.

    Args:
        curves: name → (x, y) of equal length; values that are not finite leave a gap.
        log_y: logarithmic y axis; values of 0 and below leave a gap.

    Raises:
        ValueError: no curve has a point to draw, or x and y differ in length.
    """
    series = {name: _clean(name, x, y, log_y) for name, (x, y) in curves.items()}
    points = [xy[np.isfinite(xy).all(axis=1)] for xy in series.values()]
    drawable = np.concatenate([np.zeros((0, 2)), *points])
    if not len(drawable):
        raise ValueError(f"the chart of {ylabel} over {xlabel} has no finite point to draw")
    (x_low, y_low), (x_high, y_high) = drawable.min(axis=0), drawable.max(axis=0)
    if x_low == x_high:
        x_low, x_high = x_low - 0.5, x_high + 0.5
    x_ticks = [tick for tick in _ticks(x_low, x_high) if x_low <= tick <= x_high]
    y_ticks = _log_ticks(y_low, y_high) if log_y else _ticks(y_low, y_high)
    scale = _Scale((x_low, x_high), (min(y_ticks[0], y_low), max(y_ticks[-1], y_high)))
    marks: list[str] = list(_axes(scale, x_ticks, y_ticks, xlabel, ylabel, log_y))
    for index, (name, xy) in enumerate(series.items()):
        marks += _line(name, xy, scale, f"s{index % SERIES_COLOURS}")
    legend = _legend(list(series)) if len(series) > 1 else ""
    label = escape(f"{ylabel} over {xlabel}: {', '.join(series)}", quote=True)
    svg = f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">{"".join(marks)}</svg>'
    return legend + svg


def histogram(
    heights: npt.ArrayLike,
    edges: npt.ArrayLike,
    xlabel: str,
    ylabel: str,
    *,
    top: float | None = None,
    band: tuple[float, float] | None = None,
    mark: float | None = None,
    css: str = "s0",
) -> str:
    """Bars over one pair of axes.

    Args:
        heights: ``(N,)`` of the bars, finite and not negative.
        edges: ``(N + 1,)`` of the bins, increasing.
        top: highest value of the y axis; None takes the highest bar. Give several charts the same to compare them.
        band: a range of x that is shaded.
        mark: an x at which a line stands.
        css: class of the bars' colour, ``s0`` .. ``s5``.

    Raises:
        ValueError: no bars, or the numbers of bars and edges do not fit.
    """
    bars, bins = np.asarray(heights, np.float64), np.asarray(edges, np.float64)
    if not len(bars) or len(bins) != len(bars) + 1:
        raise ValueError(f"a histogram of {len(bars)} bars cannot have {len(bins)} edges")
    x_range = (float(bins[0]), float(bins[-1]))
    y_ticks = _ticks(0.0, max(float(bars.max()), top or 0.0))
    scale = _Scale(x_range, (0.0, y_ticks[-1]))
    marks = []
    if band is not None:
        left, right = scale.x(band[0]), scale.x(band[1])
        marks.append(f'<rect class="band" x="{left:.1f}" y="{_TOP}" width="{right - left:.1f}" height="{_DEEP}"/>')
    x_ticks = [tick for tick in _ticks(*x_range) if x_range[0] <= tick <= x_range[1]]
    marks += _axes(scale, x_ticks, y_ticks, xlabel, ylabel, log_y=False)
    for low, high, height in zip(bins[:-1], bins[1:], bars, strict=True):
        x, y = scale.x(low), scale.y(height)
        marks.append(
            f'<rect class="bar {css}" x="{x + 0.5:.1f}" y="{y:.1f}" width="{max(scale.x(high) - x - 1, 0.5):.1f}" '
            f'height="{_HEIGHT - _BOTTOM - y:.1f}"/>'
        )
    if mark is not None:
        marks.append(f'<path class="mark" d="M{scale.x(mark):.1f} {_TOP}v{_DEEP}"/>')
    label = escape(f"{ylabel} over {xlabel}", quote=True)
    return f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">{"".join(marks)}</svg>'


class _Scale:
    """From data to pixels of the plotting area."""

    def __init__(self, x_range: tuple[float, float], y_range: tuple[float, float]) -> None:
        self.x_range, self.y_range = x_range, y_range

    def x(self, value: float) -> float:
        low, high = self.x_range
        return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return _HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)


def _clean(name: str, x: npt.ArrayLike, y: npt.ArrayLike, log_y: bool) -> Array:
    """``(K, 2)`` float64 with NaN where nothing can be drawn; y in decades if logarithmic."""
    xs, ys = np.asarray(x, np.float64).ravel(), np.asarray(y, np.float64).ravel()
    if len(xs) != len(ys):
        raise ValueError(f"curve {name} has {len(xs)} x and {len(ys)} y values")
    if log_y:
        with np.errstate(divide="ignore", invalid="ignore"):
            ys = np.log10(ys)
    xy = np.stack([xs, ys], axis=1)
    xy[~np.isfinite(xy).all(axis=1)] = np.nan
    return xy


def _ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten) that enclose the range."""
    if high - low < 1e-12 * max(1.0, abs(high)):
        margin = abs(high) * 0.5 or 1.0
        low, high = low - margin, high + margin
    raw = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(m * unit for m in (1, 2, 5, 10) if m * unit >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Decades that enclose the range, with 2 and 5 between them if there are few; in and out as log10."""
    first, last = math.floor(low + 1e-9), math.ceil(high - 1e-9)
    if last - first > 3:
        stride = math.ceil((last - first) / 6)
        return [float(decade) for decade in range(first, last + stride, stride)]
    ticks = [decade + math.log10(digit) for decade in range(first, last + 2) for digit in (1, 2, 5)]
    start = max(index for index, tick in enumerate(ticks) if tick <= low + 1e-9)
    end = min(index for index, tick in enumerate(ticks) if tick >= high - 1e-9)
    return ticks[start : max(end, start + 1) + 1]


def _axes(
    scale: _Scale, x_ticks: list[float], y_ticks: list[float], xlabel: str, ylabel: str, log_y: bool
) -> Iterator[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    for tick in y_ticks:
        y = scale.y(tick)
        text = _number(10**tick) if log_y else _number(tick)
        yield f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
    for tick in x_ticks:
        x = scale.x(tick)
        yield f'<text class="tick" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{_number(tick)}</text>'
    yield f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>'
    middle_x, middle_y = (_LEFT + right) / 2, (_TOP + bottom) / 2
    yield f'<text class="label" x="{middle_x}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(xlabel)}</text>'
    yield (
        f'<text class="label" transform="translate(15 {middle_y}) rotate(-90)" text-anchor="middle">'
        f"{escape(ylabel)}</text>"
    )


def _line(name: str, xy: Array, scale: _Scale, css: str) -> Iterator[str]:
    finite = xy[np.isfinite(xy[:, 0])]
    if not len(finite):
        return
    title = f"<title>{escape(name)}</title>"
    if len(finite) >= _NOISY_FROM:
        yield f'<path class="line raw {css}" d="{_path(_thinned(xy), scale)}">{title}</path>'
        window = max(5, len(finite) // 40)
        yield f'<path class="line {css}" d="{_path(_thinned(_running_mean(finite, window)), scale)}">{title}</path>'
        return
    yield f'<path class="line {css}" d="{_path(xy, scale)}">{title}</path>'
    if len(finite) <= 25:
        for x, y in finite:
            yield f'<circle class="dot {css}" cx="{scale.x(x):.1f}" cy="{scale.y(y):.1f}" r="3"/>'


def _path(xy: Array, scale: _Scale) -> str:
    parts, pen_down = [], False
    for x, y in xy:
        if math.isnan(x):
            pen_down = False
            continue
        parts.append(f"{'L' if pen_down else 'M'}{scale.x(x):.1f} {scale.y(y):.1f}")
        pen_down = True
    return "".join(parts)


def _running_mean(xy: Array, window: int) -> Array:
    """Centred mean of y over ``window`` points, over what there is of it at the ends."""
    index = np.arange(len(xy))
    low, high = np.maximum(0, index - window // 2), np.minimum(len(xy), index + window // 2 + 1)
    total = np.concatenate([[0.0], np.cumsum(xy[:, 1])])
    return np.stack([xy[:, 0], (total[high] - total[low]) / (high - low)], axis=1)


def _thinned(xy: Array) -> Array:
    """At most about ``_MOST_POINTS`` points: the lowest and highest of each stretch, so that spikes stay visible."""
    if len(xy) <= _MOST_POINTS:
        return xy
    kept = []
    for stretch in np.array_split(np.arange(len(xy)), _MOST_POINTS // 2):
        values = xy[stretch, 1]
        if np.isnan(values).all():
            kept.append(int(stretch[0]))
        else:
            kept += sorted({int(stretch[np.nanargmin(values)]), int(stretch[np.nanargmax(values)])})
    return xy[kept]


def _legend(names: list[str]) -> str:
    keys = "".join(
        f'<span><i class="key s{index % SERIES_COLOURS}"></i>{escape(name)}</span>' for index, name in enumerate(names)
    )
    return f'<div class="legend">{keys}</div>'


def _number(value: float) -> str:
    value = float(f"{value:.6g}")  # 10 ** log10(0.2) is not quite 0.2
    if abs(value) < 1e-12:
        return "0"
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k" if abs(value) < 1e6 else f"{value:.3g}"
    return f"{value:.6g}" if abs(value) >= 0.001 else f"{value:.1e}"
