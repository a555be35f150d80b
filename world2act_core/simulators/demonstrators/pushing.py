"""A plate pushed over the table from within: both open fingers stand on it and take it along by the rim."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from world2act_core.simulators.demonstrators.deeds import Deed, across
from world2act_core.simulators.demonstrators.script import Script, fingers_down, up
from world2act_core.simulators.privileged import Scene
from world2act_core.types import Array

ABOVE, TOUCH, PRESS = 0.1, 0.02, 0.008
"""Metres of the end effector above the plate's origin: where it arrives, where the fingertips all but touch the plate,
and where the controller pulls it when it pushes: less would let the fingers ride over the rim, which is 1.5 cm high."""
PUSH, LIFT = 0.04, 0.05
"""Metres ahead of and above the hand to which the controller pulls it."""
NEAR, FAR = 0.012, 0.25
"""Metres between plate and goal when it is there, where LIBERO allows 4 cm in x and in y, and about so far before."""
CORNER = 0.015
"""Metres before the end of the first leg at which the plate begins to turn into the second."""


@dataclass(frozen=True)
class PushPlate(Deed):
    """Push a plate to a place in two legs at right angles, the gripper open all the time.

    From outside the hand would have to stand between the plate and what is behind it.

    Attributes:
        plate: the object that is pushed.
        site: the place.
        aside: metres in x and y, frame world, from the place's middle to where the plate goes.
        around: the second leg, in metres in x and y, from its end to its beginning: it leads around what is in the way.
    """

    prompt: str
    plate: str
    site: str
    aside: tuple[float, float]
    around: tuple[float, float]

    @property
    def part(self) -> str:
        return f"{self.plate}_main"

    def done(self, scene: Scene) -> float:
        return 1 - (float(np.linalg.norm(self._way(scene))) - NEAR) / FAR

    def reach(self, script: Script) -> Iterator[Array]:
        for height, within in ((ABOVE, 0.03), (TOUCH, 0.012)):
            target = script.scene.position(self.plate) + up(height)
            yield from script.move(target, script.gripper.open, within, self._facing())

    def exert(self, script: Script) -> Array:
        plate, way = script.scene.position(self.plate), self._way(script.scene)
        around, first = np.array([*self.around, 0.0]), self._first_leg()
        to_corner = way + around * min(1.0, abs(first @ way) / CORNER)
        ahead = to_corner / np.linalg.norm(to_corner)
        target = plate + ahead * (ahead @ (script.eef - plate) + PUSH) + up(PRESS)
        return script.towards(target, script.gripper.open, self._facing())

    def leave(self, script: Script) -> Array:
        return script.towards(script.eef + up(LIFT), script.gripper.open, self._facing())

    def _way(self, scene: Scene) -> Array:
        """From the plate to its goal, ``(3,)`` metres, level, frame world."""
        way = scene.site(self.site) - scene.position(self.plate)
        return np.array([way[0] + self.aside[0], way[1] + self.aside[1], 0.0])

    def _first_leg(self) -> Array:
        """Unit vector ``(3,)`` along it, to or fro."""
        return np.cross(up(1.0), np.array([*self.around, 0.0]) / np.hypot(*self.around))

    def _facing(self) -> Array:
        """Fingers abreast on the first leg, so that the plate cannot turn away."""
        return fingers_down(across(self._first_leg()))
