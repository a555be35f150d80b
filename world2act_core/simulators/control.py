"""robosuite's control step without what nobody reads: the same motion to the bit in half the time.

The stock ``env.step`` runs the kinematics three times a physics step, looks names up, and fills some forty
observables. Here each physics step is MuJoCo's own two halves with robosuite's controller between them. That the
states are identical is tested against the stock environment.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from world2act_core.types import Array


class ControlLoop:
    """Drives one robosuite arm and gripper for whole control steps.

    Args:
        env: a robosuite environment with one arm under OSC_POSE, freshly reset.
    """

    def __init__(self, env: Any) -> None:
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
        """Apply one action, ``(7,)`` float64 in -1..1, for one control step."""
        mujoco, model, data, controller = self._mujoco, self._model, self._data, self._controller
        for physics_step in range(self._physics_steps):
            mujoco.mj_step1(model, data)
            if controller.new_update:
                self._read_arm()
            if physics_step == 0:
                controller.set_goal(action[:6])
            torques = controller.run_controller()
            grip = self._gripper.format_action(action[6:])
            data.ctrl[self._fingers] = self._finger_middle + self._finger_half_range * grip
            data.ctrl[self._arm] = np.clip(torques, self._torque_low, self._torque_high)
            mujoco.mj_step2(model, data)

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


def _copy(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in attributes.items()}
