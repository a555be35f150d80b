"""The contract of RoboCasa's robot, against what robosuite and RoboCasa publish."""

from __future__ import annotations

import numpy as np

from world2act_core.embodiment import load_embodiment

ROBOT = load_embodiment("panda_omron")


def test_twelve_actions_in_robosuites_order() -> None:
    """kitchen.py orders the parts right, right_gripper, base, torso; HybridMobileBase appends its mode."""
    assert ROBOT.action.names[:7] == load_embodiment("libero_panda").action.names
    assert ROBOT.action.names[7:] == ("base_forward", "base_side", "base_yaw", "torso", "base_mode")
    np.testing.assert_array_equal([ROBOT.action.low, ROBOT.action.high], [[-1] * 12, [1] * 12])


def test_the_arm_is_libero_s_arm() -> None:
    arm = load_embodiment("libero_panda")
    np.testing.assert_array_equal(ROBOT.action.scale[:7], arm.action.scale)
    assert ROBOT.gripper == arm.gripper
    for name in ("lower", "upper", "velocity", "acceleration"):
        np.testing.assert_array_equal(getattr(ROBOT.limits.joints, name), getattr(arm.limits.joints, name))


def test_the_hand_is_seen_from_the_base_and_the_base_from_the_world() -> None:
    frames = {name: stream.frame_id for name, stream in ROBOT.state.items() if stream.field}
    assert frames == {
        "base_position": "world",
        "base_orientation": "world",
        "eef_position": "mobilebase0_center",
        "eef_orientation": "mobilebase0_center",
    }
