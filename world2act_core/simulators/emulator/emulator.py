"""The emulated arm as a whole: messages in, measured state out, physics as far as the clock has come.

Everything is driven from outside with the time in seconds on one clock that never goes back; nothing here waits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from world2act_core.embodiment import Embodiment
from world2act_core.errors import World2ActError
from world2act_core.simulators.emulator.arm import PHYSICS_S, EmulatedArm
from world2act_core.simulators.emulator.servo import ServoSettings, TwistServo
from world2act_core.simulators.emulator.trajectory import Setpoint, TrajectoryController, Waypoint
from world2act_core.simulators.emulator.violations import Violations
from world2act_core.types import Array

HOME_S = 1.5
CATCH_UP_S = 0.25  # a longer gap (this machine was busy) is skipped instead of being simulated


class Emulator:
    """A Panda or UR5e behind the controllers that its contract's ``output`` speaks to.

    Args:
        embodiment: with output ``joint_trajectory`` or ``twist``.
        now: the clock at the beginning.

    Raises:
        World2ActError: another output, or no model for this arm.
    """

    def __init__(
        self,
        embodiment: Embodiment,
        now: float,
        settings: ServoSettings | None = None,
    ) -> None:
        kind = embodiment.output.kind
        if kind not in ("joint_trajectory", "twist"):
            raise World2ActError(
                f"the emulator takes the outputs joint_trajectory and twist, but {embodiment.name} sends {kind}"
            )
        self.arm = EmulatedArm(embodiment)
        self._joints = embodiment.state["joint_positions"].joints
        self._controller = TrajectoryController(self._joints, self.arm.positions)
        self._servo: TwistServo | None = None
        if kind == "twist":
            limits = embodiment.limits.joints
            self._servo = TwistServo(embodiment.output.frame_id, limits, self.arm.jacobian, settings)
        self.violations = Violations(embodiment.limits, self._joints)
        self._time, self._servo_due = now, now
        self._commanded_at: float | None = None
        self._home = self.arm.positions
        self._opened = embodiment.output.gripper.open if embodiment.output.gripper else 0.0
        self.commands, self.skipped_s = 0, 0.0

    # --- what the controllers' topics take; each returns why a message was refused, or "" ----------------------------
    def on_trajectory(self, names: Sequence[str], waypoints: Sequence[Waypoint], stamp: float, now: float) -> str:
        """A JointTrajectory; ``stamp`` 0 means now."""
        measured = Setpoint(self.arm.positions, self.arm.velocities)
        refusal = self._controller.accept(names, waypoints, stamp, now, measured)
        if not refusal:
            order = [list(names).index(joint) for joint in self._joints]
            points = np.stack([np.asarray(point.positions, np.float64)[order] for point in waypoints])
            times = np.array([point.time_from_start_s for point in waypoints]) + ((stamp - now) if stamp else 0.0)
            ahead = np.flatnonzero(times > 0) if (times > 0).any() else [-1]
            self.violations.trajectory(points[ahead], times[ahead], measured.positions)
        return self._count(refusal, now)

    def on_twist(self, frame_id: str, twist: Array, stamp: float, now: float) -> str:
        """A TwistStamped, ``(6,)`` linear m/s, angular rad/s."""
        if self._servo is None:
            return self._count("this arm takes joint trajectories, no twists", now)
        refusal = self._servo.accept(frame_id, twist, stamp)
        if not refusal:
            self.violations.twist(twist)
        return self._count(refusal, now)

    def on_gripper(self, position: float) -> str:
        """The gripper's position command; its drive limits it to what the fingers can do."""
        if not np.isfinite(position):
            return self._count("the gripper's position is not finite", None)
        self.arm.set_gripper(position)
        return ""

    def go_home(self, now: float) -> None:
        """Back to where it began, as somebody carries an arm back between two tasks; the gripper opens."""
        here = self._controller.sample(now).positions
        told = Setpoint(here, np.zeros_like(here))
        self._controller.accept(self._joints, [Waypoint(self._home, HOME_S)], 0.0, now, told)
        self.arm.set_gripper(self._opened)

    def _count(self, refusal: str, now: float | None) -> str:
        if refusal:
            self.violations.refused(refusal)
        elif now is not None:
            self._commanded_at, self.commands = now, self.commands + 1
        return refusal

    # --- time ------------------------------------------------------------------------------------------------------
    def advance(self, now: float) -> None:
        """Physics and controllers up to ``now``."""
        if now - self._time > CATCH_UP_S:
            self.skipped_s += now - self._time - CATCH_UP_S
            self._time = now - CATCH_UP_S
        while self._time + PHYSICS_S <= now:
            if self._servo is not None and self._time >= self._servo_due:
                self._step_servo(self._servo)
            setpoint = self._controller.sample(self._time)
            self.arm.step(setpoint.positions, setpoint.velocities)
            self._time += PHYSICS_S

    def _step_servo(self, servo: TwistServo) -> None:
        """What Servo publishes goes to the trajectory controller, which continues from where it was told to be."""
        period = servo.settings.publish_period
        self._servo_due = max(self._servo_due + period, self._time)
        position = servo.step(self._time, self.arm.positions)
        if position is not None:
            told = Setpoint(self._controller.sample(self._time).positions, np.zeros(len(self._joints)))
            self._controller.accept(self._joints, [Waypoint(position, period)], 0.0, self._time, told)

    # --- what it tells -----------------------------------------------------------------------------------------------
    def holding(self, now: float) -> bool:
        """No controller moves the arm."""
        return self._servo.halted if self._servo is not None else self._controller.at_end(now)

    def describe(self, now: float) -> str:
        """What the controllers do, in words."""
        if self._commanded_at is None:
            return "holding: no command has come yet"
        silent = f"no command for {now - self._commanded_at:.1f} s"
        if self._servo is not None:
            return f"holding: {self._servo.status}, {silent}" if self._servo.halted else self._servo.status
        return f"holding the trajectory's end, {silent}" if self._controller.at_end(now) else "following a trajectory"
