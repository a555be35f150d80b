"""Trials of two policies on the same starts, and the proof that nobody trained on those starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from world2act_core.errors import RunError, World2ActError
from world2act_core.evaluation.conduct import Conduct
from world2act_core.evaluation.statistics import (
    Interval,
    Verdict,
    exact_paired_p,
    paired_difference_interval,
    verdict,
    wilson_interval,
)
from world2act_core.simulators.starts import Start

Outcome = Literal["both", "only base", "only post-trained", "neither"]


@dataclass(frozen=True)
class Trial:
    """One attempt of one policy from one start.

    A trial that broke (simulator crash, policy server gone) is not a trial: it is tried once more or raises, and is
    never a failure of the policy.

    Attributes:
        start_id: identity of the start (``simulators.starts.Start.id``).
        policy: who acted, e.g. ``base`` or ``post-trained``.
        success: whether the task was solved within the horizon.
        steps: control steps taken (settle steps not counted).
        seconds: wall time of the attempt.
        conduct: safety counters, latency and states, if whoever ran it kept them.
        attempts: how often it was begun; 2 marks one whose first simulator or worker died.
    """

    start_id: str
    policy: str
    success: bool
    steps: int
    seconds: float
    conduct: Conduct | None = None
    attempts: int = 1


@dataclass(frozen=True)
class PairedTrials:
    """The base and the post-trained policy on the same starts, in the same order.

    Build it with ``pair_trials``. Rates, intervals and the verdict are properties, so that they cannot disagree
    with the trials.

    Attributes:
        base, post: one trial a start; ``base[i].start_id == post[i].start_id``.

    Raises:
        RunError: no trials, a start twice, sides that do not match, or two policies on one side.
    """

    base: tuple[Trial, ...]
    post: tuple[Trial, ...]

    def __post_init__(self) -> None:
        for side, trials in (("base", self.base), ("post-trained", self.post)):
            _check_side(side, trials)
        if [trial.start_id for trial in self.base] != [trial.start_id for trial in self.post]:
            raise RunError("the two sides of a paired evaluation list different starts: build it with pair_trials")

    @property
    def n(self) -> int:
        """Number of starts."""
        return len(self.base)

    @property
    def start_ids(self) -> tuple[str, ...]:
        return tuple(trial.start_id for trial in self.base)

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """What happened on each start, in order."""
        return tuple(_outcome(base.success, post.success) for base, post in zip(self.base, self.post, strict=True))

    def count(self, outcome: Outcome) -> int:
        """Number of starts with this outcome."""
        return self.outcomes.count(outcome)

    @property
    def base_successes(self) -> int:
        return sum(trial.success for trial in self.base)

    @property
    def post_successes(self) -> int:
        return sum(trial.success for trial in self.post)

    @property
    def base_interval(self) -> Interval:
        """Wilson interval of the base policy's success rate."""
        return wilson_interval(self.base_successes, self.n)

    @property
    def post_interval(self) -> Interval:
        """Wilson interval of the post-trained policy's success rate."""
        return wilson_interval(self.post_successes, self.n)

    @property
    def difference(self) -> float:
        """Success rate of the post-trained policy minus that of the base."""
        return (self.post_successes - self.base_successes) / self.n

    @property
    def difference_interval(self) -> Interval:
        """Newcombe's paired score interval (1998, method 10) of the difference."""
        return paired_difference_interval(
            self.count("both"), self.count("only base"), self.count("only post-trained"), self.count("neither")
        )

    @property
    def p_value(self) -> float:
        """Exact McNemar test, two-sided."""
        return exact_paired_p(self.count("only base"), self.count("only post-trained"))

    @property
    def verdict(self) -> Verdict:
        """Of the post-trained policy against the base, by the exact test."""
        return verdict(self.count("only base"), self.count("only post-trained"))


def pair_trials(base: Iterable[Trial], post: Iterable[Trial]) -> PairedTrials:
    """Pair two lists of trials by start, in the order of the base's.

    Raises:
        RunError: a start was tried by one policy only, or twice by the same, or there are none.
    """
    base = tuple(base)
    post = tuple(post)
    _check_side("base", base)
    _check_side("post-trained", post)
    by_start = {trial.start_id: trial for trial in post}
    missing = [trial.start_id for trial in base if trial.start_id not in by_start]
    if missing:
        raise RunError(_one_sided("base", "post-trained", missing))
    known = {trial.start_id for trial in base}
    extra = [trial.start_id for trial in post if trial.start_id not in known]
    if extra:
        raise RunError(_one_sided("post-trained", "base", extra))
    return PairedTrials(base, tuple(by_start[trial.start_id] for trial in base))


def held_out_or_raise(evaluation_start_ids: Iterable[str], used: Mapping[str, Collection[str]]) -> None:
    """Prove from the manifests that no start of an evaluation was seen in training.

    Starts are compared by what they are, not how they are spelled: ``+3cm#7`` and ``+3.0cm#7`` are one start.

    Args:
        evaluation_start_ids: the starts to be evaluated on.
        used: stage name → starts that the stage touched, as its manifest lists them (empty for a stage that reads
            only other stages' outputs).

    Raises:
        RunError: a start leaked (names stage and start), a stage lists an episode without start, or there is no
            manifest at all, which would prove nothing.
    """
    if not used:
        raise RunError("the starts cannot be proven held out without the manifest of any training stage: give them")
    held_out = {_canonical(start): start for start in evaluation_start_ids}
    for stage, starts in used.items():
        if "" in starts:
            raise RunError(
                f"stage {stage} used an episode without a start id, so the evaluation starts cannot be proven held "
                f"out: record its start or leave the episode out"
            )
        leaked = sorted({held_out[_canonical(start)] for start in starts if _canonical(start) in held_out})
        if leaked:
            more = f" and {len(leaked) - 1} more" if len(leaked) > 1 else ""
            raise RunError(
                f"start {leaked[0]}{more} of the evaluation was used by stage {stage}: evaluate on other starts or "
                f"train without it"
            )


def _check_side(side: str, trials: tuple[Trial, ...]) -> None:
    if not trials:
        raise RunError(f"there is no trial of the {side} policy: run the evaluation first")
    policies = sorted({trial.policy for trial in trials})
    if len(policies) > 1:
        raise RunError(f"the {side} side mixes trials of {' and '.join(policies)}: give the trials of one policy")
    start, times = Counter(trial.start_id for trial in trials).most_common(1)[0]
    if times > 1:
        raise RunError(f"start {start} was tried {times} times by the {side} policy: a paired test counts each once")


def _one_sided(has: str, lacks: str, starts: list[str]) -> str:
    more = f" and {len(starts) - 1} more" if len(starts) > 1 else ""
    return f"start {starts[0]}{more} was tried by the {has} policy but not by the {lacks} one: finish the evaluation"


def _outcome(base: bool, post: bool) -> Outcome:
    if base and post:
        return "both"
    if base:
        return "only base"
    return "only post-trained" if post else "neither"


def _canonical(start_id: str) -> str:
    try:
        return Start.parse(start_id).id
    except World2ActError:  # not a simulator's start, e.g. a scene on a real table: compared as written
        return start_id
