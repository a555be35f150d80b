"""The tables that end an evaluation and a gate on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from world2act_core.evaluation import wording
from world2act_core.evaluation.gate import Gate
from world2act_core.evaluation.trials import PairedTrials
from world2act_core.pages.rates import MINUS, Interval, interval_name, percent, percent_interval


def result_table(
    trials: PairedTrials, *, task: str = "", names: tuple[str, str] = ("base", "post-trained"), heading: str = ""
) -> str:
    """Plain ASCII text, aligned, readable in any terminal and log; no trailing newline.

    Args:
        trials: the paired evaluation.
        task: the instruction in words, for the heading.
        names: of the two policies.
        heading: "" speaks of the task and of starts held out from training.
    """
    n = trials.n
    heading = heading or f"{task + ': ' if task else ''}{n} start{'s' if n != 1 else ''} held out from training"
    rows = [
        ("policy", "successes", "rate", interval_name()),
        (
            names[0],
            f"{trials.base_successes}/{n}",
            percent(trials.base_successes / n),
            percent_interval(trials.base_interval),
        ),
        (
            names[1],
            f"{trials.post_successes}/{n}",
            percent(trials.post_successes / n),
            percent_interval(trials.post_interval),
        ),
        _difference(trials, trials.difference_interval),
    ]
    return _text(
        heading,
        _lines(rows),
        f"{wording.evidence(trials)}; exact paired test {wording.p_value(trials.p_value)}",
        f"Verdict: {wording.verdict_in_words(trials, names)}",
        *_notes(trials),
    )


def gate_table(gate: Gate) -> str:
    """The same for a gate, with the interval that holds however early it stopped, and what was asked before it."""
    trials, test = gate.trials, gate.test
    n = trials.n
    heading = f"{gate.task}: {n} of at most {gate.max_starts} fresh starts, held out from training"
    rows = [
        ("policy", "successes", "rate", interval_name(test.confidence)),
        ("base", f"{trials.base_successes}/{n}", percent(trials.base_successes / n), ""),
        ("post-trained", f"{trials.post_successes}/{n}", percent(trials.post_successes / n), ""),
        _difference(trials, test.interval),
    ]
    return _text(
        heading,
        _lines(rows),
        f"{wording.evidence(trials)}; wealth {test.wealth[-1]:.3g}, {1 / gate.alpha:g} needed (alpha {gate.alpha:g})",
        f"Verdict: {'PASS' if gate.passed else 'FAIL'}, {wording.gate_in_words(gate)}",
        *_notes(trials),
        *(f"Asked before of the same policies: {wording.asked_before(entry)}" for entry in gate.earlier),
    )


def _notes(trials: PairedTrials) -> list[str]:
    note = wording.tried_again([*trials.base, *trials.post])
    return [note] if note else []


def _difference(trials: PairedTrials, interval: Interval) -> tuple[str, ...]:
    return (
        "difference",
        f"{trials.post_successes - trials.base_successes:+d}",
        f"{wording.points(trials.difference)} pt",
        f"{wording.points_interval(interval)} pt",
    )


def _lines(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """The rows as aligned lines, the first column to the left."""
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in rows
    ]


def _text(heading: str, lines: list[str], *closing: str) -> str:
    """Head, two policies and their difference between rules, then what closes it; ASCII."""
    rule = "-" * len(lines[0])
    text = "\n".join([heading, rule, lines[0], rule, *lines[1:3], rule, lines[3], rule, *closing])
    return text.replace(MINUS, "-").replace("±0.0", " 0.0")
