"""What a gate found: the paired trials it counted, the question it asked, and everything needed to check the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import cached_property
from typing import Any

from world2act_core.evaluation.results import trial_from_json, trial_to_json, versions_used
from world2act_core.evaluation.sequential import Decision, SequentialPairedTest, sequential_test
from world2act_core.evaluation.trials import PairedTrials


@dataclass(frozen=True)
class Gate:
    """A gate that has ended. What it decided follows from its trials and is not stored beside them.

    Attributes:
        trials: the starts that were counted, in the order in which they were.
        max_starts, margin, alpha: the question, as ``SequentialPairedTest`` takes it; ``margin`` 0 asks for better.
        task: suite and task, e.g. ``libero_goal/8``.
        embodiment: name of the embodiment contract.
        digests: SHA-256 of the files that make the two policies, by name.
        finished: when, in UTC.
        seed, jitter_cm: what the fresh starts were drawn from; no ``jitter_cm`` if they were not displaced.
        used_starts: stage → number of starts that it touched; none of them is a start of the gate.
        earlier: earlier gates of the same files, with how they ended or on how many starts they were stopped, see
            ``recipes.gate_questions.earlier_gates``. Who asks often enough gets any answer.
        commit: of the code, "" if unknown.
        versions: package → version.
    """

    trials: PairedTrials
    max_starts: int
    margin: float
    alpha: float
    task: str
    embodiment: str
    digests: Mapping[str, str]
    finished: datetime
    seed: int = 0
    jitter_cm: float | None = None
    used_starts: Mapping[str, int] = field(default_factory=dict)
    earlier: Sequence[Mapping[str, Any]] = field(default_factory=list)
    commit: str = ""
    versions: Mapping[str, str] = field(default_factory=versions_used)

    @cached_property
    def test(self) -> SequentialPairedTest:
        """The sequential test at the last counted start."""
        pairs = [(base.success, post.success) for base, post in zip(self.trials.base, self.trials.post, strict=True)]
        return sequential_test(pairs, self.max_starts, self.margin, self.alpha)

    @property
    def nothing_to_lose(self) -> bool:
        """Neither policy solved a start: that none was lost says nothing."""
        return not self.trials.base_successes + self.trials.post_successes

    @property
    def verdict(self) -> Decision | None:
        """What the test decided, but nothing is shown of policies that solved nothing."""
        return "not shown" if self.nothing_to_lose and self.test.decision == "shown" else self.test.decision

    @property
    def passed(self) -> bool:
        return self.verdict == "shown"

    @property
    def mode(self) -> str:
        """``superiority`` or ``non-inferiority``."""
        return "non-inferiority" if self.margin else "superiority"


def gate_to_json(gate: Gate) -> dict[str, Any]:
    """JSON values; what follows from the trials is repeated for readers without this library."""
    test = gate.test
    stored = {f.name: getattr(gate, f.name) for f in fields(gate) if f.name != "trials"}
    return {
        **stored,
        "finished": gate.finished.isoformat(),
        "digests": dict(gate.digests),
        "used_starts": dict(gate.used_starts),
        "earlier": [dict(entry) for entry in gate.earlier],
        "versions": dict(gate.versions),
        "mode": gate.mode,
        "verdict": gate.verdict,
        "passed": gate.passed,
        "wealth": test.wealth,
        "wealth_worse": test.wealth_worse,
        "wealth_needed": 1 / gate.alpha,
        "counts": {
            "starts": test.starts,
            "both": gate.trials.count("both"),
            "only_base": test.lost,
            "only_post_trained": test.gained,
            "neither": gate.trials.count("neither"),
        },
        "difference": gate.trials.difference,
        "confidence_sequence": list(test.interval),
        "confidence": test.confidence,
        "starts": list(gate.trials.start_ids),
        "trials": {
            "base": [trial_to_json(trial) for trial in gate.trials.base],
            "post_trained": [trial_to_json(trial) for trial in gate.trials.post],
        },
    }


def gate_from_json(raw: Mapping[str, Any]) -> Gate:
    """The inverse of ``gate_to_json``.

    Raises:
        KeyError, TypeError: a value is missing or of the wrong kind.
        ValueError: the verdict it states does not follow from its trials.
        RunError: its trials do not pair.
    """
    sides = [tuple(trial_from_json(trial) for trial in raw["trials"][side]) for side in ("base", "post_trained")]
    stored = {f.name: raw[f.name] for f in fields(Gate) if f.name != "trials"}
    gate = Gate(PairedTrials(*sides), **{**stored, "finished": datetime.fromisoformat(raw["finished"])})
    if gate.verdict != raw["verdict"] or gate.test.starts != gate.trials.n:
        raise ValueError(f"its trials say {gate.verdict}, it says {raw['verdict']}")
    return gate
