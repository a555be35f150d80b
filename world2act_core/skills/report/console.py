"""The figures of a skill dataset on a terminal."""

from __future__ import annotations

from world2act_core.pages.rates import MINUS, interval_name
from world2act_core.skills.report import words
from world2act_core.skills.report.summary import Summary

MOST_TASKS = 5
"""Tasks with the lowest rates that are shown; the report has all."""


def as_text(summary: Summary) -> str:
    """Aligned lines for a terminal or a log; no trailing newline."""
    if not summary.episodes:
        return words.verdict(summary)
    low = [task for task in summary.tasks if task.rate.kept < task.rate.judged][:MOST_TASKS]
    rates = [("all", summary.overall), ("prehensile", summary.prehensile), ("non-prehensile", summary.non_prehensile)]
    rates += [(words.plain(task.task, 60), task.rate) for task in low if len(summary.tasks) > 1]
    table = [("episodes", "kept", "rate", interval_name())]
    table += [(name, words.count(rate), words.share(rate), words.interval(rate)) for name, rate in rates]
    lengths = [("seconds", "quartiles", "median", "near it")]
    for name, values in (("episodes", summary.before), ("clips", summary.after)):
        first, middle, third = words.quartiles(values)
        lengths.append((name, f"{first} to {third}" if first else "", middle, words.near_median(values)))
    clips = f"{summary.clips} clips of {len(summary.skills)} skills from {summary.kept} of {summary.episodes} episodes"
    return "\n".join(
        [
            words.verdict(summary),
            *_table(table),
            f"World2Act reports {words.paper_rates()}",
            "",
            clips,
            *_table(lengths),
            f"lengths near the median: {words.change(summary.concentration)} from episodes to clips",
            "",
            f"discarded: {', '.join(f'{n} {words.plain(phrase)}' for phrase, n in summary.discards) or 'none'}",
            f"not judged: {words.apart(summary)}",
            f"overruled: {', '.join(f'{note.count} {words.plain(note.name)}' for note in summary.notes) or 'nothing'}",
            f"decomposition: {words.usage(summary.usage)}",
        ]
    ).replace(MINUS, "-")


def _table(rows: list[tuple[str, str, str, str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in rows
    ]
    rule = "-" * max(map(len, lines))
    return [rule, lines[0], rule, *lines[1:], rule]
