"""A contract that contradicts itself is refused with one sentence that names file, key and value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.embodiment.contracts import REMOVED, changed, written
from world2act_core.embodiment import load_embodiment
from world2act_core.errors import ContractError

NAN = float("nan")
SEVEN = [0.0] * 7

# (path of the key, its value, what the sentence must say)
CONTRADICTIONS: list[tuple[str, Any, list[str]]] = [
    ("chunk_length", 3, ["chunk_length = 3", "does not divide control_rate_hz 20"]),
    ("chunk_length", 0, ["chunk_length = 0", "above 0"]),
    ("chunk_length", 4.0, ["chunk_length = 4.0", "whole number"]),
    ("chunk_length", True, ["chunk_length = True", "whole number"]),
    ("control_rate_hz", NAN, ["control_rate_hz = nan", "finite"]),
    ("control_rate_hz", -20, ["control_rate_hz = -20", "above 0"]),
    ("control_rate_hz", "20", ["control_rate_hz = '20'", "number"]),
    ("control_rate_hz", REMOVED, ["control_rate_hz", "is missing"]),
    ("max_skew_s", 0.06, ["max_skew_s = 0.06", "at most 0.05"]),
    ("chunk_lenght", 4, ["chunk_lenght = 4", "not a key of this contract", "chunk_length"]),
    ("cameras.wrist.rotation_deg", 45, ["cameras.wrist.rotation_deg = 45", "0, 90, 180, 270"]),
    ("cameras.wrist.width", 0, ["cameras.wrist.width = 0", "above 0"]),
    ("cameras.wrist.fov", 60, ["cameras.wrist.fov = 60", "not a key"]),
    ("cameras.wrist.topic", "", ["cameras.wrist.topic = ''", "text"]),
    ("cameras.wrist.tile", REMOVED, ["cameras.wrist.tile", "is missing"]),
    ("cameras.wrist.tile", [0, 2], ["cameras.wrist.tile = [0, 2]", "2x2 grid"]),
    ("cameras.wrist.tile", [0, 0.5], ["cameras.wrist.tile = [0, 0.5]", "2x2 grid"]),
    ("cameras.wrist.tile", [1], ["cameras.wrist.tile = [1]", "2 entries"]),
    ("cameras.wrist.tile", [0, True], ["cameras.wrist.tile = [0, True]", "numbers"]),
    ("cameras.wrist.tile", [0, 0], ["cameras.wrist.tile = [0, 0]", "the tile of camera agentview already"]),
    ("cameras.wrist", "wrist/image_raw", ["cameras.wrist = 'wrist/image_raw'", "mapping"]),
    ("state.joint_positions.joints", ["a", "b", "a"], ["state.joint_positions.joints = ['a', 'b', 'a']", "twice"]),
    ("state.joint_positions.units", "degrees", ["state.joint_positions.units = 'degrees'", "rad"]),
    ("state.eef_position.field", "velocity", ["state.eef_position.field = 'velocity'", "position, orientation"]),
    ("state.eef_position.joints", ["a"], ["state.eef_position", "either joints or field"]),
    ("state.joint_positions", REMOVED, ["limits.joint_positions", "a stream that state does not have"]),
    ("action.names", ["x", "x", "z", "roll", "pitch", "yaw", "gripper"], ["action.names", "'x', 'x'", "twice"]),
    ("action.kind", "torque", ["action.kind = 'torque'", "eef_delta"]),
    ("action.units", ["rad"], ["action.units = ['rad']", "7 entries"]),
    ("action.scale", [0.05] * 6, ["action.scale = [0.05", "7 entries"]),
    ("action.scale", [0.05] * 6 + [0], ["action.scale", "above 0"]),
    ("action.low", [-1] * 6 + [NAN], ["action.low", "nan", "finite"]),
    ("action.low", [-1] * 6 + [1], ["action.low", "not below high", "index 6"]),
    ("gripper.action", "claw", ["gripper.action = 'claw'", "not one of the action names"]),
    ("gripper.open", -1.5, ["gripper.open = -1.5", "outside the action range -1..1"]),
    ("gripper.close", -1.0, ["gripper.close = -1.0", "same as open"]),
    ("limits.wrist_force", {"lower": [0]}, ["limits.wrist_force", "unknown stream"]),
    ("limits.joint_positions.lower", [3.0] + SEVEN[1:], ["limits.joint_positions.lower", "not below upper", "index 0"]),
    ("limits.joint_positions.velocity", SEVEN, ["limits.joint_positions.velocity", "above 0"]),
    ("limits.joint_positions.velocity", [2.0] * 6, ["limits.joint_positions.velocity", "7 entries"]),
    ("limits.workspace_m.upper", [0.5, 0.7, -0.2], ["limits.workspace_m.lower", "not below upper", "index 2"]),
    ("limits.eef_speed_m_s", float("inf"), ["limits.eef_speed_m_s = inf", "finite"]),
]


@pytest.mark.parametrize(("key", "value", "said"), CONTRADICTIONS, ids=lambda value: str(value)[:32])
def test_a_contradiction_is_refused_in_one_sentence(tmp_path: Path, key: str, value: Any, said: list[str]) -> None:
    file = written(changed(tuple(key.split(".")), value), tmp_path)
    with pytest.raises(ContractError) as refusal:
        load_embodiment(file)
    sentence = str(refusal.value)
    assert sentence.startswith("arm.yaml: ")
    assert "\n" not in sentence
    assert [part for part in said if part not in sentence] == []


def test_a_name_given_twice_is_refused_instead_of_the_second_winning(tmp_path: Path) -> None:
    file = written(changed(("name",), "arm"), tmp_path)
    file.write_text(file.read_text() + "chunk_length: 5\n")
    with pytest.raises(ContractError, match=r"arm\.yaml: .*key 'chunk_length' twice"):
        load_embodiment(file)


def test_a_key_that_yaml_does_not_read_as_text_is_refused(tmp_path: Path) -> None:
    file = written(changed(("cameras",), {False: {}}), tmp_path)
    with pytest.raises(ContractError, match=r"arm\.yaml: cameras has the key False"):
        load_embodiment(file)


@pytest.mark.parametrize("text", [b"", b"- a list", b"key: [unclosed", b"\xff\xfe\x00bad"])
def test_a_file_that_is_no_contract_is_refused_by_name(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "arm.yaml"
    file.write_bytes(text)
    with pytest.raises(ContractError, match=r"^arm\.yaml: [^\n]+$"):
        load_embodiment(file)


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(ContractError, match="no embodiment 'pr2': .* franka_fr3, libero_panda"):
        load_embodiment("pr2")
