"""Where an arm is commanded by positions, what is learned is how far an action leads from where the arm stands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.embodiment.contracts import of_poses
from tests.runtime.arms import pose
from world2act_core.embodiment import load_embodiment
from world2act_core.embodiment.displacement import (
    LEAST_UNIT,
    Displacement,
    may_rest,
    placed_dimensions,
    standing,
)
from world2act_core.errors import ContractError

UR5E, PANDA = load_embodiment("ur5e"), load_embodiment("libero_panda")


def test_joints_are_placed_and_the_gripper_is_not():
    assert placed_dimensions(UR5E) == [0, 1, 2, 3, 4, 5]
    assert placed_dimensions(PANDA) == [], "its actions are displacements"
    assert may_rest(UR5E) and may_rest(PANDA)


def test_of_a_pose_the_place_is_and_the_turn_is_not(tmp_path):
    arm = load_embodiment(of_poses(tmp_path))
    assert placed_dimensions(arm) == [0, 1, 2]
    assert not may_rest(arm)


def test_without_its_stream_nothing_is_placed(tmp_path):
    arm = load_embodiment(of_poses(tmp_path))
    blind = replace(arm, state={name: stream for name, stream in arm.state.items() if name != "eef_position"})
    assert placed_dimensions(blind) == []


def test_standing_is_the_action_that_leads_to_where_the_arm_is_by_name_and_in_action_units():
    stream = UR5E.state["joint_positions"]
    turned = replace(
        UR5E,
        state={**UR5E.state, "joint_positions": replace(stream, joints=tuple(reversed(stream.joints)))},
        action=replace(UR5E.action, scale=np.full(7, 2.0, np.float32)),
    )
    state = pose(turned, joint_positions=[6, 5, 4, 3, 2, 1])
    assert standing(turned, state).tolist() == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 0.0]
    rows = {name: np.stack([values, values]) for name, values in state.items()}
    assert standing(turned, rows).shape == (2, 7)


@pytest.fixture
def chunks():
    """Actions ``(5, 4, 7)`` around where the arm stood ``(5, 7)``; the last joint never moves."""
    rng = np.random.default_rng(0)
    stood = rng.uniform(-2, 2, (5, 7)).astype(np.float32)
    stood[:, 6] = 0
    moves = rng.normal(0, [0.1, 0.2, 0.3, 0.1, 0.2, 0.0, 1.0], (5, 4, 7))
    return (stood[:, None] + moves).astype(np.float32), stood, moves


def test_units_are_what_a_chunk_moves_and_the_gripper_stays_as_it_is(chunks):
    actions, stood, moves = chunks
    found = Displacement.between(UR5E, actions, stood)
    assert np.allclose(found.units[:5], np.sqrt(np.square(moves).mean((0, 1)))[:5], atol=1e-6)
    assert found.units[5] == pytest.approx(LEAST_UNIT), "a joint that does not move must not be blown up"
    assert found.units[6] == 0
    displacements = found.of(actions, stood)
    assert np.allclose(np.square(displacements[..., :5]).mean((0, 1)), 1, atol=1e-3)
    assert np.array_equal(displacements[..., 6], actions[..., 6])
    assert displacements.dtype == np.float32


def test_a_joint_that_stands_off_its_command_is_no_large_displacement(chunks):
    actions, stood, _ = chunks
    sagging = actions + np.eye(7, dtype=np.float32)[5] * 0.05
    found = Displacement.between(UR5E, sagging, stood).of(sagging, stood)
    assert np.allclose(found[..., 5], 1, atol=1e-3)


def test_from_nowhere_there_is_no_displacement(chunks):
    actions, stood, _ = chunks
    found = Displacement.between(UR5E, actions, stood)
    for way in (found.of, found.back):
        with pytest.raises(ContractError, match="where the arm stood, and that is not known"):
            way(actions, None)


def test_there_and_back(chunks):
    actions, stood, _ = chunks
    found = Displacement.between(UR5E, actions, stood)
    assert np.allclose(found.back(found.of(actions, stood), stood), actions, atol=1e-5)
    nowhere = found.back(np.zeros_like(actions), stood)
    assert np.array_equal(nowhere[..., :6], np.broadcast_to(stood[:, None, :6], (5, 4, 6))), "0 is rest"


def test_where_actions_are_displacements_they_are_left_alone_to_the_bit(chunks):
    actions, stood, _ = chunks
    none = Displacement.between(PANDA, actions, None)
    assert none == Displacement()
    assert none.of(actions, stood) is actions and none.back(actions, None) is actions
