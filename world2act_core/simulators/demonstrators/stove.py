"""The knob of LIBERO's flat stove, turned by its tip with a closed fist."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from world2act_core.simulators.demonstrators.deeds import Deed, across
from world2act_core.simulators.demonstrators.script import Script, fingers_down, up
from world2act_core.simulators.privileged import Scene
from world2act_core.types import Array

ON, OFF = 0.7, -0.002
"""Radians: LIBERO counts the stove as on from 0.5 and as off below 0, the stop being at -0.005."""
TIP, HEIGHT = 0.032, 0.036
"""Metres from the knob's axis out to where its bar is pushed, and from its origin up to the end effector: the
fingertips then cover the bar's side and stay clear of the hob."""
BESIDE, ABOVE = 0.055, 0.1
"""Metres beside the bar at which the hand stands before it pushes, and above that where it comes down."""
PUSH, BACK, RISE = 0.04, 0.03, 0.03
"""Metres ahead of the hand to which the controller pulls it: the knob is heavy, but further and the fist slips off."""
LEAD = 0.3
"""Radians by which the hand is turned ahead of the knob: it is stuck to the bar by friction and has to turn with it."""


@dataclass(frozen=True)
class TurnKnob(Deed):
    """Push the knob's tip around the axis: on is counter-clockwise."""

    prompt: str
    stove: str
    on: bool = True

    @property
    def part(self) -> str:
        return f"{self.stove}_button"

    def done(self, scene: Scene) -> float:
        turned = scene.joint(self.part)
        return turned / ON if self.on else 1 - (turned - OFF) / ON

    def reach(self, script: Script) -> Iterator[Array]:
        tip, ahead = self._tip(script.scene)
        for above, within in ((ABOVE, 0.03), (0.0, 0.01)):
            yield from script.move(
                tip - BESIDE * ahead + up(above), script.gripper.close, within, self._facing(script.scene)
            )

    def exert(self, script: Script) -> Array:
        tip, ahead = self._tip(script.scene)
        target = tip + ahead * (ahead @ (script.eef - tip) + PUSH)
        return script.towards(target, script.gripper.close, self._facing(script.scene))

    def leave(self, script: Script) -> Array:
        _, ahead = self._tip(script.scene)
        return script.towards(script.eef - BACK * ahead + up(RISE), script.gripper.close, self._facing(script.scene))

    def _tip(self, scene: Scene) -> tuple[Array, Array]:
        """Where the bar is pushed, ``(3,)`` metres, and the level unit vector in which, frame world."""
        outward = -scene.rotation(self.part)[:, 1]
        ahead = np.cross(up(1.0), outward) * (1 if self.on else -1)
        return scene.position(self.part) + TIP * outward + up(HEIGHT), ahead

    def _facing(self, scene: Scene) -> Array:
        """Fingers one behind the other against the bar and turning with it."""
        rest = across(scene.rotation(f"{self.stove}_base")[:, 0])
        return fingers_down(rest + scene.joint(self.part) + (LEAD if self.on else -LEAD))
