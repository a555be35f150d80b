"""The table that ends an evaluation on the terminal."""

from __future__ import annotations

from world2act_core.evaluation import wording
from world2act_core.evaluation.trials import PairedTrials
from world2act_core.pages.rates import MINUS, interval_name, percent, percent_interval


def result_table(trials: PairedTrials, *, task: str = "") -> str:
    """Plain ASCII text, aligned, readable in any terminal and log; no trailing newline.

    Args:
        trials: the paired evaluation.
        task: the instruction in words, for the heading.
    """
    n = trials.n
    heading = f"{task + ': ' if task else ''}{n} start{'s' if n != 1 else ''} held out from training"
    rows = [
        ("policy", "successes", "rate", interval_name()),
        (
            "base",
            f"{trials.base_successes}/{n}",
            percent(trials.base_successes / n),
            percent_interval(trials.base_interval),
        ),
        (
            "post-trained",
            f"{trials.post_successes}/{n}",
            percent(trials.post_successes / n),
            percent_interval(trials.post_interval),
        ),
        (
            "difference",
            f"{trials.post_successes - trials.base_successes:+d}",
            f"{wording.points(trials.difference)} pt",
            f"{wording.points_interval(trials.difference_interval)} pt",
        ),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    rule = "-" * len(lines[0])
    text = "\n".join(
        [
            heading,
            rule,
            lines[0],
            rule,
            *lines[1:3],
            rule,
            lines[3],
            rule,
            f"{wording.evidence(trials)}; exact paired test {wording.p_value(trials.p_value)}",
            f"Verdict: {wording.verdict_in_words(trials)}",
        ]
    )
    return text.replace(MINUS, "-").replace("±0.0", " 0.0")
