"""Section ``output``: a command that the arm's controllers could not take is refused when the contract is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.embodiment.contracts import shipped, written
from world2act_core.embodiment import GripperOutput, Output, load_embodiment
from world2act_core.errors import ContractError


def test_a_contract_without_it_takes_arm_commands(tmp_path: Path) -> None:
    contract = shipped("franka_fr3")
    del contract["output"]
    assert load_embodiment(written(contract, tmp_path)).output == Output("arm_command")


def test_the_shipped_arms_say_where_their_commands_go() -> None:
    fr3, ur5e = load_embodiment("franka_fr3").output, load_embodiment("ur5e").output
    assert (fr3.kind, fr3.frame_id, fr3.gripper) == (
        "twist", "fr3_link0", GripperOutput("gripper_position_controller/commands", 0.04, 0.0),
    )  # fmt: skip
    assert (ur5e.kind, ur5e.time_from_start_s) == ("joint_trajectory", 0.1)
    assert ur5e.topics == (
        "scaled_joint_trajectory_controller/joint_trajectory", "gripper_position_controller/commands",
    )  # fmt: skip


REFUSALS: list[tuple[str, dict[str, Any], str]] = [
    ("franka_fr3", {"kind": "torque"}, "output.kind = 'torque' must be one of"),
    ("franka_fr3", {"kind": "joint_trajectory"}, "cannot carry actions of kind eef_delta, only joint_delta"),
    ("ur5e", {"kind": "twist", "frame_id": "base"}, "cannot carry actions of kind joint_positions, only eef_delta"),
    ("franka_fr3", {"frame_id": "world"}, "frame_id = 'world' is not state.eef_position's frame fr3_link0"),
    ("franka_fr3", {"time_from_start_s": 0.1}, "time_from_start_s = 0.1 is not a key"),
    ("franka_fr3", {"gripper": {"topic": "g", "open": 0.1, "close": 0.1}}, "output.gripper.close = 0.1 is the same"),
    ("ur5e", {"time_from_start_s": 0}, "time_from_start_s = 0 must be above 0"),
    ("ur5e", {"kind": "arm_command"}, "is not a key of this contract"),
]


@pytest.mark.parametrize(("name", "changes", "says"), REFUSALS)
def test_a_contradiction_is_one_sentence(tmp_path: Path, name: str, changes: dict[str, Any], says: str) -> None:
    contract = shipped(name)
    contract["output"] |= changes
    with pytest.raises(ContractError) as refusal:
        load_embodiment(written(contract, tmp_path))
    assert says in str(refusal.value) and "\n" not in str(refusal.value)


def test_an_action_named_after_other_joints_is_refused(tmp_path: Path) -> None:
    contract = shipped("ur5e")
    contract["action"]["names"][0] = "base_joint"
    with pytest.raises(ContractError, match="needs the action names shoulder_pan_joint, .* not base_joint"):
        load_embodiment(written(contract, tmp_path))


def test_a_pose_needs_a_measured_pose_to_add_a_delta_to(tmp_path: Path) -> None:
    contract = shipped("franka_fr3")
    contract["output"] |= {"kind": "pose", "topic": "target_pose"}
    del contract["state"]["eef_orientation"]
    with pytest.raises(ContractError, match="output.kind = 'pose' needs the state stream eef_orientation"):
        load_embodiment(written(contract, tmp_path))
