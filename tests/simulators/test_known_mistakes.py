"""The mistakes that are known to have ruined LIBERO results elsewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from world2act_core.simulators.libero import SETTLE_ACTION, SETTLE_STEPS, LiberoSimulator
from world2act_core.simulators.libero_package import HORIZONS, horizon
from world2act_core.simulators.starts import Start
from world2act_core.types import Array

pytestmark = pytest.mark.libero

STOCK = """
import sys
import numpy as np
from libero.libero.benchmark import get_benchmark
from libero.libero.envs import OffScreenRenderEnv

actions = np.load(sys.argv[1])
benchmark = get_benchmark("libero_goal")()
env = OffScreenRenderEnv(bddl_file_name=benchmark.get_task_bddl_file_path(8), use_camera_obs=False)
env.seed(0)
env.reset()
env.set_init_state(benchmark.get_task_init_states(8)[3])
states = []
for action in actions:
    env.step(action)
    states.append(env.get_sim_state())
np.savez(sys.argv[2], states=states, bodies=env.sim.model.body_pos)
"""


def start(index: int, jitter_cm: float = 0.0, seed: int = 0) -> Start:
    return Start("libero_goal", 8, index, jitter_cm, seed)


def wandering(steps: int, seed: int = 0) -> Array:
    """Actions that move every axis and the gripper, and push into the table."""
    rng = np.random.default_rng(seed)
    actions = rng.uniform(-1, 1, (steps, 7))
    actions[:, 2] -= 0.5
    return actions


def test_physics_is_stock_libero_to_the_bit(simulator: LiberoSimulator, tmp_path: Path) -> None:
    """Settle steps, gripper, controller and fixtures included; otherwise results do not compare with published ones."""
    actions = wandering(30)
    np.save(tmp_path / "actions.npy", np.concatenate([np.tile(SETTLE_ACTION, (SETTLE_STEPS, 1)), actions]))
    subprocess.run(
        [sys.executable, "-c", STOCK, tmp_path / "actions.npy", tmp_path / "stock.npz"],
        check=True,
        capture_output=True,
        timeout=120,
    )
    stock = np.load(tmp_path / "stock.npz")
    simulator.reset(start(3))
    ours = [simulator.state()]
    for action in actions:
        simulator.step(action)
        ours.append(simulator.state())
    assert np.array_equal(np.array(ours), stock["states"][SETTLE_STEPS - 1 :])
    assert np.array_equal(simulator._model.body_pos, stock["bodies"])  # cabinets and stoves, which no state stores


def test_every_start_is_its_own_official_state_to_the_bit(simulator: LiberoSimulator) -> None:
    """One initial state for all trials is the classic mistake."""
    states = [simulator.start_state(start(index)) for index in range(len(simulator.initial_states))]
    assert len(states) == 50
    assert np.array_equal(np.array(states), simulator.initial_states)
    assert len({state.tobytes() for state in states}) == 50


def test_different_starts_are_different_scenes_after_the_reset(simulator: LiberoSimulator) -> None:
    simulator.reset(start(0))
    first = simulator.object_position("akita_black_bowl_1")
    simulator.reset(start(1))
    assert np.linalg.norm(simulator.object_position("akita_black_bowl_1") - first) > 1e-4


def test_the_scene_has_settled(simulator: LiberoSimulator) -> None:
    """Without settle steps the objects are still falling when the policy looks first."""
    simulator.reset(start(0))
    before = {name: simulator.object_position(name) for name in simulator.objects}
    simulator.step(SETTLE_ACTION)
    moved = [np.linalg.norm(simulator.object_position(name) - before[name]) for name in simulator.objects]
    simulator._set_state(simulator.start_state(start(0)))
    unsettled = {name: simulator.object_position(name) for name in simulator.objects}
    simulator.step(SETTLE_ACTION)
    fell = [np.linalg.norm(simulator.object_position(name) - unsettled[name]) for name in simulator.objects]
    assert max(moved) < 5e-4 < max(fell)


def test_there_are_ten_settle_steps_with_an_open_gripper() -> None:
    assert SETTLE_STEPS == 10
    assert SETTLE_ACTION.tolist() == [0, 0, 0, 0, 0, 0, -1]


def test_time_begins_after_settling(simulator: LiberoSimulator) -> None:
    simulator.reset(start(0))
    stamps = [simulator.observe().stamp]
    for _ in range(3):
        simulator.step(SETTLE_ACTION)
        stamps.append(simulator.observe().stamp)
    assert stamps == [0.0, 0.05, 0.1, 3 / 20]


@pytest.mark.parametrize("camera", ["agentview", "wrist"])
@pytest.mark.parametrize("name", ["cream_cheese_1", "wine_bottle_1", "plate_1"])
def test_images_are_upright_and_not_mirrored(simulator: LiberoSimulator, camera: str, name: str) -> None:
    """An object's pixels, found by taking it away, lie where the camera's geometry projects it."""
    simulator.reset(start(0))
    column, row = projected(simulator, camera, simulator.object_position(name))
    size = simulator.embodiment.cameras[camera].width
    assert 0 < column < size and 0 < row < size
    with_object = simulator.observe([camera]).images[camera].astype(int)
    address = simulator._objects[name]
    simulator._data.qpos[address + 2] += 5.0
    without = simulator.observe([camera]).images[camera].astype(int)
    rows, columns = np.nonzero(np.abs(with_object - without).sum(axis=-1) > 20)
    found = np.array([np.median(columns), np.median(rows)])
    assert np.linalg.norm(found - [column, row]) < 8
    for flipped in ([size - column, row], [column, size - row], [size - column, size - row]):
        if np.linalg.norm(np.array(flipped) - [column, row]) > 16:
            assert np.linalg.norm(found - flipped) > 8


def projected(simulator: LiberoSimulator, camera: str, point: Array) -> tuple[float, float]:
    """Pixel (column, row) of a point in the world; MuJoCo's cameras look along -z with y up."""
    from world2act_core.simulators.libero import CAMERAS

    eye = simulator._data.camera(CAMERAS[camera])
    x, y, z = eye.xmat.reshape(3, 3).T @ (point - eye.xpos)
    size = simulator.embodiment.cameras[camera].width
    focal = size / 2 / np.tan(np.radians(simulator._model.camera(CAMERAS[camera]).fovy[0]) / 2)
    return size / 2 + focal * x / -z, size / 2 - focal * y / -z


def test_open_opens_and_close_closes(simulator: LiberoSimulator) -> None:
    """The wrong gripper sign; the values are those of the embodiment."""
    gripper = simulator.embodiment.gripper
    widths = {}
    simulator.reset(start(0))
    for name, value in (("close", gripper.close), ("open", gripper.open)):
        action = np.zeros(7)
        action[gripper.index] = value
        for _ in range(15):
            simulator.step(action)
        left, right = simulator.observe().state["gripper_positions"]
        widths[name] = left - right
    assert widths["close"] < 0.01
    assert widths["open"] == pytest.approx(gripper.fully_open_width_m, abs=0.004)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_translation_moves_along_its_axis_of_the_world(simulator: LiberoSimulator, axis: int) -> None:
    simulator.reset(start(0))
    before = simulator.observe().state["eef_position"]
    action = np.zeros(7)
    action[axis], action[6] = 0.5, simulator.embodiment.gripper.open
    for _ in range(4):
        simulator.step(action)
    moved = simulator.observe().state["eef_position"] - before
    assert moved[axis] > 0.01
    assert np.abs(np.delete(moved, axis)).max() < 0.3 * moved[axis]


@pytest.mark.parametrize(
    ("suite", "steps"),
    [("libero_spatial", 220), ("libero_object", 280), ("libero_goal", 300), ("libero_10", 520), ("libero_90", 400)],
)
def test_horizons_are_the_published_ones(suite: str, steps: int) -> None:
    assert horizon(suite) == HORIZONS[suite] == steps
    assert horizon(f"{suite}_swap") == steps


def test_the_simulator_has_its_suites_horizon(simulator: LiberoSimulator) -> None:
    assert simulator.horizon == 300
    assert simulator.task == "put the bowl on the plate"
