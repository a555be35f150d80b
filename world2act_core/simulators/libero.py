"""LIBERO (Liu et al. 2023, arXiv 2306.03310) as one of our simulators, by the protocol that papers report.

Official initial states, ten settle steps, the published horizons, success as LIBERO says it. Physics is LIBERO's own to
the bit; images are rendered only when an observation names cameras.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from world2act_core.embodiment import load_embodiment
from world2act_core.errors import World2ActError
from world2act_core.simulators.control import ControlLoop, JointControlLoop
from world2act_core.simulators.libero_package import import_libero, load_task, suite_size
from world2act_core.simulators.rendering import FAST, OffscreenRenderer, RenderSettings
from world2act_core.simulators.starts import Start, contract_of
from world2act_core.simulators.suites import TaskFacts
from world2act_core.types import Array, Observation

EMBODIMENT = "libero_panda"
CONTROLLERS = {EMBODIMENT: ("OSC_POSE", ControlLoop), "libero_panda_joints": ("JOINT_POSITION", JointControlLoop)}
"""Contract → robosuite's controller that carries its actions out, and what drives it."""
SETTLE_STEPS = 10
SETTLE_ACTION = np.array([0, 0, 0, 0, 0, 0, -1.0])
"""Hold still with the gripper open while the objects come to rest; of a hand, see ``LiberoSimulator.led``."""

FIXTURE_SEED = 0
"""LIBERO places cabinets and stoves at random and no initial state stores where; one seed, so that they stand still."""

CAMERAS = {"agentview": "agentview", "wrist": "robot0_eye_in_hand"}
"""Camera of the embodiment → camera of the scene."""

JITTER_TRIES = 200
DEEPEST_OVERLAP_M = 0.002
"""A displacement that pushes an object deeper than this into something is drawn again."""

_live: list[weakref.ref[LiberoSimulator]] = []
"""The simulator of this process, if one is open."""


class LiberoSimulator:
    """One LIBERO task under the embodiment ``libero_panda``, the benchmark's, or the one that the suite's name ends
    with (``libero_goal@libero_panda_joints``).

    The same start and actions give the same states bit for bit, whatever was simulated before. One at a time in a
    process (MuJoCo's rendering contexts disturb each other): close one before making the next, or use
    ``workers.WorkerPool``.

    Attributes:
        embodiment, task, horizon: see ``simulators.protocol.Simulator``.
        suite, task_index: which task this is.
        initial_states: ``(N, 1 + nq + nv)`` float64, the official ones: time, positions, velocities.

    Raises:
        MissingExtraError: LIBERO is not installed.
        World2ActError: no such suite, task or contract, or another simulator lives in this process.
    """

    def __init__(self, suite: str, task: int, image_size: int | None = None, rendering: RenderSettings = FAST) -> None:
        """``image_size``: rows and columns of every image; None takes the embodiment's."""
        _refuse_second()
        found = load_task(suite, task)
        contract = simulated_contract(suite)
        controller, loop = CONTROLLERS[contract]
        self.embodiment = load_embodiment(contract)
        self.suite, self.task_index = suite, task
        self.task, self.horizon, self.initial_states = found.instruction, found.horizon, found.initial_states
        self._image_size = image_size
        self._env = _make_env(found.bddl_file, controller)
        self._model, self._data = self._env.sim.model._model, self._env.sim.data._data
        self._loop = loop(self._env, self.embodiment.limits.joints)
        self._renderer = OffscreenRenderer(self._model, self._data, rendering)
        self._arm, self._fingers, self._objects = self._joint_addresses()
        self._steps = 0
        _live.append(weakref.ref(self))

    @property
    def frames_rendered(self) -> int:
        """How many camera frames were rendered since the simulator was made."""
        return self._renderer.frames

    @property
    def objects(self) -> tuple[str, ...]:
        """Names of the movable objects."""
        return tuple(self._objects)

    def reset(self, start: Start) -> None:
        """Put the scene into a start state and let it settle; simulated time becomes 0.

        Raises:
            World2ActError: the start belongs to another task, does not exist, or cannot be displaced that far.
        """
        self._set_state(self.start_state(start))
        for _ in range(SETTLE_STEPS):
            self._loop.step(self.led(SETTLE_ACTION))
        self._steps = 0

    def start_state(self, start: Start) -> Array:
        """The state ``(1 + nq + nv,)`` float64 of a start before it settles: time, positions, velocities."""
        if (start.suite, start.task) != (self.suite, self.task_index):
            raise World2ActError(f"start {start.id} is not one of {self.suite}/{self.task_index}")
        if not 0 <= start.index < len(self.initial_states):
            raise World2ActError(
                f"start {start.id}: {self.suite}/{self.task_index} has {len(self.initial_states)} initial states"
            )
        official = self.initial_states[start.index].copy()
        return self._displaced(official, start) if start.jitter_cm else official

    def observe(self, cameras: Sequence[str] = ()) -> Observation:
        """State now, with images of the named cameras ``(H, W, 3)`` uint8, upright.

        Raises:
            ContractError: the embodiment has no such camera.
        """
        import mujoco

        mujoco.mj_forward(self._model, self._data)  # poses lag one physics step behind the joints otherwise
        pose = self._data.site("gripper0_grip_site"), self._data.body("robot0_right_hand")
        state = {
            "joint_positions": self._data.qpos[self._arm],
            "gripper_positions": self._data.qpos[self._fingers],
            "eef_position": pose[0].xpos,
            "eef_orientation": pose[1].xquat[[1, 2, 3, 0]],
        }
        return Observation(
            stamp=self._steps / self.embodiment.control_rate_hz,
            images={camera: self._image(camera) for camera in cameras},
            state={name: np.array(value, np.float32) for name, value in state.items()},
        )

    def step(self, action: Array) -> bool:
        """Apply one action ``(A,)`` for one control step; True while LIBERO's goal holds.

        Raises:
            ContractError: the action has another shape or is not finite.
        """
        self._loop.step(self.embodiment.checked_action(action))
        self._steps += 1
        return bool(self._env._check_success())

    def led(self, hand: Array) -> Array:
        """Privileged: the action ``(A,)`` that leads the hand as ``(7,)`` of ``libero_panda`` would, float64."""
        return self._loop.led(hand)

    def object_position(self, name: str) -> Array:
        """Privileged: where an object is now, ``(3,)`` float64 metres, frame world; no policy may read this."""
        return np.array(self._data.body(f"{name}_main").xpos)

    @property
    def mujoco(self) -> tuple[Any, Any]:
        """Privileged: MuJoCo's model and data, to be read only; see ``privileged.Scene``."""
        return self._model, self._data

    def state(self) -> Array:
        """The whole physical state now, ``(1 + nq + nv,)`` float64: time, positions, velocities."""
        return np.concatenate([[self._data.time], self._data.qpos, self._data.qvel])

    def close(self) -> None:
        """Free the simulator, and the process for another one."""
        self._renderer.close()
        self._env.close()
        _live[:] = [other for other in _live if other() not in (self, None)]

    def _image(self, camera: str) -> Array:
        contract = self.embodiment.camera(camera)
        self._env._post_process()  # lights a stove's flame, which is all LIBERO does there
        return self._renderer.render(
            CAMERAS[camera], self._image_size or contract.width, self._image_size or contract.height
        )

    def _set_state(self, state: Array) -> None:
        import mujoco

        mujoco.mj_resetData(self._model, self._data)  # the solver's warm start is state too
        self._data.time = state[0]
        self._data.qpos[:] = state[1 : 1 + self._model.nq]
        self._data.qvel[:] = state[1 + self._model.nq :]
        self._loop.reset()
        mujoco.mj_forward(self._model, self._data)

    def _displaced(self, official: Array, start: Start) -> Array:
        """Every movable object moved by its own uniform draw in x and y; drawn again while objects overlap."""
        rng = np.random.default_rng(start.seed)
        allowed = max(self._deepest_overlap(official), DEEPEST_OVERLAP_M)
        columns = np.array([[address, address + 1] for address in self._objects.values()]) + 1  # after the time
        for _ in range(JITTER_TRIES):
            state = official.copy()
            state[columns] += rng.uniform(-0.01 * start.jitter_cm, 0.01 * start.jitter_cm, columns.shape)
            if self._deepest_overlap(state) <= allowed:
                return state
        raise World2ActError(f"start {start.id}: no displacement without overlapping objects; use a smaller jitter")

    def _deepest_overlap(self, state: Array) -> float:
        """Metres by which the two bodies that overlap most do so."""
        self._set_state(state)
        return max(-float(self._data.contact.dist.min(initial=0.0)), 0.0)

    def _joint_addresses(self) -> tuple[Array, Array, dict[str, int]]:
        """Where in the positions the arm, the fingers and each movable object are."""
        address = self._env.sim.model.get_joint_qpos_addr
        robot = self._env.robots[0]
        fingers = np.array([address(joint) for joint in robot.gripper.joints])
        objects = {}
        for name, body in self._env.objects_dict.items():
            span = address(body.joints[-1])
            if isinstance(span, tuple):  # a free joint; a single number is a hinge or a slide
                objects[name] = int(span[0])
        return np.array(robot._ref_joint_pos_indexes), fingers, objects


def suite_tasks(suite: str, tasks: Sequence[int] = ()) -> dict[int, TaskFacts]:
    """What is known of a suite's tasks by number, see ``suites.suite_tasks``."""
    contract = simulated_contract(suite)
    controller, _ = CONTROLLERS[contract]
    protocol = {"controller": controller, "settle_steps": SETTLE_STEPS, "starts": "official initial states"}
    found = {task: load_task(suite, task) for task in tasks or range(suite_size(suite))}
    return {
        number: TaskFacts(task.instruction, task.horizon, contract, len(task.initial_states), protocol)
        for number, task in found.items()
    }


def simulated_contract(suite: str) -> str:
    """Name of the contract that a suite's scenes are simulated under.

    Raises:
        World2ActError: LIBERO's arm is not simulated under it.
    """
    contract = contract_of(suite)[1] or EMBODIMENT
    if contract not in CONTROLLERS:
        raise World2ActError(
            f"{suite}: LIBERO's arm is simulated under {' or '.join(CONTROLLERS)}, not under {contract!r}"
        )
    return contract


def _make_env(bddl_file: str, controller: str) -> Any:
    """LIBERO's environment after the published protocol's seed and reset, without its own cameras."""
    wrapper = import_libero("libero.libero.envs.env_wrapper")
    generator = np.random.get_state()
    env = wrapper.ControlEnv(
        bddl_file_name=bddl_file,
        controller=controller,
        use_camera_obs=False,
        has_offscreen_renderer=False,
        ignore_done=True,
        hard_reset=False,
        control_freq=20,
    ).env
    env.seed(FIXTURE_SEED)
    env.reset()
    np.random.set_state(generator)  # LIBERO draws from numpy's global generator, which is the caller's
    return env


def _refuse_second() -> None:
    if any(other() is not None for other in _live):
        raise World2ActError(
            "a LiberoSimulator already lives in this process and a second one could render blank images: "
            "close() the first, or use world2act_core.simulators.workers.WorkerPool"
        )
