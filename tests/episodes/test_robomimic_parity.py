"""A rollout recorded as LIBERO's own script records it, and by our simulator, is the same episode."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.episodes.hdf5_examples import Example, libero_file
from world2act_core.embodiment import load_embodiment
from world2act_core.episodes.robomimic import iterate_robomimic
from world2act_core.simulators.libero import SETTLE_ACTION, SETTLE_STEPS, LiberoSimulator
from world2act_core.simulators.starts import Start
from world2act_core.types import Array, Episode, Observation

pytestmark = [pytest.mark.libero, pytest.mark.slow]

START = Start("libero_goal", 8, 3)
STEPS = 8  # two chunks

# What LIBERO's scripts/create_dataset.py stores of a rollout, with stock LIBERO: with each action the observation that
# env.step returned for it, and MuJoCo's state before it.
STOCK = """
import sys
import numpy as np
from libero.libero.benchmark import get_benchmark
from libero.libero.envs import OffScreenRenderEnv
from robosuite.utils.transform_utils import quat2axisangle

actions = np.load(sys.argv[1])
benchmark = get_benchmark("libero_goal")()
env = OffScreenRenderEnv(
    bddl_file_name=benchmark.get_task_bddl_file_path(8), camera_heights=128, camera_widths=128, control_freq=20
)
env.seed(0)
env.reset()
env.set_state(benchmark.get_task_init_states(8)[3])  # set_init_state would shift when observables are sampled
env.sim.forward()
rows = []
for action in actions:
    state = env.get_sim_state()
    obs, _, _, _ = env.step(action)
    rows.append({
        "actions": action,
        "states": state,
        "obs/joint_states": obs["robot0_joint_pos"],
        "obs/gripper_states": obs["robot0_gripper_qpos"],
        "obs/ee_pos": obs["robot0_eef_pos"],
        "obs/ee_ori": quat2axisangle(obs["robot0_eef_quat"]),
        "obs/agentview_rgb": obs["agentview_image"],
        "obs/eye_in_hand_rgb": obs["robot0_eye_in_hand_image"],
    })
np.savez(sys.argv[2], **{key: np.stack([row[key] for row in rows]) for key in rows[0]})
"""


@dataclass(frozen=True)
class Rollout:
    """The same ``STEPS`` actions, recorded twice.

    Attributes:
        observations: of our simulator, before each action and after the last.
        stock: datasets of LIBERO's script; the first row is of the last settle step.
    """

    actions: Array
    observations: list[Observation]
    stock: dict[str, Array]

    def images(self, camera: str) -> Array:
        return np.stack([observation.images[camera] for observation in self.observations])

    def state(self, stream: str) -> Array:
        return np.stack([observation.state[stream] for observation in self.observations])


@pytest.fixture(scope="module")
def rollout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rollout]:
    if importlib.util.find_spec("libero") is None:
        pytest.skip("LIBERO is not installed (extra: libero)")
    folder = tmp_path_factory.mktemp("rollout")
    actions = np.random.default_rng(0).uniform(-1, 1, (STEPS, 7))
    np.save(folder / "actions.npy", np.concatenate([np.tile(SETTLE_ACTION, (SETTLE_STEPS, 1)), actions]))
    subprocess.run(
        [sys.executable, "-c", STOCK, folder / "actions.npy", folder / "stock.npz"],
        check=True,
        capture_output=True,
        timeout=150,
    )
    stock = {key: rows[SETTLE_STEPS - 1 :] for key, rows in np.load(folder / "stock.npz").items()}
    simulator = LiberoSimulator(START.suite, START.task)
    try:
        simulator.reset(START)
        cameras = list(simulator.embodiment.cameras)
        observations = [simulator.observe(cameras)]
        for action in actions:
            simulator.step(action)
            observations.append(simulator.observe(cameras))
        yield Rollout(actions, observations, stock)
    finally:
        simulator.close()


@pytest.fixture
def episode(rollout: Rollout, tmp_path: Path) -> Episode:
    """LIBERO's record, read back."""
    path = libero_file(tmp_path / "stock.hdf5", Example(rollout.stock))
    (read,) = iterate_robomimic(path, load_embodiment("libero_panda"))
    return read


def test_actions_and_stamps_are_equal(rollout: Rollout, episode: Episode) -> None:
    assert episode.actions is not None
    np.testing.assert_array_equal(episode.actions, rollout.actions.astype(np.float32))
    np.testing.assert_array_equal(episode.stamps, [observation.stamp for observation in rollout.observations])


@pytest.mark.parametrize("stream", ["joint_positions", "gripper_positions"])
def test_joints_are_equal_to_the_bit(rollout: Rollout, episode: Episode, stream: str) -> None:
    """So every row of the file is what was reached after its action, and no action is a step early or late."""
    np.testing.assert_array_equal(episode.state[stream], rollout.state(stream))
    moved = np.abs(np.diff(rollout.state(stream), axis=0)).max(axis=1)
    assert moved.min() > 1e-5  # a step's difference would have been seen


def test_the_hand_is_where_it_was_within_one_physics_step(rollout: Rollout, episode: Episode) -> None:
    """robosuite reads poses that lag the joints by 2 ms; a control step is 25 times as long."""
    position, orientation = (rollout.state(name) for name in ("eef_position", "eef_orientation"))
    assert np.abs(episode.state["eef_position"] - position).max() < 1.5e-3
    assert np.abs(np.diff(position, axis=0)).max() > 4e-3
    assert np.abs(episode.state["eef_orientation"] - orientation).max() < 5e-3  # in sign too
    assert np.abs(np.diff(orientation, axis=0)).max() > 5e-3


@pytest.mark.parametrize("camera", ["agentview", "wrist"])
def test_images_are_the_same_way_up_and_of_the_same_instant(rollout: Rollout, episode: Episode, camera: str) -> None:
    """Renderers differ in light and haze, so likeness is measured, against every other way to hold the picture."""
    ours, read = rollout.images(camera).astype(float), episode.images[camera].astype(float)
    apart = np.abs(ours - read).mean()
    for turned in (read[:, ::-1], read[:, :, ::-1], read[:, ::-1, ::-1]):
        assert apart < 0.5 * np.abs(ours - turned).mean()
    assert apart < np.abs(ours[1:] - read[:-1]).mean()
    assert apart < np.abs(ours[:-1] - read[1:]).mean()
