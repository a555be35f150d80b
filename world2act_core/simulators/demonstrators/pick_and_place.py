"""Scripted pick-and-place: take one object after another and put each where it belongs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from world2act_core.simulators.demonstrators.grips import Grip, bounding_box
from world2act_core.simulators.demonstrators.script import CLOSING_STEPS, OPENING_STEPS, Mishaps, Script, up
from world2act_core.types import Array

FETCHES = 3
"""How often an object is picked up at most: once, and twice more if it was lost."""
WITHDRAW = 0.12
"""Metres that the hand rises when it has let go."""
LIFTED = 0.03
"""Metres that a held object has risen at least when the hand has lifted it."""


@dataclass(frozen=True)
class Place:
    """Where an object is put.

    Attributes:
        name: body or site that is there.
        carry: metres of the object's lowest point above it on the way.
        drop: metres of the object's lowest point above it when the object is let go.
        aside: metres in x and y from it, frame world.
    """

    name: str
    carry: float
    drop: float
    aside: tuple[float, float] = (0.0, 0.0)
    site: bool = False


@dataclass(frozen=True)
class Delivery:
    """One object's way.

    Attributes:
        prompts: of one skill, which picks up and puts down, or of two.
        item: the object's body.
        grip: how it is taken hold of.
        place: where it goes.
        clear: metres above the grasp at which the hand arrives: enough to pass over what stands in between.
    """

    prompts: tuple[str] | tuple[str, str]
    item: str
    grip: Grip
    place: Place
    clear: float = 0.12


class PickAndPlace(Script):
    """Reach over the object, grasp it, lift it, carry it over its place, lower it, let go, withdraw; then the next.

    Args:
        suite, task: the scene.
        deliveries: what to do there, in order.
    """

    def __init__(self, suite: str, task: int, deliveries: Sequence[Delivery], mishaps: Mishaps = Mishaps()) -> None:
        super().__init__(mishaps)
        self.suite, self.task = suite, task
        self._deliveries = tuple(deliveries)

    def plan(self) -> Iterator[Array]:
        for delivery in self._deliveries:
            pick, put = self._pick(delivery), self._put(delivery)
            if len(delivery.prompts) == 1:
                yield from self.skill(delivery.prompts[0], chain(pick, put))
            else:
                yield from self.skill(delivery.prompts[0], pick)
                yield from self.skill(delivery.prompts[1], put)
            yield from self._rise(self.gripper.open, WITHDRAW)

    def _pick(self, delivery: Delivery) -> Iterator[Array]:
        """From wherever the hand is to fingers closed around the object."""
        yield from self._reach(delivery, delivery.clear, within=0.015)
        yield from self._reach(delivery, 0.0, within=0.005)
        yield from self.stay(self.gripper.close, CLOSING_STEPS, self._facing)

    def _put(self, delivery: Delivery) -> Iterator[Array]:
        """From there to fingers open again, the object where it belongs; fetched again if it was lost on the way."""
        place = delivery.place
        for fetch in range(1, FETCHES + 1):
            if fetch > 1:
                yield from self._pick(delivery)
                self.redo(delivery.prompts[0])
            before = self._bottom(delivery)
            yield from self._rise(self.gripper.close, place.carry)
            if self._bottom(delivery) - before < LIFTED:
                continue
            yield from self._carry(delivery, place.carry, within=0.012)
            if self._bottom(delivery) - before >= LIFTED:
                break
        yield from self._carry(delivery, place.drop, within=0.006)
        yield from self.stay(self.gripper.open, OPENING_STEPS, self._facing)

    def _reach(self, delivery: Delivery, above: float, within: float) -> Iterator[Array]:
        _, self._facing = delivery.grip.pose(self.scene, delivery.item)

        def target() -> Array:
            return delivery.grip.pose(self.scene, delivery.item)[0] + up(above)

        yield from self.move(target, self.gripper.open, within, self._facing)

    def _rise(self, grip: float, metres: float) -> Iterator[Array]:
        yield from self.move(self.eef + up(metres), grip, 0.02, self._facing)

    def _carry(self, delivery: Delivery, height: float, within: float) -> Iterator[Array]:
        """Bring the object over its place: where it is counts, not where the hand is."""

        def target() -> Array:
            place, item = delivery.place, self.scene.position(delivery.item)
            goal = self.scene.site(place.name) if place.site else self.scene.position(place.name)
            way = goal + [*place.aside, height] - item
            way[2] = goal[2] + height - self._bottom(delivery)
            return self.eef + way

        yield from self.move(target, self.gripper.close, within, self._facing)

    def _bottom(self, delivery: Delivery) -> float:
        return bounding_box(self.scene, delivery.item).bottom
