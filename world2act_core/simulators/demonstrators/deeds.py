"""Skills that move a thing without carrying it: push, turn, shut. Reach it, exert, leave; then the next attempt."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np

from world2act_core.simulators.demonstrators.script import Script, fingers_down, up
from world2act_core.simulators.privileged import Scene
from world2act_core.types import Array

ATTEMPTS = 4
"""How often a deed is tried at most."""
STUCK_STEPS, STUCK = 15, 0.01
"""An attempt that does not get on by this share of the deed in so many control steps is given up."""
WITHDRAW = 0.06
"""Metres between the hand and where it last touched when the deed is over."""
TIE = 0.1
"""Radians: between a quarter turn to either side the choice is always the same one, whatever the rounding."""


class Deed(ABC):
    """One skill without a grasp.

    Attributes:
        prompt: the skill in words.
    """

    prompt: str

    @property
    @abstractmethod
    def part(self) -> str:
        """Body that is moved; the skill ends when the robot no longer touches it."""

    @abstractmethod
    def done(self, scene: Scene) -> float:
        """How much of the deed is done: about 0 before it and at least 1 when it is."""

    @abstractmethod
    def reach(self, script: Script) -> Iterator[Array]:
        """From wherever the hand is to where it can begin."""

    @abstractmethod
    def exert(self, script: Script) -> Array:
        """One step's action that gets on with it."""

    @abstractmethod
    def leave(self, script: Script) -> Array:
        """One step's action that takes the hand off."""

    def carry_out(self, script: Script) -> Iterator[Array]:
        """One action a control step, until the deed is done and the hand is off; a slip first if chance has it so."""
        slip = script.rng.uniform(0.3, 0.7) if script.rng.random() < script.mishaps.regrasp else 1.0
        for attempt in range(ATTEMPTS):
            yield from self.reach(script)
            yield from self._exert_until(script, slip if attempt == 0 else 1.0)
            yield from self._leave(script)
            if self.done(script.scene) >= 1:
                return

    def withdraw(self, script: Script) -> Iterator[Array]:
        """A few centimetres away, when all is done, so that it can be seen."""
        start = script.eef
        while np.linalg.norm(script.eef - start) < WITHDRAW:
            yield self.leave(script)

    def _exert_until(self, script: Script, share: float) -> Iterator[Array]:
        best, waited = -np.inf, 0
        while (now := self.done(script.scene)) < share and waited < STUCK_STEPS:
            best, waited = (now, 0) if now > best + STUCK else (best, waited + 1)
            yield self.exert(script)

    def _leave(self, script: Script) -> Iterator[Array]:
        while self.part in script.scene.touched():
            yield self.leave(script)


def across(direction: Array) -> float:
    """Yaw (see ``fingers_down``) of a hand whose fingers open across a level direction: with the least turn."""
    yaw = np.arctan2(direction[1], direction[0])
    return float((yaw + np.pi / 2 + TIE) % np.pi - np.pi / 2 - TIE)


def leaning(yaw: float, direction: Array, angle: float) -> Array:
    """Orientation (quaternion xyzw) of a hand whose fingers point down and ahead.

    Args:
        yaw: see ``fingers_down``.
        direction: ``(3,)`` level unit vector that the fingers turn towards, frame world.
        angle: radians from straight down; a quarter turn has the fingers level.
    """
    axis = np.cross(up(-1.0), direction) * np.sin(angle / 2)
    (ax, ay, az), aw = axis, np.cos(angle / 2)
    bx, by, bz, bw = fingers_down(yaw)
    return np.array([
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    ])  # fmt: skip
