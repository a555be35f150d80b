"""Scripted pick-and-place: take one object after another and put each where it belongs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np

from world2act_core.simulators.demonstrators.grips import Grip, bounding_box
from world2act_core.simulators.demonstrators.script import CLOSING_STEPS, NONE, OPENING_STEPS, Mishaps, Script, up
from world2act_core.types import Array

WITHDRAW = 0.12
"""Metres that the hand rises when it has let go."""
LIFTED = 0.03
"""Metres that a held object has risen at least when the hand has lifted it."""
FETCHES = 3
"""How often an object is picked up at most: once, and twice more if it was lost on the way."""
OVERHEAD = 0.05
"""Metres above a grasp at which the fingertips clear the object."""
DROPPED_AFTER, COMES_TO_REST = (6, 22), 10
"""Control steps of lifting and carrying before a drop, and those that the object is given to come to rest."""


@dataclass(frozen=True)
class Place:
    """Where an object is put.

    Attributes:
        name: body that is there, or site.
        carry: metres between the object's lowest point and it, or what it lay on, whichever is higher, on the way.
        drop: metres between the object's lowest point and it when the object is let go.
        aside: metres in x and y from it, frame world.
        site: whether ``name`` is a site.
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

    def __init__(self, suite: str, task: int, deliveries: Sequence[Delivery], mishaps: Mishaps = NONE) -> None:
        super().__init__(mishaps)
        self.suite, self.task = suite, task
        self._deliveries = tuple(deliveries)

    def plan(self) -> Iterator[Array]:
        for delivery in self._deliveries:
            yield from self.deliver(delivery)

    def deliver(self, delivery: Delivery) -> Iterator[Array]:
        """One object, from wherever the hand is until it has withdrawn from the object in its place."""
        pick, put = self._pick(delivery), self._put(delivery)
        if len(delivery.prompts) == 1:
            yield from self.skill(delivery.prompts[0], chain(pick, put))
        else:
            yield from self.skill(delivery.prompts[0], pick)
            yield from self.skill(delivery.prompts[1], put)
        yield from self._rise(self.gripper.open, WITHDRAW)

    def _pick(self, delivery: Delivery) -> Iterator[Array]:
        """From wherever the hand is to fingers closed around the object."""
        self._foot = self.scene.position(delivery.item)[2] - bounding_box(self.scene, delivery.item).bottom
        yield from self._reach(delivery, delivery.clear, within=0.015)
        if self.rng.random() < self.mishaps.regrasp:
            yield from self._grasp_in_vain(delivery, above=self.rng.choice([0.0, OVERHEAD]))
        yield from self._reach(delivery, 0.0, within=0.005)
        yield from self.stay(self.gripper.close, CLOSING_STEPS, self._facing)

    def _put(self, delivery: Delivery) -> Iterator[Array]:
        """From there to fingers open again, the object where it belongs; fetched again if it was lost on the way."""
        for fetch in range(1, FETCHES + 1):
            if fetch > 1:
                yield from self._pick(delivery)
                self.redo(delivery.prompts[0])
            lay, goal = self._bottom(delivery), self._goal(delivery.place)[2]
            travel = max(lay, goal) + delivery.place.carry
            lift = self._rise(self.gripper.close, travel - lay)
            way = self._carry(delivery, travel - goal, within=0.012)
            if fetch == 1 and self.rng.random() < self.mishaps.drop:
                yield from islice(chain(lift, way), int(self.rng.integers(*DROPPED_AFTER, endpoint=True)))
                yield from self.stay(self.gripper.open, OPENING_STEPS + COMES_TO_REST, self._facing)
                continue
            yield from lift
            if self._bottom(delivery) - lay < LIFTED:
                continue
            yield from way
            if self._bottom(delivery) - lay >= LIFTED:
                break
        yield from self._carry(delivery, delivery.place.drop, within=0.006)
        yield from self.stay(self.gripper.open, OPENING_STEPS, self._facing)

    def _grasp_in_vain(self, delivery: Delivery, above: float) -> Iterator[Array]:
        """Fingers close above the object, or around it, and open again at once."""
        yield from self._reach(delivery, above, within=0.005)
        yield from self.stay(self.gripper.close, CLOSING_STEPS, self._facing)
        yield from self.stay(self.gripper.open, OPENING_STEPS, self._facing)
        yield from self._reach(delivery, OVERHEAD, within=0.015)

    def _reach(self, delivery: Delivery, above: float, within: float) -> Iterator[Array]:
        grasp, self._facing = delivery.grip.pose(self.scene, delivery.item)
        offset = grasp - self.scene.position(delivery.item) + up(above)

        def target() -> Array:
            return self.scene.position(delivery.item) + offset

        yield from self.move(target, self.gripper.open, within, self._facing)

    def _rise(self, grip: float, metres: float) -> Iterator[Array]:
        yield from self.move(self.eef + up(metres), grip, 0.02, self._facing)

    def _carry(self, delivery: Delivery, height: float, within: float) -> Iterator[Array]:
        """Bring the object over its place: where it is counts, not where the hand is."""

        def target() -> Array:
            goal = self._goal(delivery.place) + up(height + self._foot)
            return self.eef + goal - self.scene.position(delivery.item)

        yield from self.move(target, self.gripper.close, within, self._facing)

    def _goal(self, place: Place) -> Array:
        where = self.scene.site(place.name) if place.site else self.scene.position(place.name)
        return where + np.array([*place.aside, 0.0])

    def _bottom(self, delivery: Delivery) -> float:
        """Metres, frame world: height of the object's lowest point as it lay, whatever its tilt in the hand."""
        return float(self.scene.position(delivery.item)[2] - self._foot)
