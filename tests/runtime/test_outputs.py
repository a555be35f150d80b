"""What leaves for the arm's controllers, checked on numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from world2act_core.embodiment import Embodiment, Output, load_embodiment
from world2act_core.episodes import compose
from world2act_core.runtime.chunks import Hold, Track
from world2act_core.runtime.outputs import JointPoint, Outgoing, OutputConverter, Pose, Twist
from world2act_core.runtime.safety import Measured

FR3, UR5E = load_embodiment("franka_fr3"), load_embodiment("ur5e")
JOINTS = FR3.state["joint_positions"].joints
FR3_POSE = replace(FR3, output=replace(FR3.output, kind="pose", topic="target_pose"))
FR3_JOINT_DELTA = replace(
    FR3,
    action=replace(FR3.action, kind="joint_delta", names=(*JOINTS[::-1], "gripper"), scale=np.full(8, 0.1, np.float32)),
    gripper=replace(FR3.gripper, index=7),
    output=replace(FR3.output, kind="joint_trajectory", time_from_start_s=0.1),
)
in_range = st.floats(-1, 1, width=32)
actions_7 = arrays(np.float32, 7, elements=in_range)


def measured(embodiment: Embodiment, **state: Any) -> Measured:
    """A measured state, 0.1 everywhere but for the orientation, unless said otherwise, in shuffled joint order."""
    values = {name: np.full(s.size, 0.1, np.float32) for name, s in embodiment.state.items()}
    values |= {"eef_orientation": np.array([0.5, 0.5, 0.5, 0.5], np.float32)} | state
    known = Measured(embodiment)
    for topic, message in compose.state_messages(embodiment, values, 0):
        if hasattr(message, "name"):
            order = np.random.default_rng(1).permutation(len(message.name))
            message.name, message.position = [message.name[i] for i in order], message.position[order]
        known.add(topic, message, 0.0)
    return known


def sent(embodiment: Embodiment, values: Any, **state: Any) -> Outgoing:
    converter = OutputConverter(embodiment, measured(embodiment, **state))
    command, outgoing = converter.convert(Track(1, 0, np.asarray(values, np.float32), 0.0))
    assert isinstance(command, Track)
    return outgoing


@given(actions_7)
def test_a_twist_moves_the_commanded_displacement_in_one_control_step(action: np.ndarray) -> None:
    twist = sent(FR3, action).arm
    assert isinstance(twist, Twist) and twist.frame_id == "fr3_link0"
    moved = np.concatenate([twist.linear, twist.angular]) * FR3.step_s
    np.testing.assert_allclose(moved, action[:6] * FR3.action.scale[:6], atol=1e-7)


@given(actions_7)
def test_a_pose_is_the_measured_one_moved_by_the_delta(action: np.ndarray) -> None:
    at, turned = np.array([0.4, 0.1, 0.3], np.float32), Rotation.from_euler("xyz", [3.0, 0.2, 0.5])
    pose = sent(FR3_POSE, action, eef_position=at, eef_orientation=turned.as_quat().astype(np.float32)).arm
    assert isinstance(pose, Pose)
    np.testing.assert_allclose(pose.position - at, action[:3] * 0.02, atol=1e-6)
    turn = (Rotation.from_quat(pose.orientation) * turned.inv()).as_rotvec()
    np.testing.assert_allclose(turn, action[3:6] * 0.1, atol=1e-5)


@given(arrays(np.float32, 6, elements=st.floats(-3, 3, width=32)))
def test_joint_targets_arrive_under_their_own_names(positions: np.ndarray) -> None:
    point = sent(UR5E, [*positions, 1.0]).arm
    assert isinstance(point, JointPoint) and point.joints == UR5E.state["joint_positions"].joints
    np.testing.assert_array_equal(point.positions, positions.astype(np.float64))
    assert point.time_from_start_s == 0.1


def test_joint_deltas_named_in_another_order_move_the_joint_they_name() -> None:
    start = np.linspace(0.1, 0.7, 7, dtype=np.float32)
    point = sent(FR3_JOINT_DELTA, [1, 0, 0, 0, 0, 0, 0, -1], joint_positions=start).arm
    assert isinstance(point, JointPoint) and point.joints == JOINTS
    np.testing.assert_allclose(point.positions - start, [0, 0, 0, 0, 0, 0, 0.1], atol=1e-6)


@given(in_range)
def test_the_gripper_lies_between_open_and_closed(value: float) -> None:
    for embodiment, action in ((FR3, np.zeros(7)), (UR5E, np.zeros(7))):
        action[6] = value
        target, gripper = embodiment.output.gripper, sent(embodiment, action).gripper
        assert target is not None and gripper is not None
        assert gripper == pytest.approx(target.open + (value + 1) / 2 * (target.close - target.open), abs=1e-6)


@pytest.mark.parametrize("embodiment", [FR3_POSE, FR3_JOINT_DELTA, UR5E], ids=["pose", "joint_delta", "ur5e"])
def test_a_hold_sends_neither_a_position_nor_a_pose(embodiment: Embodiment) -> None:
    converter = OutputConverter(embodiment, Measured(embodiment))
    assert converter.convert(Hold("why")) == (Hold("why"), Outgoing(None, None))


def test_a_hold_of_a_twist_is_servo_s_stop_and_leaves_the_gripper_alone() -> None:
    _, outgoing = OutputConverter(FR3, Measured(FR3)).convert(Hold("why"))
    assert isinstance(outgoing.arm, Twist) and outgoing.gripper is None
    assert not outgoing.arm.linear.any() and not outgoing.arm.angular.any()


@pytest.mark.parametrize(("embodiment", "stream"), [(FR3_POSE, "eef_position"), (FR3_JOINT_DELTA, "joint_positions")])
def test_a_delta_without_a_measured_state_becomes_a_hold(embodiment: Embodiment, stream: str) -> None:
    """How old the state may be is the safety filter's to judge, which comes first."""
    action = np.full(embodiment.action.size, 0.5, np.float32)
    command, outgoing = OutputConverter(embodiment, Measured(embodiment)).convert(Track(1, 0, action, 0.0))
    assert isinstance(command, Hold) and outgoing.arm is None and outgoing.gripper is None
    assert f"{stream} has not been received" in command.reason


@pytest.mark.parametrize("values", [np.full(7, np.nan), np.zeros(6)], ids=["NaN", "wrong length"])
def test_a_broken_action_never_becomes_a_message(values: np.ndarray) -> None:
    for embodiment in (FR3, UR5E):
        converter = OutputConverter(embodiment, measured(embodiment))
        command, outgoing = converter.convert(Track(1, 0, values.astype(np.float32), 0.0))
        assert isinstance(command, Hold) and "cannot be sent to the arm" in command.reason
        assert outgoing.gripper is None and not isinstance(outgoing.arm, JointPoint | Pose)


def test_a_quaternion_that_is_none_is_refused() -> None:
    names = ("x", "y", "z", "qx", "qy", "qz", "qw", "gripper")
    action = replace(FR3.action, kind="eef_pose", names=names, scale=np.ones(8, np.float32))
    arm = replace(FR3_POSE, action=action, gripper=replace(FR3.gripper, index=7))
    good = sent(arm, [0.4, 0, 0.3, 1, 0, 0, 0, -1]).arm
    assert isinstance(good, Pose) and list(good.orientation) == [1, 0, 0, 0]
    command, _ = OutputConverter(arm, measured(arm)).convert(Track(1, 0, np.zeros(8, np.float32), 0.0))
    assert isinstance(command, Hold) and "has length 0, not 1" in command.reason


def test_a_simulated_arm_gets_nothing_besides_the_arm_command() -> None:
    panda = load_embodiment("libero_panda")
    assert panda.output == Output() and panda.output.topics == ()
    assert sent(panda, np.full(7, 0.5)) == Outgoing()
