"""How the figures of a skill dataset are said: the same in the console and on the page.

Instructions, names and reasons come from files that anybody may have written: before they are shown they lose control
characters, line breaks and excess length.
"""

from __future__ import annotations

from collections.abc import Sequence

from world2act_core.pages.rates import MINUS, interval_name, percent, percent_interval
from world2act_core.skills.report.summary import PAPER_CONCENTRATION, PAPER_RATES, Lengths, Rate, Summary
from world2act_core.skills.types import Event, Usage

LONGEST = 240
"""Characters of a text that are shown."""


def plain(text: str, longest: int = LONGEST) -> str:
    """One printable line: neither terminal commands nor marks that turn the direction of writing."""
    cut = text[: 4 * longest]
    words = " ".join("".join(c if c.isprintable() else " " for c in cut).split())
    return words if len(words) <= longest and len(cut) == len(text) else words[: longest - 1].rstrip() + "…"


def verdict(summary: Summary) -> str:
    """The dataset in one sentence."""
    rate = summary.overall
    if rate.share is None or rate.interval is None:
        return f"No episode could be judged: {apart(summary)}." if summary.episodes else "No episode was looked at yet."
    return (
        f"{percent(rate.share)} of episodes gave skill clips: {rate.kept} of {rate.judged} "
        f"({interval_name()} {percent_interval(rate.interval)})"
    )


def apart(summary: Summary) -> str:
    """``2 could not be read, 3 the attempt failed``, or ``none``."""
    return ", ".join(f"{count} {plain(phrase)}" for phrase, count in summary.apart) or "none"


def share(rate: Rate) -> str:
    return "none" if rate.share is None else percent(rate.share)


def count(rate: Rate) -> str:
    return f"{rate.kept} of {rate.judged}"


def interval(rate: Rate) -> str:
    return "" if rate.interval is None else percent_interval(rate.interval)


def paper_rates() -> str:
    """``RoboCasa 96.2 %, LIBERO 86.9 %``."""
    return ", ".join(f"{name} {percent(value)}" for name, value in PAPER_RATES.items())


def change(relative: float | None) -> str:
    """``+50 %``."""
    if relative is None:
        return "not defined"
    return f"{'+' if relative >= 0 else MINUS}{abs(100 * relative):.0f} %"


def paper_concentration() -> str:
    return ", ".join(f"{name} {change(value)}" for name, value in PAPER_CONCENTRATION.items())


def quartiles(lengths: Lengths) -> tuple[str, str, str]:
    """First quartile, median, third quartile in seconds; empty if there are no lengths."""
    if lengths.quartiles is None:
        return "", "", ""
    low, middle, high = (f"{value:.1f}" for value in lengths.quartiles)
    return low, middle, high


def near_median(lengths: Lengths) -> str:
    return "" if lengths.near_median is None else percent(lengths.near_median)


def usage(spent: Usage) -> str:
    """What the decomposition cost."""
    if not spent.calls:
        return "no call of a language model was paid for"
    calls = "call" if spent.calls == 1 else "calls"
    return (
        f"{spent.calls:,} {calls}, {spent.prompt_tokens:,} tokens in, {spent.completion_tokens:,} tokens out, "
        f"cost {spent.cost:.4f}"
    )


def events(seen: Sequence[Event], most: int = 12) -> str:
    """``grasp at 37, release at 74``: kinds and control steps."""
    words = [f"{event.kind.value} {'cut at' if event.cut else 'at'} {event.step}" for event in seen[:most]]
    more = [f"and {len(seen) - most} more"] if len(seen) > most else []
    return ", ".join(words + more) or "no events"
