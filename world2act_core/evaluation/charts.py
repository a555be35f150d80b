"""The chart of the success rates of the policies that were compared."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from world2act_core.pages.rates import Interval


class RateRow(NamedTuple):
    """One policy's successes, for ``rate_chart``; ``css`` is ``base`` or ``post``."""

    label: str
    successes: int
    n: int
    interval: Interval
    css: str


def rate_chart(rows: Sequence[RateRow], label_width: int = 128) -> str:
    """Success rates as bars from 0 to 100 % with their intervals as whiskers."""
    width, row, left, right = 640, 46, label_width, 92
    height = len(rows) * row + 26
    span = width - left - right
    marks = []
    for percent in range(0, 101, 25):
        x = left + span * percent / 100
        marks.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{height - 24}"/>')
        marks.append(f'<text class="tick" x="{x:.1f}" y="{height - 8}" text-anchor="middle">{percent}%</text>')
    for index, (label, successes, n, (low, high), css) in enumerate(rows):
        middle = 4 + row * index + row / 2
        x0, x1, end = left + span * low, left + span * high, left + span * successes / n
        marks += [
            f'<text class="name" x="{left - 12}" y="{middle + 4:.1f}" text-anchor="end">{escape(label)}</text>',
            f'<rect class="bar {css}" x="{left}" y="{middle - 13:.1f}" width="{end - left:.1f}" height="26" rx="4"/>',
            f'<path class="whisker" d="M{x0:.1f} {middle:.1f}H{x1:.1f}M{x0:.1f} {middle - 6:.1f}v12'
            f'M{x1:.1f} {middle - 6:.1f}v12"/>',
            f'<circle class="point" cx="{end:.1f}" cy="{middle:.1f}" r="4.5"/>',
            f'<text class="value" x="{width - right + 16}" y="{middle + 5:.1f}">{successes}/{n}</text>',
        ]
    label = escape("; ".join(f"{r.label} {r.successes} of {r.n}" for r in rows), quote=True)
    return f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{"".join(marks)}</svg>'
