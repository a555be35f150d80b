"""Drawers of LIBERO's cabinets, which all have the same measures: pushed shut at the handle, pulled open by it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from world2act_core.simulators.demonstrators.deeds import Deed, across, leaning
from world2act_core.simulators.demonstrators.script import CLOSING_STEPS, OPENING_STEPS, Script, up
from world2act_core.simulators.privileged import Scene
from world2act_core.types import Array

BAR_HEIGHT = {"top": 0.184, "middle": 0.1105, "bottom": 0.041}
"""Metres from the drawer's origin up to the middle of the bar that is its handle, as the handle's geoms have it."""
BAR_OUT = 0.1015
"""Metres from the drawer's origin out to the middle of the bar."""
TRAVEL = 0.16
"""Metres that a drawer slides at most."""
SHUT, OPENED = -0.001, 0.15
"""Metres pulled out at which a drawer is shut and open: LIBERO wants less than 0 and more than 0.14."""
ABOVE = 0.12
"""Metres above its way in at which the hand comes down in front of the handle, over what stands there."""
BEFORE, PUSH_LEAN = 0.04, np.radians(35)
"""To push: metres in front of the bar's middle where it begins. The fingers point ahead, because the palm is thicker
than they are and would meet the handles above before the drawer is shut."""
STAND_OFF, GRASP, PULL_LEAN = 0.1, 0.004, np.radians(80)
"""To pull: metres in front of the bar's middle before the hand goes in and where the fingers close. They are all but
level: from above they do not fit between handle and front, nor past the handles above."""
PUSH, PULL, BACK = 0.03, 0.04, 0.03
"""Metres ahead of the hand to which the controller pulls it: far enough to overcome the drawer's damping."""


@dataclass(frozen=True)
class Drawer:
    """Which drawer: ``Drawer("wooden_cabinet_1", "top")``."""

    cabinet: str
    level: str

    @property
    def body(self) -> str:
        return f"{self.cabinet}_cabinet_{self.level}"

    def pulled_out(self, scene: Scene) -> float:
        """Metres; may fall a centimetre below zero."""
        return -scene.joint(f"{self.cabinet}_{self.level}_level")

    def outward(self, scene: Scene) -> Array:
        """Level unit vector ``(3,)`` in which it opens, frame world."""
        return -scene.rotation(self.body)[:, 1]

    def bar(self, scene: Scene) -> Array:
        """Middle of its handle, ``(3,)`` metres, frame world."""
        return scene.position(self.body) + BAR_OUT * self.outward(scene) + up(BAR_HEIGHT[self.level])


@dataclass(frozen=True)
class CloseDrawer(Deed):
    """Push the handle with the fingertips.

    Attributes:
        fist: fingers closed, otherwise open and to both sides of the handle's middle.
        aside: metres along the handle, to the right seen from the cabinet, at which it is pushed.
    """

    prompt: str
    drawer: Drawer
    fist: bool = True
    aside: float = 0.0

    @property
    def part(self) -> str:
        return self.drawer.body

    def done(self, scene: Scene) -> float:
        return 1 - (self.drawer.pulled_out(scene) - SHUT) / TRAVEL

    def reach(self, script: Script) -> Iterator[Array]:
        for above, within in ((ABOVE, 0.03), (0.0, 0.015)):
            target = self._spot(script.scene) + BEFORE * self.drawer.outward(script.scene) + up(above)
            yield from script.move(target, self._grip(script), within, self._facing(script.scene))

    def exert(self, script: Script) -> Array:
        spot, inward = self._spot(script.scene), -self.drawer.outward(script.scene)
        ahead = spot + inward * (inward @ (script.eef - spot) + PUSH)
        return script.towards(ahead, self._grip(script), self._facing(script.scene))

    def leave(self, script: Script) -> Array:
        back = script.eef + BACK * self.drawer.outward(script.scene)
        return script.towards(back, self._grip(script), self._facing(script.scene))

    def _spot(self, scene: Scene) -> Array:
        along = np.cross(up(1.0), self.drawer.outward(scene))
        return self.drawer.bar(scene) + self.aside * along

    def _grip(self, script: Script) -> float:
        return script.gripper.close if self.fist else script.gripper.open

    def _facing(self, scene: Scene) -> Array:
        inward = -self.drawer.outward(scene)
        return leaning(across(inward), inward, PUSH_LEAN)


@dataclass(frozen=True)
class OpenDrawer(Deed):
    """Take the handle between the fingers, one above and one below, and pull."""

    prompt: str
    drawer: Drawer

    @property
    def part(self) -> str:
        return self.drawer.body

    def done(self, scene: Scene) -> float:
        return self.drawer.pulled_out(scene) / OPENED

    def reach(self, script: Script) -> Iterator[Array]:
        facing = self._facing(script.scene)
        for before, above, within in ((STAND_OFF, ABOVE, 0.03), (STAND_OFF, 0.0, 0.02), (GRASP, 0.0, 0.005)):
            target = self.drawer.bar(script.scene) + before * self.drawer.outward(script.scene) + up(above)
            yield from script.move(target, script.gripper.open, within, facing)
        yield from script.stay(script.gripper.close, CLOSING_STEPS, facing)

    def exert(self, script: Script) -> Array:
        return self._pull(script, script.gripper.close)

    def leave(self, script: Script) -> Array:
        return self._pull(script, script.gripper.open)

    def let_go(self, script: Script) -> Iterator[Array]:
        yield from script.stay(script.gripper.open, OPENING_STEPS, self._facing(script.scene))
        yield from super().let_go(script)

    def _pull(self, script: Script, grip: float) -> Array:
        bar, outward = self.drawer.bar(script.scene), self.drawer.outward(script.scene)
        ahead = bar + outward * (outward @ (script.eef - bar) + PULL)
        return script.towards(ahead, grip, self._facing(script.scene))

    def _facing(self, scene: Scene) -> Array:
        outward = self.drawer.outward(scene)
        return leaning(across(np.cross(up(1.0), outward)), -outward, PULL_LEAN)
