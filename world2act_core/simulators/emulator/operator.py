"""A scripted operator: shows the emulated arm how something is picked up and put down, as a teleoperating human would.

There is nothing to hold in the emulator, so the gripper closes part of the way, as around a thing; where it is picked
up and put down differs from episode to episode. What comes out are actions of the contract, one a control step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from world2act_core.embodiment import Embodiment
from world2act_core.embodiment.output import DELTA_POSE
from world2act_core.errors import World2ActError
from world2act_core.simulators.emulator.arm import EmulatedArm
from world2act_core.types import Array

SPEED_M_S = 0.2  # on average; a cosine makes the middle of a way half as fast again
GRIPPER_S = 0.6
EXERCISE_S = 1.5
HELD = 0.6  # how far the gripper closes: 0 open, 1 closed
AHEAD_M, ASIDE_M, DOWN_M = 0.05, 0.1, 0.12  # from home to where a thing is picked up, and how far it varies: a third
DAMPING = 0.02  # of the inverse Jacobian: the steps are small, the arm far from singular


@dataclass(frozen=True)
class Waypoint:
    """Where the hand goes, ``(3,)`` m from home in the base's frame, and how far the gripper is closed there;
    ``rest_s`` is how long a gripper that changes takes and rests."""

    offset: Array
    closed: float
    rest_s: float = GRIPPER_S


class ScriptedOperator:
    """Plans episodes; the same seed shows the same ones.

    Args:
        embodiment: with actions ``eef_delta`` or ``joint_positions``, and an arm that the emulator has.

    Raises:
        World2ActError: another kind of action.
        MissingExtraError: the emulator is not installed.
    """

    def __init__(self, embodiment: Embodiment, seed: int = 0) -> None:
        kind = embodiment.action.kind
        if kind not in ("eef_delta", "joint_positions"):
            raise World2ActError(
                f"the scripted operator acts by eef_delta or joint_positions, but {embodiment.name} takes {kind}"
            )
        self._embodiment, self._rng = embodiment, np.random.default_rng(seed)
        self._arm = EmulatedArm(embodiment)
        self._told = self._arm.positions
        self._closed = 0.0
        self.home = np.asarray(self._arm.state()["eef_position"], np.float64)

    def episode(self, position: Array, joints: Array) -> Array:
        """Pick and place, ``(T, A)``.

        Args:
            position: measured, of the hand, ``(3,)`` m in the base's frame.
            joints: measured, ``(J,)`` rad, in the contract's order.
        """
        picked, placed = self._somewhere(-1), self._somewhere(1)
        above = np.array([0.0, 0.0, DOWN_M])
        way = [Waypoint(picked + above, 0.0), Waypoint(picked, 0.0), Waypoint(picked, HELD),
               Waypoint(picked + above, HELD), Waypoint(placed + above, HELD), Waypoint(placed, HELD),
               Waypoint(placed, 0.0), Waypoint(placed + above, 0.0)]  # fmt: skip
        return self._actions(way, position, joints)

    def way_home(self, position: Array, joints: Array) -> Array:
        """From wherever the hand is, opened, ``(T, A)``; arguments as of ``episode``."""
        return self._actions([Waypoint(np.zeros(3), 0.0)], position, joints)

    def exercise(self, position: Array, joints: Array) -> Array:
        """The gripper closes and opens fully where the hand is, resting each time, as ``world2act calibrate gripper``
        wants to see it, ``(T, A)``; arguments as of ``episode``."""
        here = np.asarray(position, np.float64) - self.home
        return self._actions([Waypoint(here, closed, EXERCISE_S) for closed in (1.0, 0.0) * 3], position, joints)

    def _somewhere(self, side: int) -> Array:
        place = np.array([AHEAD_M, side * ASIDE_M, -DOWN_M])
        return np.asarray(place + self._rng.uniform(-1, 1, 3) * [AHEAD_M, ASIDE_M / 3, DOWN_M / 6])

    def _actions(self, way: list[Waypoint], position: Array, joints: Array) -> Array:
        """One action a control step along the way, smooth from each of its points to the next."""
        self._told = np.asarray(joints, np.float64)
        here, rows = np.asarray(position, np.float64) - self.home, list[Array]()
        for waypoint in way:
            length = float(np.linalg.norm(waypoint.offset - here))
            seconds = max(length / SPEED_M_S, waypoint.rest_s if waypoint.closed != self._closed else 0.0)
            steps = max(1, round(seconds / self._embodiment.step_s))
            shares = (1 - np.cos(np.pi * np.arange(steps + 1) / steps)) / 2
            self._closed = waypoint.closed
            rows += [self._action(share * (waypoint.offset - here)) for share in np.diff(shares)]
            here = waypoint.offset
        return np.stack(rows)

    def _action(self, step: Array) -> Array:
        """The action ``(A,)`` that moves the hand by ``step`` ``(3,)`` m."""
        action, gripper = self._embodiment.action, self._embodiment.gripper
        moves = self._moves(step)
        values = np.array([moves.get(name, 0.0) for name in action.names]) / action.scale
        values[gripper.index] = gripper.open + self._closed * (gripper.close - gripper.open)
        return np.clip(values, action.low, action.high).astype(np.float32)

    def _moves(self, step: Array) -> dict[str, float]:
        """The same in SI units by the action's names, without the gripper."""
        if self._embodiment.action.kind == "eef_delta":
            return dict(zip(DELTA_POSE, step, strict=False))
        jacobian = self._arm.jacobian(self._told)
        square = jacobian @ jacobian.T + DAMPING**2 * np.eye(6)
        self._told = self._told + jacobian.T @ np.linalg.solve(square, np.append(step, np.zeros(3)))
        return dict(zip(self._embodiment.state["joint_positions"].joints, self._told, strict=True))
