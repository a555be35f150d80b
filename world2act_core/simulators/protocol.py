"""The one protocol behind which every simulator stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from world2act_core.embodiment import Embodiment
from world2act_core.simulators.starts import Start
from world2act_core.types import Array, Observation

PLACEHOLDER = "placeholder"
"""``assets`` among what a simulator or a result says of itself, where stand-ins for a benchmark's own are simulated:
nothing that comes of it says anything about the benchmark."""


class Simulator(Protocol):
    """A robot in a simulated scene. Images are rendered only when a caller names cameras."""

    embodiment: Embodiment
    suite: str
    task_index: int
    """Which task of which suite it simulates."""
    task: str
    """The instruction in words."""
    horizon: int
    """Most control steps an episode may take (the papers' protocol; settle steps not counted)."""

    def reset(self, start: Start) -> None:
        """Put the scene into a start state and let it settle; simulated time becomes 0."""

    def observe(self, cameras: Sequence[str] = ()) -> Observation:
        """State now, with images of the named cameras, upright."""

    def step(self, action: Array) -> bool:
        """Apply one action ``(A,)`` for one control step; True once the task is solved."""

    def close(self) -> None:
        """Free the simulator."""
