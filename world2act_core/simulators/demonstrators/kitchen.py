"""Demonstrators in RoboCasa's kitchens: a drawer is shut, and the robot drives from one fixture to another.

The arm's actions and the end effector's pose are both seen from the robot's base, so the moves of ``Script`` hold there
as they are; what the scene tells in frame world is turned into the base's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from world2act_core.errors import World2ActError
from world2act_core.simulators.demonstrators.deeds import across, leaning
from world2act_core.simulators.demonstrators.script import FINGERS_DOWN, NONE, Mishaps, Script, up
from world2act_core.simulators.protocol import Simulator
from world2act_core.simulators.robocasa.suites import task_of
from world2act_core.simulators.rollout import Moment
from world2act_core.types import Array

ARM, DRIVE = -1.0, 1.0
"""Values of ``base_mode``: the arm moves, or the base and the arm's target with it."""
GAIN, SLOWEST = 2.0, 0.4
"""Control of the base along each of its axes: share of full speed a metre or radian that is left, and the least share:
below 0.25 its friction holds it."""
THERE_M, THERE_RAD = 0.04, 0.04
"""A drive ends so near to where it goes, along each axis."""
DRIVE_STEPS = 200
"""A drive that takes longer is held up and given up."""


class KitchenScript(Script):
    """A ``Script`` for the robot on wheels.

    Attributes:
        simulator: whose ``truth()`` it reads; see ``robocasa.truth``.
        base, heading: ``(3,)`` metres and radians, frame world, where the arm's base is now and looks.
        knows: what the truth of its scenes has to hold.
    """

    knows: tuple[str, ...] = ()

    def enter(self, simulator: Simulator) -> None:
        truth = getattr(simulator, "truth", None)
        missing = set(self.knows) - set(truth() if truth else ())
        if missing:
            raise World2ActError(
                f"{type(self).__name__} needs to know {', '.join(sorted(missing))}, which {simulator.task!r} has not"
            )
        self.simulator: Any = simulator
        self.hand = simulator.embodiment
        self.dimension = {name: index for index, name in enumerate(simulator.embodiment.action.names)}
        self.wheels = [self.dimension[name] for name in ("base_forward", "base_side", "base_yaw")]
        self.prompt = simulator.task.rstrip(".").lower()

    def commanded(self, action: Array) -> Array:
        return action

    def act(self, moment: Moment) -> Array:
        state = moment.observe().state
        self.base = np.asarray(state["base_position"], np.float64)
        x, y, z, w = np.asarray(state["base_orientation"], np.float64)
        self.heading = float(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))
        return super().act(moment)

    def truth(self) -> Mapping[str, Array]:
        """Of the scene as it is now."""
        known: Mapping[str, Array] = self.simulator.truth()
        return known

    def towards(self, target: Array, grip: float, facing: Array = FINGERS_DOWN, speed: float = 1.0) -> Array:
        """As ``Script.towards``, target and facing in the frame of the base, which stands still."""
        action = super().towards(target, grip, facing, speed)
        action[self.dimension["base_mode"]] = ARM
        return action

    def seen_from_base(self, vector: Array) -> Array:
        """A vector ``(3,)`` of frame world in the frame of the base."""
        return np.array([*(turned(-self.heading) @ vector[:2]), vector[2]])

    def drive(self, position: Array, yaw: float, within: float = THERE_M) -> Iterator[Array]:
        """Drive to a place on the floor, ``(2,)`` metres, and a yaw, radians, frame world; the arm keeps still."""
        for _ in range(DRIVE_STEPS):
            turn = (yaw - self.heading + np.pi) % (2 * np.pi) - np.pi
            left = np.array([*(turned(-self.heading) @ (position - self.base[:2])), turn])
            moving = abs(left) > (within, within, THERE_RAD)
            if not moving.any():
                return
            action = np.zeros(len(self.scale))
            action[self.gripper.index] = self.gripper.open
            action[self.wheels] = moving * np.sign(left) * np.clip(GAIN * abs(left), SLOWEST, 1)
            action[self.dimension["base_mode"]] = DRIVE
            yield action


STAND_OFF = 0.45
"""Metres straight back from a fixture's place, where nothing is in the way of driving past."""


class Navigate(KitchenScript):
    """Back off, past the other fixtures, and up to the one that was named."""

    knows = ("target_position", "target_yaw")

    def plan(self) -> Iterator[Array]:
        yield from self.skill(self.prompt, self._ways())

    def _ways(self) -> Iterator[Array]:
        known = self.truth()
        here, heading = self.base[:2], self.heading
        there, goal = known["target_position"][:2], float(known["target_yaw"][0])
        yield from self.drive(here - STAND_OFF * ahead(heading), heading, within=0.1)
        yield from self.drive(there - STAND_OFF * ahead(goal), goal, within=0.1)
        yield from self.drive(there, goal)


FREE, ABOVE = 0.10, 0.30
"""Metres in front of the drawer where the hand comes down, and above the middle of the front where it comes from."""
FROM_EDGE = 0.10
"""Metres from the front's edge, on the robot's side, where it is pushed."""
BACK_UP = 0.25
"""Metres that the robot first drives back, so that the open drawer is in front of it rather than beside."""
LEAN = np.radians(60)
"""From straight down: the palm would meet the worktop, which stands out over the drawer."""
PUSH, SHUT = 0.05, 0.02
"""Metres ahead of the hand to which the controller pulls it, and how far open the drawer is when it is shut (RoboCasa
wants 0.05)."""
PUSH_STEPS, WITHDRAW_STEPS = 150, 15


class ShutDrawer(KitchenScript):
    """Push the front of a drawer with the fist from where the robot stands beside it."""

    knows = ("front_position", "front_outward", "front_size", "opened")

    def plan(self) -> Iterator[Array]:
        yield from self.skill(self.prompt, self._shut())

    def _shut(self) -> Iterator[Array]:
        yield from self.drive(self.base[:2] - BACK_UP * ahead(self.heading), self.heading)
        for above, within in ((ABOVE, 0.05), (0.0, 0.03)):
            yield from self.move(self._before(above), self.gripper.close, within, self._facing())
        for _ in range(PUSH_STEPS):
            if self.truth()["opened"][0] < SHUT:
                break
            yield self.towards(self.eef + PUSH * self._inward(), self.gripper.close, self._facing())
        for _ in range(WITHDRAW_STEPS):
            yield self.towards(self.eef - PUSH * self._inward(), self.gripper.close, self._facing())

    def _before(self, above: float) -> Callable[[], Array]:
        """Where the hand stands in front of the drawer, ``(3,)`` metres, frame of the base."""

        def target() -> Array:
            known = self.truth()
            outward, width = known["front_outward"], known["front_size"][0]
            along = np.array([-outward[1], outward[0], 0.0])
            towards_robot = np.sign(along @ (self.base - known["front_position"]))
            aside = towards_robot * (width / 2 - FROM_EDGE) * along
            return self.seen_from_base(known["front_position"] + FREE * outward + aside + up(above) - self.base)

        return target

    def _inward(self) -> Array:
        outward = self.truth()["front_outward"]
        return self.seen_from_base(-outward)

    def _facing(self) -> Array:
        inward = self._inward()
        return leaning(across(inward), inward, LEAN)


KITCHEN: dict[str, Callable[[Mishaps], KitchenScript]] = {"CloseDrawer": ShutDrawer, "NavigateKitchen": Navigate}
"""RoboCasa's environment → what makes its script."""


def kitchen_demonstrator(suite: str, task: int, mishaps: Mishaps = NONE) -> KitchenScript:
    """The scripted demonstrator of a task, an ``Actor``, where RoboCasa can be imported.

    Raises:
        World2ActError: nobody has written one for this task.
    """
    from world2act_core.simulators.robocasa.package import load_suite

    environment = task_of(load_suite(suite)[1], suite, task).environment
    if environment not in KITCHEN:
        raise World2ActError(
            f"{suite}/{task}, {environment}, has no scripted demonstrator: there are some for {', '.join(KITCHEN)}"
        )
    return KITCHEN[environment](mishaps)


def ahead(yaw: float) -> Array:
    """Level unit vector ``(2,)`` in which a base of that yaw looks."""
    return np.array([np.cos(yaw), np.sin(yaw)])


def turned(yaw: float) -> Array:
    """The rotation ``(2, 2)`` by that yaw."""
    return np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
