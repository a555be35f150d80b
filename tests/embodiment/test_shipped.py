"""The contracts that come with World2Act, against what the robots' makers and LIBERO publish."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from world2act_core.embodiment import load_embodiment, shipped_embodiments
from world2act_core.errors import ContractError
from world2act_core.types import ActionChunk


def test_four_robots_are_shipped() -> None:
    assert {"franka_fr3", "libero_panda", "panda_omron", "ur5e"} <= set(shipped_embodiments())


@pytest.mark.parametrize("name", shipped_embodiments())
def test_a_shipped_contract_is_named_like_its_file(name: str) -> None:
    assert load_embodiment(name).name == name


@pytest.mark.parametrize("name", shipped_embodiments())
def test_one_joint_limit_a_joint(name: str) -> None:
    robot = load_embodiment(name)
    joints = robot.limits.joints
    expected = (robot.state["joint_positions"].size,)
    assert {limit.shape for limit in (joints.lower, joints.upper, joints.velocity, joints.acceleration)} == {expected}


def test_fr3_limits_are_the_makers() -> None:
    """Franka Control Interface documentation, "Robot and interface specifications", FR3."""
    joints = load_embodiment("franka_fr3").limits.joints
    np.testing.assert_allclose(joints.lower[[3, 5]], [-3.0421, 0.5445], rtol=1e-6)
    np.testing.assert_allclose(joints.upper[[3, 5]], [-0.1518, 4.5169], rtol=1e-6)
    np.testing.assert_allclose(joints.velocity, [2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26], rtol=1e-6)


def test_fr3_cartesian_limits_are_the_makers_but_for_a_slower_hand() -> None:
    limits = load_embodiment("franka_fr3").limits
    assert (limits.eef_acceleration, limits.eef_rotation_speed) == (9.0, 2.5) and limits.eef_speed < 3.0


def test_ur5e_limits_are_the_makers() -> None:
    """UR5e user manual: 360 degrees each way but for the elbow, 180 degrees a second."""
    joints = load_embodiment("ur5e").limits.joints
    np.testing.assert_allclose(joints.upper, np.radians([360, 360, 180, 360, 360, 360]), rtol=1e-4)
    np.testing.assert_allclose(joints.lower, -joints.upper)
    np.testing.assert_allclose(joints.velocity, np.radians([180] * 6), rtol=1e-4)


def test_libero_lets_a_full_deflection_pass() -> None:
    """OSC_POSE knows no speed limit: what its action range allows must not be refused."""
    panda = load_embodiment("libero_panda")
    assert (
        np.linalg.norm(panda.action.high[:3] * panda.action.scale[:3]) * panda.control_rate_hz < panda.limits.eef_speed
    )
    assert (panda.limits.ramp_s, panda.limits.dead_man_s) == (0.0, 0.0)


def test_libero_panda_follows_the_published_protocol() -> None:
    """20 Hz OSC_POSE, 5 cm and 0.5 rad a step at full deflection, -1 opens the gripper."""
    panda = load_embodiment("libero_panda")
    assert panda.control_rate_hz == 20
    assert panda.action.kind == "eef_delta"
    np.testing.assert_allclose(panda.action.scale[:6], [0.05] * 3 + [0.5] * 3, rtol=1e-6)
    assert (panda.gripper.open, panda.gripper.close, panda.gripper.index) == (-1.0, 1.0, 6)


@pytest.mark.parametrize(
    ("name", "tiles"),
    [
        ("libero_panda", {"agentview": (0, 0), "wrist": (0, 1)}),
        ("panda_omron", {"agentview_left": (0, 0), "agentview_right": (0, 1), "wrist": (1, 0)}),
        ("franka_fr3", {"agentview": (0, 0), "wrist": (1, 0)}),
        ("ur5e", {"agentview": (0, 0), "wrist": (1, 0)}),
    ],
)
def test_views_are_tiled_as_in_the_paper(name: str, tiles: dict[str, tuple[int, int]]) -> None:
    """World2Act: left, right, wrist, black for RoboCasa and Franka; agent view, wrist and two black for LIBERO."""
    assert {camera.name: camera.tile for camera in load_embodiment(name).cameras.values()} == tiles


def test_the_upright_size_is_that_after_rotation() -> None:
    camera = load_embodiment("franka_fr3").cameras["wrist"]
    sizes = [replace(camera, rotation_deg=angle).upright_size for angle in (0, 90, 180, 270)]
    assert sizes == [(480, 640), (640, 480), (480, 640), (640, 480)]


def test_a_chunk_of_the_wrong_length_is_refused() -> None:
    panda = load_embodiment("libero_panda")
    chunk = ActionChunk(np.zeros((panda.chunk_length + 1, 7), np.float32), stamp=0.0)
    with pytest.raises(ContractError, match=r"shape \(5, 7\), libero_panda expects \(4, 7\)"):
        panda.check_chunk(chunk)


def test_a_policy_may_look_further_ahead_where_that_is_wanted() -> None:
    panda = load_embodiment("libero_panda")
    panda.check_chunk(ActionChunk(np.zeros((16, 7), np.float32), stamp=0.0), longest=16)
    with pytest.raises(ContractError, match=r"shape \(17, 7\).* at most 16 steps"):
        panda.check_chunk(ActionChunk(np.zeros((17, 7), np.float32), stamp=0.0), longest=16)


def test_a_chunk_with_nan_is_refused_by_step_and_name() -> None:
    panda = load_embodiment("libero_panda")
    actions = np.zeros((4, 7), np.float32)
    actions[2, 5] = np.nan
    with pytest.raises(ContractError, match="nan at step 2, yaw"):
        panda.check_chunk(ActionChunk(actions, stamp=0.0))


def test_clamp_keeps_actions_within_the_layout() -> None:
    panda = load_embodiment("libero_panda")
    actions = np.array([[2.0, -3.0, 0.5, 0.0, 0.0, 0.0, 9.0]])
    np.testing.assert_array_equal(panda.clamp(actions), [[1.0, -1.0, 0.5, 0.0, 0.0, 0.0, 1.0]])
    assert panda.clamp(actions).dtype == np.float32
