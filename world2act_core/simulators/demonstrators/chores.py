"""Demonstrators that do one thing after another, be it to carry something or to push, turn or shut it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from world2act_core.simulators.demonstrators.deeds import Deed, InTurn
from world2act_core.simulators.demonstrators.pick_and_place import Delivery, PickAndPlace
from world2act_core.simulators.demonstrators.script import NONE, Mishaps
from world2act_core.types import Array

Chore = Delivery | Deed | InTurn


class Chores(PickAndPlace):
    """Deliveries and deeds in order; after each the hand withdraws.

    Args:
        suite, task: the scene.
        chores: what to do there.
    """

    def __init__(self, suite: str, task: int, chores: Sequence[Chore], mishaps: Mishaps = NONE) -> None:
        super().__init__(suite, task, (), mishaps)
        self._chores = tuple(chores)

    def plan(self) -> Iterator[Array]:
        for chore in self._chores:
            if isinstance(chore, Delivery):
                yield from self.deliver(chore)
            else:
                yield from self.skill(chore.prompt, chore.carry_out(self))
                yield from chore.withdraw(self)
