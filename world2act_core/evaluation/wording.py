"""How numbers and the verdict are said, the same in the console, the report and the picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from world2act_core.evaluation.gate import Gate
from world2act_core.evaluation.trials import PairedTrials, Trial
from world2act_core.pages.rates import MINUS, Interval
from world2act_core.simulators.protocol import PLACEHOLDER


def points(difference: float) -> str:
    """A difference of rates in percentage points, with its sign: ``+65.0``."""
    value = round(100 * difference, 1)
    sign = "+" if value > 0 else MINUS if value < 0 else "±"
    return f"{sign}{abs(value):.1f}"


def points_interval(interval: Interval) -> str:
    """``+46.9 to +77.2``."""
    return f"{points(interval.low)} to {points(interval.high)}"


def p_value(p: float) -> str:
    """``p = 0.016``, ``p = 3.0e-08``."""
    return f"p = {p:.1e}" if p < 0.001 else f"p = {p:.3f}"


def verdict_in_words(trials: PairedTrials, names: tuple[str, str] = ("base", "post-trained")) -> str:
    """One sentence: what the exact test says, no more; ``names`` are the policies', that of ``trials.base`` first."""
    base, post = names
    gained, lost = trials.count("only post-trained"), trials.count("only base")
    if trials.verdict == "better":
        return f"The {post} policy is better than the {base} policy."
    if trials.verdict == "worse":
        return f"The {post} policy is worse than the {base} policy."
    if not gained + lost:
        return "No difference: both policies succeeded and failed on the same starts."
    return "No difference: these trials cannot tell the policies apart."


def evidence(trials: PairedTrials) -> str:
    """The counts behind the verdict: ``26 starts gained, 0 lost, 14 alike``."""
    gained, lost = trials.count("only post-trained"), trials.count("only base")
    starts = "start" if gained == 1 else "starts"
    return f"{gained} {starts} gained, {lost} lost, {trials.n - gained - lost} alike"


def tried_again(trials: Iterable[Trial]) -> str:
    """A note on trials that were begun more than once; "" if there are none."""
    again = sum(trial.attempts > 1 for trial in trials)
    what = "trial was begun twice because its" if again == 1 else "trials were begun twice because their"
    return f"{again} {what} simulator or worker died the first time" if again else ""


def gate_in_words(gate: Gate) -> str:
    """One clause: what the sequential test says, no more."""
    points_lost = f"{100 * gate.margin:g} points"
    if gate.test.decision == "worse":
        more = f" by more than {points_lost}" if gate.margin else ""
        return f"the post-trained policy is worse than the base policy{more}"
    not_worse = f"the post-trained policy is not worse than the base policy by {points_lost} or more"
    claim = not_worse if gate.margin else "the post-trained policy is better than the base policy"
    if gate.passed:
        return claim
    left = gate.max_starts - gate.trials.n
    why = f"not even gains on all {left} starts left could show it" if left else "all starts are used"
    if gate.verdict != gate.test.decision:
        why = "neither policy solved a start, so there was nothing to lose"
    return f"it is not shown that {claim}; {why}"


def asked_before(entry: Mapping[str, Any]) -> str:
    """One of a gate's ``earlier``: ``is it better (seed 0, 3 cm, alpha 0.05)? Not shown after 60 starts``."""
    margin, alpha, verdict, starts = (entry[name] for name in ("margin", "alpha", "verdict", "starts"))
    claim = "better" if margin == 0 else f"not worse by {100 * margin:g} points or more" if margin else "good enough"
    level = "question not kept" if alpha is None else f"alpha {alpha:g}"
    found = f"No verdict, {starts} starts tried" if verdict is None else f"{verdict.capitalize()} after {starts} starts"
    return f"is it {claim} (seed {entry['seed']}, {entry['jitter_cm']:g} cm, {level})? {found}"


def stand_ins(protocol: Mapping[str, Any]) -> str:
    """What has to stand beside every figure that was simulated with stand-ins for a benchmark's assets; "" for others.

    Args:
        protocol: of ``evaluation.json``.
    """
    if protocol.get("assets") != PLACEHOLDER:
        return ""
    return "assets: placeholder (stand-ins for the benchmark's own: no result about the benchmark)"
