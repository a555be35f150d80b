"""Forward kinematics: a URDF and an MJCF of the same arm agree, and what cannot be read is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks._calibration_cell import JOINTS, panda_mjcf
from world2act_core.calibration.board import CalibrationError
from world2act_core.calibration.kinematics import ForwardKinematics
from world2act_core.calibration.poses import difference, inverse

PANDA_URDF = panda_mjcf().parents[2] / "bullet_data" / "panda_description" / "urdf" / "panda_arm_hand.urdf"
TWO_LINKS = """<?xml version="1.0"?>
<robot name="two"><link name="base"/><link name="arm"/><link name="tool"><visual><geometry>
<mesh filename="package://nowhere/tool.stl"/></geometry></visual></link>
<joint name="turn" type="revolute"><parent link="base"/><child link="arm"/><origin xyz="0 0 0.5"/>
<axis xyz="0 0 1"/><limit lower="-3" upper="3" effort="1" velocity="1"/></joint>
<joint name="mount" type="fixed"><parent link="arm"/><child link="tool"/>
<origin xyz="0.2 0 0" rpy="0 1.5707963267948966 0"/></joint></robot>"""


def test_a_urdf_and_an_mjcf_of_one_arm_agree(rng: np.random.Generator) -> None:
    """Compared behind the first joint: this URDF stands its arm elsewhere."""
    urdf = ForwardKinematics(PANDA_URDF, "panda_link7", "panda_link1")
    mjcf = ForwardKinematics(panda_mjcf(), "link7", "link1")
    for _ in range(5):
        joints = rng.uniform(-1.5, 1.5, 7)
        a = urdf.pose({f"panda_{name}": value for name, value in zip(JOINTS, joints, strict=True)})
        b = mjcf.pose({f"fr3_{name}": value for name, value in zip(JOINTS, joints, strict=True)})
        metres, degrees = difference(a, b)
        assert metres < 1e-5 and degrees < 0.01


def test_fixed_links_count_and_meshes_are_not_needed(tmp_path: Path) -> None:
    file = tmp_path / "two.urdf"
    file.write_text(TWO_LINKS)
    pose = ForwardKinematics(file, "tool", "base").pose({"turn": np.pi / 2})
    np.testing.assert_allclose(pose[:3, 3], [0.0, 0.2, 0.5], atol=1e-9)
    np.testing.assert_allclose(pose[:3, 2], [0.0, 1.0, 0.0], atol=1e-9)
    relative = ForwardKinematics(file, "tool", "arm").pose({"turn": 0.7})
    np.testing.assert_allclose(relative[:3, 3], [0.2, 0.0, 0.0], atol=1e-9)


def test_the_order_of_joints_makes_no_difference(rng: np.random.Generator) -> None:
    arm = ForwardKinematics(panda_mjcf(), "right_hand")
    joints = dict(zip(JOINTS, rng.uniform(-1, 1, 7).tolist(), strict=True))
    np.testing.assert_array_equal(arm.pose(joints), arm.pose(dict(reversed(joints.items()))))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<robot", "is not XML"),
        ("<sdf/>", "neither a URDF nor an MJCF"),
        ('<robot xmlns:xacro="http://www.ros.org/wiki/xacro"><xacro:include filename="a"/></robot>', "is a xacro"),
        ('<robot name="r"><link name="a"/><joint name="j" type="fixed"><parent link="a"/></joint></robot>', "MuJoCo"),
    ],
)
def test_a_file_that_is_no_model_is_said(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "robot.urdf"
    file.write_text(text)
    with pytest.raises(CalibrationError, match=said):
        ForwardKinematics(file, "a")


def test_an_unknown_link_or_joint_is_said(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"has no link 'flange'; it has .*right_hand"):
        ForwardKinematics(panda_mjcf(), "flange")
    with pytest.raises(CalibrationError, match="knows none of the joints elbow"):
        ForwardKinematics(panda_mjcf(), "right_hand").pose({"elbow": 1.0})
    with pytest.raises(CalibrationError, match="there is no robot model"):
        ForwardKinematics(tmp_path / "none.urdf", "a")


def test_poses_invert_and_differ() -> None:
    pose = ForwardKinematics(panda_mjcf(), "right_hand").pose({"joint2": 0.4})
    np.testing.assert_allclose(inverse(pose) @ pose, np.eye(4), atol=1e-12)
    assert difference(pose, pose) == (0.0, pytest.approx(0.0, abs=1e-5))
