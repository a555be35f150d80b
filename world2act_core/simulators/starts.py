"""Initial states with an identity, so that every trial can be repeated and every split can be proven disjoint."""

from __future__ import annotations

import re
from dataclasses import dataclass

from world2act_core.errors import World2ActError

OFFICIAL_STATES = 50
"""Initial states that LIBERO ships for each of its tasks (``init_files/SUITE/TASK.pruned_init``)."""

_PATTERN = re.compile(
    r"^(?P<suite>\w+(?:@\w+)?)/(?P<task>\d+)/i(?P<index>\d+)(?:\+(?P<jitter>[\d.]+)cm#(?P<seed>\d+))?$"
)


def contract_of(suite: str) -> tuple[str, str]:
    """``libero_goal@libero_panda_joints`` → the suite whose scenes these are, and the contract of the arm in them; ""
    for the arm that the suite has by itself."""
    scenes, _, contract = suite.partition("@")
    return scenes, contract


@dataclass(frozen=True)
class Start:
    """One initial state: an official one of a task, its movable objects displaced by a seeded amount.

    Attributes:
        suite: e.g. ``libero_goal``; with ``@CONTRACT``, under that contract, see ``contract_of``.
        task: index of the task within the suite.
        index: index of the official initial state.
        jitter_cm: half-width of the uniform displacement of every movable object in x and y, centimetres; 0 is the
            official state to the bit.
        seed: seed of the displacement.
    """

    suite: str
    task: int
    index: int
    jitter_cm: float = 0.0
    seed: int = 0

    @property
    def id(self) -> str:
        """``libero_goal/8/i12+3cm#7``: the identity that bags, manifests and services carry."""
        official = f"{self.suite}/{self.task}/i{self.index}"
        return f"{official}+{self.jitter_cm:g}cm#{self.seed}" if self.jitter_cm else official

    @staticmethod
    def parse(text: str) -> Start:
        """The inverse of ``id``."""
        match = _PATTERN.match(text)
        if not match:
            raise World2ActError(f"{text!r} is not a start: expected something like libero_goal/8/i12+3cm#7")
        found = match.groupdict()
        return Start(
            suite=found["suite"],
            task=int(found["task"]),
            index=int(found["index"]),
            jitter_cm=float(found["jitter"] or 0),
            seed=int(found["seed"] or 0),
        )


def jittered_starts(
    suite: str, task: int, indices: range | list[int], jitter_cm: float, count: int, first_seed: int
) -> list[Start]:
    """``count`` starts that cycle through official states, each with its own displacement seed."""
    pool = list(indices)
    return [Start(suite, task, pool[i % len(pool)], jitter_cm, first_seed + i) for i in range(count)]
