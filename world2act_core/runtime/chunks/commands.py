"""What a control step can be: an action, or a hold with its reason."""

from __future__ import annotations

from dataclasses import dataclass

from world2act_core.types import Array


@dataclass(frozen=True)
class Track:
    """Execute ``values``, ``(A,)`` float32: step ``step`` of chunk number ``chunk``.

    Attributes:
        stamp: of the observation that the chunk answers, seconds on the arm's clock.
    """

    chunk: int
    step: int
    values: Array
    stamp: float


@dataclass(frozen=True)
class Hold:
    """Stay where you are, because of ``reason``."""

    reason: str


Command = Track | Hold
