"""How a scripted demonstrator moves: closed-loop waypoints, told as a generator of one action a control step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from world2act_core.embodiment import load_embodiment
from world2act_core.errors import World2ActError
from world2act_core.simulators.libero import EMBODIMENT, LiberoSimulator
from world2act_core.simulators.privileged import Scene
from world2act_core.simulators.protocol import Simulator
from world2act_core.simulators.rollout import Moment, Noise
from world2act_core.simulators.starts import contract_of
from world2act_core.types import Array, Skill

FINGERS_DOWN = np.array([1.0, 0.0, 0.0, 0.0])
"""Orientation of the end effector, quaternion xyzw, fingers opening along the world's y."""
CLOSING_STEPS, OPENING_STEPS = 12, 12
"""Control steps that the gripper takes, measured."""
ALIGNED = 0.2
"""Radians: a move has not arrived before the hand is turned so near to where it should face."""
PATIENCE, PROGRESS, ARM = 6, 0.001, 0.1
"""A move that gets no nearer by ``PROGRESS`` metres in so many steps has come as far as it will: the arm can stall 1 to
2 cm short, and may be pushed about by noise. A radian still to turn counts as ``ARM`` metres to go."""

Target = Array | Callable[[], Array]
"""A position ``(3,)`` in metres, frame world; as a function where it moves."""


@dataclass(frozen=True)
class Mishaps:
    """What goes wrong in a demonstration, as it does under human hands. All drawn from ``seed``.

    Attributes:
        pauses: mean number of pauses in a hundred steps; the arm then stands still.
        pause_steps: shortest and longest pause.
        regrasp: chance that a grasp is a miss or is opened again at once, and repeated.
        drop: chance that what is carried is let fall on the way, and fetched again.
    """

    seed: int = 0
    pauses: float = 0.0
    pause_steps: tuple[int, int] = (5, 20)
    regrasp: float = 0.0
    drop: float = 0.0


NONE = Mishaps()


class Script:
    """An ``Actor`` that carries out a plan. Subclasses say what to do in ``plan``.

    ``plan`` yields actions, mostly through ``move`` and ``stay``, and wraps each atomic skill in
    ``yield from self.skill(prompt, actions)``, which notes where it began and ended. After the plan the arm stays where
    it is with the gripper open.

    Attributes:
        suite, task: the only scene it knows, under whatever contract.
        hand: contract of the actions that ``plan`` yields, after ``reset``.
        noise: on these actions, if any: joints that are told where to go are told what such a hand would need.
        scene: the truth about the scene, after ``reset``.
        eef: ``(3,)`` metres, where the end effector is now.
        rng: everything random in the script comes from here, also the mishaps.

    Raises:
        World2ActError: it is set to work in another task's scene.
    """

    suite: str
    task: int

    def __init__(self, mishaps: Mishaps = NONE) -> None:
        self.mishaps = mishaps
        self.noise: Noise | None = None

    def plan(self) -> Iterator[Array]:
        """One action ``(A,)`` a control step until the task is done."""
        raise NotImplementedError

    def reset(self, simulator: Simulator) -> None:
        self.enter(simulator)
        self.rng = np.random.default_rng((self.mishaps.seed, 2))  # a start draws from its bare seed, noise from 1
        self.gripper, self.scale = self.hand.gripper, self.hand.action.scale
        self.eef, self.orientation = np.zeros(3), FINGERS_DOWN
        self._done: list[Skill] = []
        self._now: tuple[str, int] | None = None
        self._step = 0
        self._script = self._with_pauses(self.plan())
        if self.noise is not None:
            self.noise.reset(self.hand)

    def enter(self, simulator: Simulator) -> None:
        """See whether this is the scene that it knows, and learn the truth about it."""
        scenes, _ = contract_of(simulator.suite)
        if not isinstance(simulator, LiberoSimulator) or (scenes, simulator.task_index) != (self.suite, self.task):
            raise World2ActError(f"{type(self).__name__} knows only {self.suite}/{self.task}, not {simulator.task!r}")
        self.scene, self.hand = Scene(simulator), load_embodiment(EMBODIMENT)

    def commanded(self, action: Array) -> Array:
        """The simulator's action for one of the hand, as ``plan`` yields them: there may be joints to be told."""
        return self.scene.simulator.led(action)

    def act(self, moment: Moment) -> Array:
        state = moment.observe().state
        self.eef = np.asarray(state["eef_position"], np.float64)
        self.orientation = np.asarray(state["eef_orientation"], np.float64)
        self._step = moment.step
        action = next(self._script)
        return self.commanded(action if self.noise is None else self.noise.on(action))

    def skills(self, steps: int) -> tuple[Skill, ...]:
        """What was carried out, in order; the last one reaches to the end of the episode."""
        done = [*self._done, *([Skill(*self._now, steps)] if self._now else [])]
        done = [Skill(skill.prompt, skill.start, min(skill.end, steps)) for skill in done if skill.start < steps]
        return (*done[:-1], Skill(done[-1].prompt, done[-1].start, steps)) if done else ()

    def skill(self, prompt: str, actions: Iterator[Array]) -> Iterator[Array]:
        """Carry out one atomic skill."""
        self._now = (prompt, self._done[-1].end if self._done else 0)
        yield from actions
        self._done.append(Skill(*self._now, self._step))
        self._now = None

    def redo(self, prompt: str) -> None:
        """The skill that was finished last is done anew inside the present one (what it had picked up was dropped).

        It ends only now; nothing happens if the last skill was another one.
        """
        if self._now and self._done and self._done[-1].prompt == prompt:
            self._done[-1] = Skill(prompt, self._done[-1].start, self._step)
            self._now = (self._now[0], self._step)

    def move(
        self, target: Target, grip: float, within: float = 0.01, facing: Array = FINGERS_DOWN, speed: float = 1.0
    ) -> Iterator[Array]:
        """Go to a target, which may itself move, until so near (metres) and aligned, or until it gets no nearer."""
        nearest, waited = np.inf, 0
        while waited < PATIENCE:
            goal = target() if callable(target) else target
            distance = float(np.linalg.norm(goal - self.eef))
            turn = float(np.linalg.norm(rotation_between(self.orientation, facing)))
            if distance <= within and turn <= ALIGNED:
                return
            if distance + ARM * turn < nearest - PROGRESS:
                nearest, waited = distance + ARM * turn, 0
            else:
                waited += 1
            yield self.towards(goal, grip, facing, speed)

    def stay(self, grip: float, steps: int, facing: Array = FINGERS_DOWN) -> Iterator[Array]:
        """Stay in place for so many steps while the gripper opens or closes."""
        here = self.eef.copy()
        for _ in range(steps):
            yield self.towards(here, grip, facing)

    def towards(self, target: Array, grip: float, facing: Array = FINGERS_DOWN, speed: float = 1.0) -> Array:
        """Proportional control: full speed (1 is the layout's limit) from one action's reach away."""
        turn = rotation_between(self.orientation, facing)
        action = np.zeros(len(self.scale))
        action[:6] = np.clip(np.concatenate([target - self.eef, turn]) / self.scale[:6], -speed, speed)
        action[self.gripper.index] = grip
        return action

    def _with_pauses(self, actions: Iterator[Array]) -> Iterator[Array]:
        """The plan, interrupted by pauses; behind it stillness with the gripper open."""
        for action in actions:
            grip = action[self.gripper.index]
            if self.rng.random() < self.mishaps.pauses / 100:
                steps = int(self.rng.integers(*self.mishaps.pause_steps, endpoint=True))
                yield from self.stay(grip, steps, facing=self.orientation)
            yield action
        while True:
            yield self.towards(self.eef, self.gripper.open, facing=self.orientation)


def up(metres: float) -> Array:
    return np.array([0.0, 0.0, metres])


def fingers_down(yaw: float) -> Array:
    """Orientation (quaternion xyzw) of a hand that points down and whose fingers open along y turned by ``yaw``."""
    return np.array([np.cos(yaw / 2), np.sin(yaw / 2), 0.0, 0.0])


def rotation_between(current: Array, target: Array) -> Array:
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
