"""The simulator's own promises: repeatable, rendering only on demand, clear about what it cannot do."""

from __future__ import annotations

import numpy as np
import pytest

from world2act_core.errors import ContractError, World2ActError
from world2act_core.simulators.libero import LiberoSimulator
from world2act_core.simulators.starts import Start
from world2act_core.types import Array

pytestmark = pytest.mark.libero


def start(index: int, jitter_cm: float = 0.0, seed: int = 0) -> Start:
    return Start("libero_goal", 8, index, jitter_cm, seed)


def states_of(simulator: LiberoSimulator, at: Start, actions: Array) -> Array:
    simulator.reset(at)
    states = []
    for action in actions:
        simulator.step(action)
        states.append(simulator.state())
    return np.array(states)


def test_the_same_start_and_actions_give_the_same_bits_after_other_episodes(simulator: LiberoSimulator) -> None:
    actions = np.random.default_rng(1).uniform(-1, 1, (25, 7))
    first = states_of(simulator, start(7, 3.0, 5), actions)
    states_of(simulator, start(2), -actions)
    simulator.observe(["agentview"])
    assert np.array_equal(states_of(simulator, start(7, 3.0, 5), actions), first)


def test_a_reset_leaves_nothing_of_the_last_episode(simulator: LiberoSimulator) -> None:
    """Not in the state vector, and yet state: forces, the gripper's ramp, what the controller last aimed at."""
    clean = states_of(simulator, start(8), np.zeros((3, 7)))
    simulator._data.body("akita_black_bowl_1_main").xfrc_applied[:3] = 0.05
    simulator.step(np.array([0, 0, 0, 0, 0, 0, 1.0]))
    assert np.array_equal(states_of(simulator, start(8), np.zeros((3, 7))), clean)


def test_looking_does_not_change_what_happens(simulator: LiberoSimulator) -> None:
    actions = np.random.default_rng(2).uniform(-1, 1, (15, 7))
    unseen = states_of(simulator, start(4), actions)
    simulator.reset(start(4))
    for action in actions:
        simulator.observe(["agentview"])
        simulator.step(action)
    assert np.array_equal(simulator.state(), unseen[-1])


def test_frames_are_rendered_only_for_named_cameras(simulator: LiberoSimulator) -> None:
    before = simulator.frames_rendered
    simulator.reset(start(0))
    simulator.step(np.zeros(7))
    assert simulator.observe().images == {}
    assert simulator.frames_rendered == before
    assert set(simulator.observe(["agentview", "wrist"]).images) == {"agentview", "wrist"}
    assert simulator.frames_rendered == before + 2


def test_observations_follow_the_embodiment(simulator: LiberoSimulator) -> None:
    simulator.reset(start(0))
    seen = simulator.observe(["agentview", "wrist"])
    contract = simulator.embodiment
    assert {name: value.shape for name, value in seen.state.items()} == {
        name: (stream.size,) for name, stream in contract.state.items()
    }
    assert all(value.dtype == np.float32 for value in seen.state.values())
    for name, image in seen.images.items():
        assert image.shape == (contract.cameras[name].height, contract.cameras[name].width, 3)
        assert image.dtype == np.uint8 and image.std() > 10
    limits = contract.limits
    assert (seen.state["joint_positions"] > limits.joints.lower).all()
    assert (seen.state["joint_positions"] < limits.joints.upper).all()
    assert (seen.state["eef_position"] > limits.workspace_lower).all()
    assert (seen.state["eef_position"] < limits.workspace_upper).all()


def test_the_orientation_is_xyzw_with_the_fingers_down(simulator: LiberoSimulator) -> None:
    simulator.reset(start(0))
    x, y, z, w = simulator.observe().state["eef_orientation"]
    finger_direction = np.array([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)])
    assert np.dot(finger_direction, [0, 0, -1]) > 0.99


def test_earlier_observations_are_not_overwritten(simulator: LiberoSimulator) -> None:
    simulator.reset(start(0))
    first = simulator.observe(["agentview"])
    image, state = first.images["agentview"].copy(), first.state["eef_position"].copy()
    for _ in range(5):
        simulator.step(np.array([0.5, 0.5, -0.5, 0, 0, 0, 1]))
    simulator.observe(["agentview"])
    assert np.array_equal(first.images["agentview"], image)
    assert np.array_equal(first.state["eef_position"], state)


def test_jitter_moves_every_object_within_its_bounds_and_nothing_else(simulator: LiberoSimulator) -> None:
    official = simulator.start_state(start(6))
    displaced = simulator.start_state(start(6, 3.0, 11))
    columns = np.array([[address + 1, address + 2] for address in simulator._objects.values()])
    moved = displaced - official
    assert (np.abs(moved[columns]) <= 0.03).all() and (moved[columns] != 0).all()
    moved[columns] = 0
    assert not moved.any()
    assert len(columns) == 4


def test_jitter_is_a_function_of_the_start(simulator: LiberoSimulator) -> None:
    displaced = [simulator.start_state(start(6, 3.0, seed)) for seed in (1, 2, 1)]
    assert np.array_equal(displaced[0], displaced[2])
    assert not np.array_equal(displaced[0], displaced[1])


@pytest.mark.parametrize("seed", [2, 7, 17, 21])
def test_displaced_objects_do_not_burst_apart(simulator: LiberoSimulator, seed: int) -> None:
    """Objects pushed into each other jump away while settling: by 2 to 47 cm with the first draw of these seeds."""
    at = start(seed, 3.0, seed)
    placed = simulator.start_state(at)
    simulator.reset(at)
    for name, address in simulator._objects.items():
        drift = simulator.object_position(name)[:2] - placed[address + 1 : address + 3]
        assert np.linalg.norm(drift) < 0.018, name


@pytest.mark.parametrize(
    ("at", "says"),
    [
        (Start("libero_goal", 7, 0), "not one of libero_goal/8"),
        (start(50), "has 50 initial states"),
    ],
)
def test_impossible_starts_are_refused(simulator: LiberoSimulator, at: Start, says: str) -> None:
    with pytest.raises(World2ActError, match=says):
        simulator.reset(at)


def test_a_jitter_that_leaves_no_room_is_refused(simulator: LiberoSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    official = simulator.initial_states[0]
    monkeypatch.setattr(simulator, "_deepest_overlap", lambda state: float(not np.array_equal(state, official)))
    with pytest.raises(World2ActError, match=r"i0\+3cm#0: no displacement .* use a smaller jitter"):
        simulator.reset(start(0, 3.0))


@pytest.mark.parametrize("action", [np.zeros(6), np.full(7, np.nan)])
def test_malformed_actions_are_refused(simulator: LiberoSimulator, action: Array) -> None:
    simulator.reset(start(0))
    with pytest.raises(ContractError, match="7 finite numbers"):
        simulator.step(action)


def test_an_unknown_camera_is_refused(simulator: LiberoSimulator) -> None:
    with pytest.raises(ContractError, match="no camera 'frontview': it has agentview, wrist"):
        simulator.observe(["frontview"])


def test_a_second_simulator_in_one_process_is_refused(simulator: LiberoSimulator) -> None:
    with pytest.raises(World2ActError, match="already lives in this process"):
        LiberoSimulator("libero_goal", 8)
