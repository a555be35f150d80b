"""robosuite's control step without what nobody reads: the same motion to the bit in half the time.

The stock ``env.step`` runs the kinematics three times a physics step, looks names up, and fills some forty
observables. Here each physics step is MuJoCo's own two halves with robosuite's controller between them. That the
states are identical is tested against the stock environment.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from world2act_core.embodiment.contract import JointLimits
from world2act_core.types import Array

HAND_SCALE = np.array([0.05, 0.05, 0.05, 0.5, 0.5, 0.5])
"""What 1 of OSC_POSE's action means: metres and radians a step (its ``output_max``)."""


class ControlLoop:
    """Drives one robosuite arm and gripper for whole control steps.

    Args:
        env: a robosuite environment with one arm under this class's controller (OSC_POSE), freshly reset.
        limits: of the arm's joints, for what keeps them.
    """

    def __init__(self, env: Any, limits: JointLimits) -> None:
        import mujoco

        self._mujoco = mujoco
        self._model, self._data = env.sim.model._model, env.sim.data._data
        self._physics_steps = int(env.control_timestep / env.model_timestep)
        robot = env.robots[0]
        self._controller, self._gripper = robot.controller, robot.gripper
        self._site = env.sim.model.site_name2id(self._controller.eef_name)
        self._positions = np.asarray(self._controller.qpos_index)
        self._velocities = np.asarray(self._controller.qvel_index)
        self._arm = np.asarray(robot._ref_joint_actuator_indexes)
        self._torque_low, self._torque_high = robot.torque_limits
        self._fingers = np.asarray([env.sim.model.actuator_name2id(name) for name in self._gripper.actuators])
        low, high = self._model.actuator_ctrlrange[self._fingers].T
        self._finger_middle, self._finger_half_range = 0.5 * (high + low), 0.5 * (high - low)
        self._jacobian = np.zeros((2, 3, self._model.nv))
        self._mass = np.zeros((self._model.nv, self._model.nv))
        self._gripper_at_rest = np.zeros_like(self._gripper.current_action)
        self._fresh = _copy(vars(self._controller))

    def reset(self) -> None:
        """Forget the last episode: controller and gripper as after robosuite's own reset."""
        vars(self._controller).update(_copy(self._fresh))
        self._gripper.current_action = self._gripper_at_rest.copy()

    def step(self, action: Array) -> None:
        """Apply one action ``(A,)`` float64, the arm's part and the gripper's, for one control step."""
        mujoco, model, data, controller = self._mujoco, self._model, self._data, self._controller
        for physics_step in range(self._physics_steps):
            mujoco.mj_step1(model, data)
            if controller.new_update:
                self._read_arm()
            if physics_step == 0:
                self._aim(action[:-1])
            torques = controller.run_controller()
            grip = self._gripper.format_action(action[-1:])
            data.ctrl[self._fingers] = self._finger_middle + self._finger_half_range * grip
            data.ctrl[self._arm] = np.clip(torques, self._torque_low, self._torque_high)
            mujoco.mj_step2(model, data)

    def led(self, hand: Array) -> Array:
        """The action ``(A,)`` that leads the hand as OSC_POSE's ``(7,)`` would: translation, rotation, gripper."""
        return hand

    def _aim(self, arm: Array) -> None:
        self._controller.set_goal(arm)

    def _read_arm(self) -> None:
        """What the controller's own ``update`` reads, without running the kinematics again."""
        data, controller, arm = self._data, self._controller, self._velocities
        linear, angular = self._jacobian
        self._mujoco.mj_jacSite(self._model, data, linear, angular, self._site)
        controller.ee_pos = data.site_xpos[self._site].copy()
        controller.ee_ori_mat = data.site_xmat[self._site].reshape(3, 3).copy()
        controller.ee_pos_vel, controller.ee_ori_vel = linear @ data.qvel, angular @ data.qvel
        controller.joint_pos, controller.joint_vel = data.qpos[self._positions], data.qvel[arm]
        controller.J_pos, controller.J_ori = linear[:, arm], angular[:, arm]
        controller.J_full = np.vstack([controller.J_pos, controller.J_ori])
        self._mujoco.mj_fullM(self._model, data, self._mass)
        controller.mass_matrix = self._mass[arm][:, arm]
        controller.new_update = False


class JointControlLoop(ControlLoop):
    """The same for an arm that is told where its joints should go, as most are (robosuite's JOINT_POSITION)."""

    STIFFNESS = 400.0
    """1/s^2, critically damped: joints are 0.1 s behind, as behind a trajectory controller that is given points 0.1 s
    ahead (the contract ``ur5e``). robosuite's default is 0.28 s; OSC_POSE is 0.16 s."""
    DAMPING = 0.05
    """Of the inverse kinematics; near a singularity the hand falls behind rather than that a joint spins."""
    POSTURE = 0.1
    """Share of the way back to the posture of the start that joints go in a step where the hand does not mind."""
    LEAD = np.sqrt(150.0 / STIFFNESS)
    """How far ahead of the hand a step leads, of what it does where OSC_POSE (150 1/s^2) follows: as fast, that is."""
    MARGIN = 0.9
    """Share of the joints' limits that ``led`` uses."""

    def __init__(self, env: Any, limits: JointLimits) -> None:
        robot = env.robots[0]
        robot.controller.kp[:], robot.controller.kd[:] = self.STIFFNESS, 2 * np.sqrt(self.STIFFNESS)
        super().__init__(env, limits)
        self._limits, self._step_s = limits, env.control_timestep
        self._posture = np.array(robot.init_qpos)
        self._last: Array | None = None
        self._speed = np.zeros_like(self._posture)

    def reset(self) -> None:
        super().reset()
        self._last = None
        self._speed = np.zeros_like(self._posture)

    def led(self, hand: Array) -> Array:
        """One step of damped least squares from where the joints are (Wampler 1986), the rest towards a posture; no
        faster from what was commanded last than the joints' limits allow."""
        self._mujoco.mj_forward(self._model, self._data)  # the kinematics lag one physics step behind the joints
        linear, angular = self._jacobian
        self._mujoco.mj_jacSite(self._model, self._data, linear, angular, self._site)
        jacobian = np.vstack([linear[:, self._velocities], angular[:, self._velocities]])
        inverse = jacobian.T @ np.linalg.inv(jacobian @ jacobian.T + self.DAMPING**2 * np.eye(6))
        at = self._data.qpos[self._positions]
        moves = inverse @ (np.clip(hand[:-1], -1, 1) * HAND_SCALE * self.LEAD)
        idle = (np.eye(len(at)) - inverse @ jacobian) @ (self._posture - at)
        return np.append(self._reachable(at + moves + self.POSTURE * idle), hand[-1])

    def _reachable(self, target: Array) -> Array:
        """The nearest to a target that velocity and acceleration allow, from command to command."""
        last = self._data.qpos[self._positions] if self._last is None else self._last
        fastest, change = self.MARGIN * self._limits.velocity, self.MARGIN * self._limits.acceleration * self._step_s
        wanted = np.clip((target - last) / self._step_s, self._speed - change, self._speed + change)
        reached = last + np.clip(wanted, -fastest, fastest) * self._step_s
        return np.clip(reached, self._limits.lower, self._limits.upper)

    def _aim(self, arm: Array) -> None:
        last = self._data.qpos[self._positions] if self._last is None else self._last
        self._last, self._speed = arm.copy(), (arm - last) / self._step_s
        self._controller.set_goal(np.zeros_like(arm), set_qpos=arm)


def _copy(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in attributes.items()}
