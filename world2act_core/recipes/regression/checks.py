"""What is found good or bad about an entry's trials: success, safety, latency. Nothing here runs anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from world2act_core.evaluation import Trial
from world2act_core.evaluation.conduct import SafetyCounters, add_up
from world2act_core.evaluation.sequential import SequentialPairedTest
from world2act_core.evaluation.suite import SuiteResults
from world2act_core.evaluation.wording import points, points_interval
from world2act_core.pages.rates import MINUS, Interval, interval_name, percent, percent_interval, wilson_interval


@dataclass(frozen=True)
class Check:
    """One question about an entry, answered.

    Attributes:
        name: ``success``, ``safety``, ``latency`` or ``graph``.
        passed: whether the policy may go on.
        message: the answer in one sentence, with the figures behind it.
        figures: the same for programs; JSON values.
    """

    name: str
    passed: bool
    message: str
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SafetyLimits:
    """Most that the safety counters of an entry may be.

    A counter without a limit of its own is compared with the baseline's; without a baseline no hit and no hold is
    allowed, and jerk is only reported.

    Attributes:
        hits, holds: of all trials of an entry together.
        jerk_max, jerk_rms: in the counters' unit.
        tolerance: how much more than the baseline's is still alike, as a share of it; hits and holds are compared as
            rates a control step.
    """

    hits: int | None = None
    holds: int | None = None
    jerk_max: float | None = None
    jerk_rms: float | None = None
    tolerance: float = 0.25


def success_check(
    trials: Sequence[Trial],
    baseline: Sequence[Trial],
    test: SequentialPairedTest | None,
    non_inferior: float | None,
    differing: Sequence[str] = (),
) -> Check:
    """Whether the policy solves the task as the baseline did.

    Args:
        trials: the policy's, one a counted start.
        baseline: on the same starts in the same order; empty without a baseline.
        test: as ``Regression.test`` makes it, fed with them; None without a baseline.
        differing: in what else than the policy the two evaluations differ; it is said, and changes no verdict.
    """
    solved, n = sum(trial.success for trial in trials), len(trials)
    wilson = wilson_interval(solved, n)
    rate = f"{solved} of {n} solved, {percent(solved / n)} ({interval_name()} {percent_interval(wilson)})"
    figures: dict[str, Any] = {"successes": solved, "n": n, "wilson": list(wilson)}
    if test is None:
        return Check("success", True, f"{rate}; no baseline to compare with", figures)
    swapped = non_inferior is None
    decision = _decision(test, swapped)
    hopeless = decision == "not worse" and not solved and not any(trial.success for trial in baseline)
    decision = "open" if hopeless else decision
    gained, lost = (test.lost, test.gained) if swapped else (test.gained, test.lost)
    interval = Interval(-test.interval.high, -test.interval.low) if swapped else test.interval
    figures |= {
        "baseline_successes": sum(trial.success for trial in baseline),
        "gained": gained,
        "lost": lost,
        "alike": test.alike,
        "max_starts": test.max_starts,
        "decision": decision,
        "difference_confidence_sequence": list(interval),
        "confidence": test.confidence,
        "alpha": test.alpha,
        "margin": test.margin if not swapped else None,
    }
    counts = f"{lost} of {n} starts lost, {gained} gained, {test.alike} alike (of at most {test.max_starts})"
    band = f"success rate {points_interval(interval)} points, {interval_name(test.confidence)}".replace(MINUS, "-")
    note = "; neither solved a start, so there was nothing to lose" if hopeless else ""
    note += f"; note: not the baseline's: {', '.join(differing)}" if differing else ""
    return Check("success", *_answer(decision, test.margin, swapped, f"{counts}; {band}{note}"), figures)


def _decision(test: SequentialPairedTest, swapped: bool) -> str:
    """Seen from the policy: ``worse``, ``better``, ``not worse`` or ``open``."""
    if swapped:
        return {"shown": "worse", "worse": "better"}.get(test.decision or "", "open")
    return {"shown": "not worse", "worse": "worse"}.get(test.decision or "", "open")


def _answer(decision: str, lost: float, swapped: bool, counts: str) -> tuple[bool, str]:
    margin = f"{points(lost).lstrip('+')} points" if not swapped else ""
    if decision == "worse":
        return False, f"the policy is worse than the baseline{f' by more than {margin}' if margin else ''}: {counts}"
    if decision == "not worse":
        return True, f"the policy is not worse than the baseline by {margin} or more: {counts}"
    if not swapped:
        return False, f"it is not shown that the policy is not worse than the baseline by {margin} or more: {counts}"
    found = "the policy is better than the baseline" if decision == "better" else "no loss is shown"
    return True, f"{found}: {counts}"


def safety_check(trials: Sequence[Trial], baseline: Sequence[Trial], limits: SafetyLimits) -> Check:
    """Whether the safety filter would have refused no more than it may, and the commands are as smooth as they were."""
    counters = counters_of(trials)
    if counters is None:
        why = "no safety counters: the trials are of a version that kept none, or the contract says too little"
        return Check("safety", False, f"{why}; evaluate into another folder")
    before = counters_of(baseline)
    figures = {"counters": asdict(counters), "baseline": None if before is None else asdict(before)}
    kinds = ", ".join(f"{kind} {count}" for kind, count in counters.hits.items()) or "none"
    unit = counters.jerk_unit
    said = (
        f"limit hits: {kinds}; {counters.holds} of {counters.steps} steps held; jerk max {counters.jerk_max:.4g}, "
        f"rms {counters.jerk_rms:.4g} {unit}"
    )
    excesses = list(_excesses(counters, before, limits))
    if excesses:
        return Check("safety", False, f"{'; '.join(excesses)} ({said})", figures)
    compared = "the baseline has no counters, so jerk is only reported; " if baseline and before is None else ""
    return Check("safety", True, f"{compared}{said}", figures)


def counters_of(trials: Sequence[Trial]) -> SafetyCounters | None:
    """The counters of all trials together; None if any has none."""
    found = [trial.conduct.safety for trial in trials if trial.conduct and trial.conduct.safety]
    return add_up(found) if len(found) == len(trials) else None


def _excesses(now: SafetyCounters, before: SafetyCounters | None, limits: SafetyLimits) -> Iterator[str]:
    if limits.hits is not None:
        if now.all_hits > limits.hits:
            yield f"{now.all_hits} limit hits, at most {limits.hits} are allowed"
    else:
        for kind, count in now.hits.items():
            yield from _rate_excess(
                f"limit hits of {kind}", count, now, before.hits.get(kind, 0) if before else None, before, limits
            )
    if limits.holds is not None:
        if now.holds > limits.holds:
            yield f"{now.holds} steps held, at most {limits.holds} are allowed"
    elif now.holds:
        yield from _rate_excess("steps held", now.holds, now, before.holds if before else None, before, limits)
    for name in ("jerk_max", "jerk_rms"):
        value, limit = getattr(now, name), getattr(limits, name)
        words = name.replace("_", " ")
        if limit is not None and value > limit:
            yield f"{words} is {value:.4g} {now.jerk_unit}, at most {limit:.4g} is allowed"
        elif limit is None and before is not None and value > (1 + limits.tolerance) * getattr(before, name):
            yield (
                f"{words} is {value:.4g} {now.jerk_unit}, the baseline's {getattr(before, name):.4g} "
                f"(at most {100 * limits.tolerance:g} % more)"
            )


def _rate_excess(
    what: str, count: int, now: SafetyCounters, other: int | None, before: SafetyCounters | None, limits: SafetyLimits
) -> Iterator[str]:
    if before is None or other is None:
        yield f"{count} {what}, none is allowed without a baseline or a limit"
    elif count / now.steps > (1 + limits.tolerance) * other / before.steps:
        yield (
            f"{count} {what} in {now.steps} steps, the baseline has {other} in {before.steps} "
            f"(at most {100 * limits.tolerance:g} % more)"
        )


def latency_check(results: SuiteResults, max_latency_ms: float | None) -> Check:
    """Whether a chunk's 99th percentile is short enough; only reported without ``max_latency_ms``."""
    figures = {**results.latency, "max_latency_ms": max_latency_ms}
    if not figures["chunks"]:
        why = "no chunk was timed: trials of one chunk, or no policy"
        return Check("latency", max_latency_ms is None, why, figures)
    said = f"{figures['chunks']} chunks, p50 {figures['p50_ms']:.1f} ms, p99 {figures['p99_ms']:.1f} ms"
    deadline = f"a chunk lasts {figures['deadline_ms']:.0f} ms"
    late = "" if figures["within"] else ", so the arm would wait for the policy"
    if max_latency_ms is not None and figures["p99_ms"] > max_latency_ms:
        return Check("latency", False, f"{said}, at most {max_latency_ms:g} ms is allowed; {deadline}{late}", figures)
    return Check("latency", True, f"{said}; {deadline}{late}", figures)
