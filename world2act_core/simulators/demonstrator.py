"""A scripted demonstrator for ``libero_goal`` task 8, "put the bowl on the plate".

It is privileged: it reads the objects' poses from the simulator, which no policy may. It stands in for the person with
the teleoperation device, to give demonstrations to learn from; its success rate says nothing about a policy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from world2act_core.errors import World2ActError
from world2act_core.simulators.libero import LiberoSimulator
from world2act_core.simulators.protocol import Simulator
from world2act_core.simulators.rollout import Moment
from world2act_core.types import Array, Skill

SUITE, TASK, PROMPT = "libero_goal", 8, "put the bowl on the plate"
BOWL, PLATE = "akita_black_bowl_1", "plate_1"

FINGERS_DOWN = np.array([1.0, 0.0, 0.0, 0.0])
"""Orientation of the end effector, quaternion xyzw."""
RIM = np.array([0.0, 0.047, 0.0])
"""Metres from the bowl's centre to where its rim stands between the fingers, which open along y."""
GRASP_HEIGHT, CLEAR_HEIGHT = 0.035, 0.12
"""Metres of the end effector above the bowl's centre, closed around the rim and clear of it."""
CARRY_HEIGHT, DROP_HEIGHT = 0.08, 0.012
"""Metres of the bowl above the plate, on the way and when it is let go."""
CLOSING_STEPS, OPENING_STEPS = 12, 12
"""Control steps that the gripper takes, measured."""
STILL = 0.001
"""Metres a control step: slower than this the arm has arrived as far as it will (it can stall 1 to 2 cm short)."""


class BowlOnPlateDemonstrator:
    """An ``Actor``: reach over the bowl's rim, grasp it, carry the bowl to the plate, let it go.

    Wrap it in ``rollout.NoisyActor`` for demonstrations that also show how to recover.

    Raises:
        World2ActError: it is set to work in another task's scene.
    """

    def reset(self, simulator: Simulator) -> None:
        if not isinstance(simulator, LiberoSimulator) or (simulator.suite, simulator.task_index) != (SUITE, TASK):
            raise World2ActError(f"the bowl-on-plate demonstrator knows only {SUITE}/{TASK}, not {simulator.task!r}")
        self._scene = simulator
        self._gripper = simulator.embodiment.gripper
        self._scale = simulator.embodiment.action.scale
        self._eef, self._tilt = np.zeros(3), np.zeros(3)
        self._script = self._carry_out()

    def act(self, moment: Moment) -> Array:
        state = moment.observe().state
        self._eef = np.asarray(state["eef_position"], np.float64)
        self._tilt = _rotation_between(np.asarray(state["eef_orientation"], np.float64), FINGERS_DOWN)
        return next(self._script)

    def skills(self, steps: int) -> tuple[Skill, ...]:
        """The whole episode: one cycle from reach to release."""
        return (Skill(PROMPT, 0, steps),)

    def _carry_out(self) -> Iterator[Array]:
        """One action a control step, for ever."""
        opened, closed = self._gripper.open, self._gripper.close
        while not self._holds_bowl():
            yield from self._move(lambda: self._bowl() + RIM + _up(CLEAR_HEIGHT), opened, within=0.015)
            yield from self._move(lambda: self._bowl() + RIM + _up(GRASP_HEIGHT), opened, within=0.005)
            grasp = self._bowl() + RIM + _up(GRASP_HEIGHT)
            yield from self._stay(grasp, closed, CLOSING_STEPS)
            yield from self._move(grasp + _up(CARRY_HEIGHT), closed, within=0.02)
        yield from self._move(lambda: self._eef + self._to_plate(CARRY_HEIGHT), closed, within=0.012)
        yield from self._move(lambda: self._eef + self._to_plate(DROP_HEIGHT), closed, within=0.006)
        yield from self._stay(self._eef, opened, OPENING_STEPS)
        above = self._eef + _up(CLEAR_HEIGHT)
        while True:
            yield self._towards(above, opened)

    def _move(self, target: Array | Callable[[], Array], gripper: float, within: float) -> Iterator[Array]:
        """Go to a target, which may itself move, until so near or until the arm stands still."""
        last = self._eef + 1.0
        while np.linalg.norm(self._eef - last) > STILL:
            goal = target() if callable(target) else target
            if np.linalg.norm(goal - self._eef) <= within:
                return
            last = self._eef
            yield self._towards(goal, gripper)

    def _stay(self, target: Array, gripper: float, steps: int) -> Iterator[Array]:
        for _ in range(steps):
            yield self._towards(target, gripper)

    def _towards(self, target: Array, gripper: float) -> Array:
        """Proportional control: full speed from one action's reach away, fingers straight down."""
        action = np.zeros(self._scene.embodiment.action.size)
        action[:6] = np.clip(np.concatenate([target - self._eef, self._tilt]) / self._scale[:6], -1, 1)
        action[self._gripper.index] = gripper
        return action

    def _bowl(self) -> Array:
        return self._scene.object_position(BOWL)

    def _to_plate(self, height: float) -> Array:
        """How far the bowl, and so the arm that holds it, still has to go."""
        return self._scene.object_position(PLATE) + _up(height) - self._bowl()

    def _holds_bowl(self) -> bool:
        lifted = self._bowl()[2] > self._scene.object_position(PLATE)[2] + CARRY_HEIGHT / 3
        return bool(lifted and np.linalg.norm(self._bowl() - self._eef) < 2 * float(np.linalg.norm(RIM)))


def _up(metres: float) -> Array:
    return np.array([0.0, 0.0, metres])


def _rotation_between(current: Array, target: Array) -> Array:
    """The rotation vector ``(3,)``, radians, frame world, that turns one orientation (quaternion xyzw) into another."""
    (ax, ay, az, aw), (bx, by, bz, bw) = target, -current * np.array([1, 1, 1, -1])
    axis = np.array([
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    ])  # fmt: skip
    cosine = aw * bw - ax * bx - ay * by - az * bz
    length = float(np.linalg.norm(axis))
    if length < 1e-9:
        return np.zeros(3)
    return np.sign(cosine or 1.0) * 2 * np.arctan2(length, abs(cosine)) / length * axis
