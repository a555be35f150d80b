"""RoboCasa's kitchens behind our simulator protocol.

An episode is a seed: it draws the kitchen, its objects, where they are and where the robot stands, all by RoboCasa's
own code. Success is RoboCasa's own check after each step, the time limit that of RoboCasa's registry.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from world2act_core.embodiment import load_embodiment
from world2act_core.errors import World2ActError
from world2act_core.simulators.rendering import FAST, OffscreenRenderer, RenderSettings
from world2act_core.simulators.robocasa.assets import DOWNLOAD
from world2act_core.simulators.robocasa.package import (
    EMBODIMENT,
    facts,
    import_robocasa,
    load_suite,
    make_environment,
    use_objects,
)
from world2act_core.simulators.robocasa.suites import task_of
from world2act_core.simulators.robocasa.truth import Truth, truth_of
from world2act_core.simulators.starts import Start
from world2act_core.types import Array, Observation

CAMERAS = {
    "agentview_left": "robot0_agentview_left",
    "agentview_right": "robot0_agentview_right",
    "wrist": "robot0_eye_in_hand",
}
"""Camera of the embodiment → camera of the scene."""
BASE_SITE, EEF_SITE, EEF_BODY = "mobilebase0_center", "gripper0_right_grip_site", "robot0_right_hand"


class RoboCasaSimulator:
    """One task of RoboCasa under the embodiment ``panda_omron``.

    The same start and actions give the same states bit for bit. Runs in RoboCasa's own environment.

    Attributes:
        embodiment, horizon: see ``simulators.protocol.Simulator``.
        task: the instruction of the present episode, which names its objects; before the first reset the task's name.
        suite, task_index: which task this is.
        facts: what outcomes depend on, JSON values: RoboCasa's version, what the assets are, what robosuite lacked, the
            object categories that are left out because nothing of them is there, and the episode's kitchen.

    Raises:
        MissingExtraError: RoboCasa or its assets are not there.
        World2ActError: no such suite or task.
    """

    def __init__(self, suite: str, task: int, image_size: int | None = None, rendering: RenderSettings = FAST) -> None:
        """``image_size``: rows and columns of every image; None takes the embodiment's."""
        named, tasks = load_suite(suite)
        found = task_of(tasks, suite, task)
        self.embodiment = load_embodiment(EMBODIMENT)
        self.suite, self.task_index, self.task, self.horizon = suite, task, found.name, found.horizon
        self._environment, self._split = found.environment, named.split
        self._image_size, self._rendering = image_size, rendering
        self._env = make_environment(named, found)
        self.facts = facts()
        self._renderer: OffscreenRenderer | None = None
        self._steps = 0
        self.frames_rendered = 0

    def reset(self, start: Start) -> None:
        """Build the episode of a seed, in which RoboCasa lets objects settle for ten control steps; time becomes 0.

        Raises:
            World2ActError: the start belongs to another task, asks for a displacement, or the assets lack something
                that its kitchen is made of.
        """
        if (start.suite, start.task) != (self.suite, self.task_index):
            raise World2ActError(f"start {start.id} is not one of {self.suite}/{self.task_index}")
        if start.jitter_cm:
            raise World2ActError(
                f"start {start.id}: RoboCasa places everything anew for each seed, so displacements (jitter_cm) are "
                f"not offered: take {self.suite}/{self.task_index}/i<seed>"
            )
        self._close_renderer()
        left_out = use_objects(self._split)
        self._build(start)
        about = self._env.get_ep_meta()
        self.task = str(about["lang"])
        self.facts |= {"object_categories_left_out": len(left_out)} if left_out else {}
        self.facts["kitchen"] = {"layout": about["layout_id"], "style": about["style_id"]}
        self._steps = 0

    def observe(self, cameras: Sequence[str] = ()) -> Observation:
        """State now, with images of the named cameras ``(H, W, 3)`` uint8, upright.

        Raises:
            ContractError: the embodiment has no such camera.
        """
        _, data = self.mujoco
        self._refresh()
        robot = self._env.robots[0]
        base_position, base_matrix = data.site(BASE_SITE).xpos, data.site(BASE_SITE).xmat.reshape(3, 3)
        eef_matrix = data.body(EEF_BODY).xmat.reshape(3, 3)
        state = {
            "joint_positions": data.qpos[robot._ref_joint_pos_indexes],
            "gripper_positions": data.qpos[robot._ref_gripper_joint_pos_indexes["right"]],
            "base_position": base_position,
            "base_orientation": quaternion(base_matrix),
            "eef_position": base_matrix.T @ (data.site(EEF_SITE).xpos - base_position),
            "eef_orientation": quaternion(base_matrix.T @ eef_matrix),
        }
        return Observation(
            stamp=self._steps / self.embodiment.control_rate_hz,
            images={camera: self._image(camera) for camera in cameras},
            state={name: np.array(value, np.float32) for name, value in state.items()},
        )

    def step(self, action: Array) -> bool:
        """Apply one action ``(12,)`` for one control step; True while RoboCasa counts the task as solved.

        Raises:
            ContractError: the action has another shape or is not finite.
        """
        values = self.embodiment.checked_action(action)  # a copy: robosuite's base controller writes into it
        env = self._env
        # robosuite's own control step without its observables, which nobody reads here: the same states, half the time.
        env.timestep += 1
        for physics_step in range(int(env.control_timestep / env.model_timestep)):
            env.sim.step1()
            env._pre_action(values, physics_step == 0)
            env.sim.step2()
        env.cur_time += env.control_timestep
        env._post_action(values)
        self._steps += 1
        return bool(env._check_success())

    def truth(self) -> Truth:
        """Privileged: what a scripted demonstrator may know of the scene as it is now; no policy may read this."""
        self._refresh()
        return truth_of(self._env)

    @property
    def mujoco(self) -> tuple[Any, Any]:
        """Privileged: MuJoCo's model and data, to be read only."""
        return self._env.sim.model._model, self._env.sim.data._data

    def state(self) -> Array:
        """The whole physical state now, ``(1 + nq + nv,)`` float64: time, positions, velocities."""
        _, data = self.mujoco
        return np.concatenate([[data.time], data.qpos, data.qvel])

    def close(self) -> None:
        """Free the simulator."""
        self._close_renderer()
        self._env.close()

    def _build(self, start: Start) -> None:
        """RoboCasa's reset, all of whose randomness comes from the start's seed."""
        self._env.seed, self._env.rng = start.index, np.random.default_rng(start.index)
        generator = np.random.get_state()
        np.random.seed(start.index)  # fixtures draw a few colours from numpy's global generator
        try:
            with _quick_yaml():
                self._env.reset()
        except (OSError, ValueError) as error:  # a file that is missing; MuJoCo's complaint about one; nothing to draw
            reason = " ".join(str(error).split())[:300]
            raise World2ActError(
                f"start {start.id}: RoboCasa cannot build {self._environment} from the assets in "
                f"{import_robocasa().assets} ({reason}): complete them with {DOWNLOAD}"
            ) from error
        finally:
            np.random.set_state(generator)

    def _refresh(self) -> None:
        """Poses lag one physics step behind the joints otherwise; only kinematics, so that looking changes nothing."""
        import mujoco

        model, data = self.mujoco
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_camlight(model, data)

    def _image(self, camera: str) -> Array:
        contract = self.embodiment.camera(camera)
        if self._renderer is None:  # every episode has its own model
            self._renderer = OffscreenRenderer(*self.mujoco, self._rendering)
        self.frames_rendered += 1
        return self._renderer.render(
            CAMERAS[camera], self._image_size or contract.width, self._image_size or contract.height
        )

    def _close_renderer(self) -> None:
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


def quaternion(matrix: Array) -> Array:
    """A rotation matrix ``(3, 3)`` as quaternion xyzw, w not negative."""
    import mujoco

    wxyz = np.zeros(4)
    mujoco.mju_mat2Quat(wxyz, np.ascontiguousarray(matrix).reshape(9))
    return np.asarray(wxyz[[1, 2, 3, 0]] * (1.0 if wxyz[0] >= 0 else -1.0))


@contextlib.contextmanager
def _quick_yaml() -> Iterator[None]:
    """Building a kitchen reads the same hundred YAML files again and again: libyaml takes a tenth of the time."""
    import yaml

    stock = yaml.SafeLoader
    yaml.SafeLoader = getattr(yaml, "CSafeLoader", stock)  # type: ignore[misc]  # what yaml.safe_load looks up
    try:
        yield
    finally:
        yaml.SafeLoader = stock  # type: ignore[misc]
