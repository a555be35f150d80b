"""Skills that move a thing without carrying it away: push, turn, shut, pull open."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from world2act_core.simulators.demonstrators.script import Script, fingers_down, up
from world2act_core.simulators.privileged import Scene
from world2act_core.types import Array

ATTEMPTS = 4
"""How often a deed is tried at most."""
STUCK_STEPS, STUCK = 15, 0.01
"""An attempt that does not get on by this share of the deed in so many control steps is given up."""
SLIPPED_STEPS = 6
"""Control steps without a touch after which the hand has slipped off: the attempt is given up too."""
SLIPS_AT = (0.3, 0.7)
"""Share of the deed that is done when the hand slips off by mishap."""
WITHDRAW, WITHDRAW_STEPS = 0.06, 40
"""Metres between the hand and where it last touched when all is done; what takes longer than so many control steps is
in the way and stays."""
TIE = 0.5
"""Radians: of a quarter turn to either side, or nearly so, the one to the left is chosen: the other one brings the
arm's last joint near its limit."""


class Deed(ABC):
    """One skill: reach the thing, exert oneself, let go; once more if it was not enough.

    Attributes:
        prompt: the skill in words.
    """

    prompt: str

    @property
    @abstractmethod
    def part(self) -> str:
        """Body that is moved; the skill is over when the robot no longer touches it."""

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
        slips = script.rng.random() < script.mishaps.regrasp
        goal = script.rng.uniform(*SLIPS_AT) if slips else 1.0
        for _ in range(ATTEMPTS):
            yield from self.reach(script)
            yield from self._exert_until(script, goal)
            yield from self.let_go(script)
            if self.done(script.scene) >= 1:
                return
            goal = 1.0

    def let_go(self, script: Script) -> Iterator[Array]:
        """From exertion until nothing is touched."""
        yield from self._leave_until(script, lambda: self.part not in script.scene.touched())

    def withdraw(self, script: Script) -> Iterator[Array]:
        """A few centimetres further, when all is done, so that it can be seen."""
        start = script.eef
        yield from self._leave_until(script, lambda: bool(np.linalg.norm(script.eef - start) > WITHDRAW))

    def _exert_until(self, script: Script, share: float) -> Iterator[Array]:
        """Until that share is done, or until it does not get on, or until the hand has slipped off."""
        best, waited, missed, touched = -np.inf, 0, 0, False
        while (now := self.done(script.scene)) < share and waited < STUCK_STEPS and missed < SLIPPED_STEPS:
            best, waited = (now, 0) if now > best + STUCK else (best, waited + 1)
            touching = self.part in script.scene.touched()
            touched, missed = touched or touching, missed + 1 if touched and not touching else 0
            yield self.exert(script)

    def _leave_until(self, script: Script, over: Callable[[], bool]) -> Iterator[Array]:
        for _ in range(WITHDRAW_STEPS):
            if over():
                return
            yield self.leave(script)


@dataclass(frozen=True)
class InTurn:
    """Several deeds that are one skill, for which the hand has to be taken off in between."""

    deeds: tuple[Deed, ...]

    @property
    def prompt(self) -> str:
        return self.deeds[0].prompt

    def carry_out(self, script: Script) -> Iterator[Array]:
        for deed in self.deeds:
            yield from deed.carry_out(script)

    def withdraw(self, script: Script) -> Iterator[Array]:
        yield from self.deeds[-1].withdraw(script)


def across(direction: Array) -> float:
    """Yaw (see ``fingers_down``) of a hand whose fingers open across a level direction: a quarter turn or so."""
    yaw = np.arctan2(direction[1], direction[0])
    return float((yaw + np.pi / 2 - TIE) % np.pi - np.pi / 2 + TIE)


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
