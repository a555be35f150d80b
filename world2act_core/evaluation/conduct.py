"""How a trial went besides its outcome: what the safety filter would have refused, how smooth the commanded motion was,
how long the policy thought, and which states were passed through."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from world2act_core.types import Array


@dataclass(frozen=True)
class SafetyCounters:
    """What the safety filter says to a stream of commands; counted by ``runtime.safety.counting``.

    Attributes:
        steps: control steps in the stream.
        hits: kind of limit → commands that were refused for it. A refusal takes the rest of its chunk with it, so there
            is one a chunk at most.
        holds: control steps in which the arm would have held: the refused ones and what was left of their chunks.
        jerk_max, jerk_rms: of the commanded motion, in ``jerk_unit``.
        jerk_unit: ``m/s^3`` of the end effector's place, or ``rad/s^3`` of the joints.
    """

    steps: int
    hits: Mapping[str, int]
    holds: int
    jerk_max: float
    jerk_rms: float
    jerk_unit: str

    @property
    def all_hits(self) -> int:
        return sum(self.hits.values())


@dataclass(frozen=True)
class Conduct:
    """How one trial went.

    Attributes:
        safety: None if the contract says too little to judge its commands.
        latency_ms: of every chunk but the trial's first, which may load a model; empty for who is no policy.
        states: SHA-256 of the state streams at every step, see ``states_digest``.
    """

    safety: SafetyCounters | None = None
    latency_ms: Sequence[float] = field(default=(), hash=False)
    states: str = ""


def add_up(counters: Iterable[SafetyCounters]) -> SafetyCounters | None:
    """The counters of several trials as those of one long stream; None of none."""
    found = list(counters)
    if not found:
        return None
    steps = sum(one.steps for one in found)
    hits: Counter[str] = Counter()
    for one in found:
        hits.update(one.hits)
    squares = sum(one.steps * one.jerk_rms**2 for one in found)
    return SafetyCounters(
        steps=steps,
        hits=dict(sorted(hits.items())),
        holds=sum(one.holds for one in found),
        jerk_max=max(one.jerk_max for one in found),
        jerk_rms=math.sqrt(squares / max(1, steps)),
        jerk_unit=found[0].jerk_unit,
    )


def latency_figures(latency_ms: Sequence[float], deadline_ms: float) -> dict[str, Any]:
    """p50, p99 and maximum of chunks' times beside the deadline, milliseconds; JSON values.

    ``within`` says whether p99 keeps the deadline; without a chunk there are no figures.
    """
    if not latency_ms:
        return {"chunks": 0, "deadline_ms": deadline_ms}
    p50, p99 = (float(value) for value in np.percentile(latency_ms, (50, 99)))
    return {
        "chunks": len(latency_ms),
        "deadline_ms": deadline_ms,
        "p50_ms": round(p50, 3),
        "p99_ms": round(p99, 3),
        "max_ms": round(max(latency_ms), 3),
        "within": p99 <= deadline_ms,
    }


def states_digest(state: Mapping[str, Array]) -> str:
    """SHA-256 of state streams ``(T + 1, D)`` float32: two episodes with the same one are the same to the bit."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(f"{name}{state[name].shape}".encode())
        digest.update(np.ascontiguousarray(state[name], np.float32).tobytes())
    return digest.hexdigest()


def conduct_to_json(conduct: Conduct) -> dict[str, Any]:
    """JSON values."""
    return {**asdict(conduct), "latency_ms": list(conduct.latency_ms)}


def conduct_from_json(raw: Mapping[str, Any]) -> Conduct:
    """The inverse of ``conduct_to_json``.

    Raises:
        KeyError, TypeError: a field is missing or of the wrong kind.
    """
    safety = raw["safety"]
    latency = tuple(float(value) for value in raw["latency_ms"])
    if not isinstance(raw["states"], str):
        raise TypeError(f"states is {raw['states']!r}")
    return Conduct(None if safety is None else SafetyCounters(**safety), latency, raw["states"])
