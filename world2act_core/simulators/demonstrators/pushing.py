"""A plate pushed over the table from within: both open fingers stand on it and take it along by the rim."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from world2act_core.simulators.demonstrators.deeds import Deed, across
from world2act_core.simulators.demonstrators.script import Script, fingers_down, up
from world2act_core.simulators.privileged import Scene
from world2act_core.types import Array

ABOVE, TOUCH, PRESS = 0.08, 0.02, 0.004
"""Metres of the end effector above the plate's origin: where it arrives, where the fingertips all but touch the plate,
and where the controller pulls it when it pushes: higher and the fingers ride over the rim, lower and all is stuck."""
PUSH, LIFT = 0.04, 0.05
"""Metres ahead of and above the hand to which the controller pulls it."""
NEAR, FAR = 0.012, 0.2
"""Metres between plate and goal when it is there, where LIBERO allows 4 cm in x and in y, and about so far before."""


@dataclass(frozen=True)
class PushPlate(Deed):
    """Push a plate straight to a place, the gripper open all the time.

    From outside the hand would have to stand between the plate and what is behind it.

    Attributes:
        plate: the object that is pushed.
        site: the place.
        aside: metres in x and y, frame world, from the place's middle to where the plate goes.
    """

    prompt: str
    plate: str
    site: str
    aside: tuple[float, float] = (0.0, 0.0)

    @property
    def part(self) -> str:
        return f"{self.plate}_main"

    def done(self, scene: Scene) -> float:
        return 1 - (float(np.linalg.norm(self._way(scene))) - NEAR) / FAR

    def reach(self, script: Script) -> Iterator[Array]:
        for height, within in ((ABOVE, 0.03), (TOUCH, 0.012)):
            target = script.scene.position(self.plate) + up(height)
            yield from script.move(target, script.gripper.open, within, self._facing(script.scene))

    def exert(self, script: Script) -> Array:
        plate, way = script.scene.position(self.plate), self._way(script.scene)
        ahead = way / np.linalg.norm(way)
        target = plate + ahead * (ahead @ (script.eef - plate) + PUSH) + up(PRESS)
        return script.towards(target, script.gripper.open, self._facing(script.scene))

    def leave(self, script: Script) -> Array:
        return script.towards(script.eef + up(LIFT), script.gripper.open, script.orientation)

    def _way(self, scene: Scene) -> Array:
        """From the plate to its goal, ``(3,)`` metres, level, frame world."""
        way = scene.site(self.site) - scene.position(self.plate)
        return np.array([way[0] + self.aside[0], way[1] + self.aside[1], 0.0])

    def _facing(self, scene: Scene) -> Array:
        """Fingers abreast, so that the plate cannot turn away from them."""
        return fingers_down(across(self._way(scene)))
