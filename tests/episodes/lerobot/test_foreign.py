"""Data sets that others made: matched to a contract by names, by a table, by size, or refused with what they have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.episodes.lerobot.sets import foreign_set, read_set
from world2act_core.errors import ContractError
from world2act_core.rotations import quaternion_from_axis_angle
from world2act_core.types import Skill

SIXTEEN = {"shape": [16], "names": None}
SEVEN = {"shape": [7], "names": {"motors": list("abcdefg")}}
LIBERO: dict[str, Any] = {"fps": 10, "images": ["observation.images.image", "observation.images.image2"]}
EIGHT = {"shape": [8], "names": ["state"]}


def joints(*names: str) -> list[str]:
    return [f"{name}.pos" for name in names]


def test_an_episode_of_n_rows_has_n_minus_1_steps(tmp_path: Path) -> None:
    """The last action leads to a state that nobody stored; the last row's state and frame are the episode's end."""
    path = foreign_set(tmp_path / "their", [5, 7], SIXTEEN, SEVEN, images=["observation.images.wrist"])
    first, second = read_set(path)
    assert (first.steps, second.steps) == (4, 6)
    assert second.actions is not None
    np.testing.assert_allclose(second.actions[:, 0], np.arange(5, 11))
    np.testing.assert_allclose(second.state["joint_positions"][:, 0], np.arange(5, 12))
    np.testing.assert_allclose(second.stamps, np.arange(7) / 20)
    assert (first.episode_id, second.episode_id) == ("their-000000", "their-000001")
    assert (first.task, second.task) == ("task 0", "task 1")
    assert first.success is None and first.source == first.start_id == "" and first.skills == ()


def test_every_row_has_a_frame_of_its_own(tmp_path: Path) -> None:
    path = foreign_set(tmp_path / "their", [5, 7], SIXTEEN, SEVEN, images=["observation.images.wrist"])
    _, second = read_set(path)
    np.testing.assert_array_equal(second.frame_steps, np.arange(7))
    assert second.images["wrist"].shape == (7, 16, 24, 3)
    np.testing.assert_array_equal(second.images["wrist"][:, 0, -1, 0], np.arange(5, 12))
    assert second.images["wrist"][:, :, :8].max() == 0  # not mirrored


def test_images_may_stand_in_the_rows(tmp_path: Path) -> None:
    options: dict[str, Any] = {"images": ["observation.images.wrist"]}
    rows = foreign_set(tmp_path / "rows", [4], SIXTEEN, SEVEN, in_rows=True, **options)
    video = foreign_set(tmp_path / "video", [4], SIXTEEN, SEVEN, **options)
    np.testing.assert_array_equal(read_set(rows)[0].images["wrist"], read_set(video)[0].images["wrist"])


def test_state_is_matched_by_the_names_of_joints(tmp_path: Path) -> None:
    """In whatever order they stand; streams that are not all there are left out."""
    names = joints("panda_finger_joint2", "panda_finger_joint1", *(f"panda_joint{k}" for k in range(1, 8)), "torso")
    path = foreign_set(tmp_path / "their", [4], {"shape": [10], "names": names}, SEVEN)
    (episode,) = read_set(path)
    assert set(episode.state) == {"joint_positions", "gripper_positions"}
    np.testing.assert_allclose(episode.state["gripper_positions"][0], [0.01, 0.0], atol=1e-6)
    np.testing.assert_allclose(episode.state["joint_positions"][0], np.arange(2, 9) * 0.01, atol=1e-6)


def test_a_stream_of_ours_that_is_there_in_part_is_refused(tmp_path: Path) -> None:
    names = ["eef_position.x", "eef_position.y", "eef_position.z", "eef_orientation.x"]
    path = foreign_set(tmp_path / "their", [4], {"shape": [4], "names": names}, SEVEN)
    with pytest.raises(ContractError, match=r"has 'eef_orientation.x' without the whole stream"):
        read_set(path)


def test_actions_are_matched_by_name(tmp_path: Path) -> None:
    action = {"shape": [8], "names": ["gripper", "yaw", "pitch", "roll", "z", "y", "x", "base"]}
    (episode,) = read_set(foreign_set(tmp_path / "their", [4], SIXTEEN, action))
    assert episode.actions is not None
    np.testing.assert_allclose(episode.actions[0], np.arange(6, -1, -1) * 0.01, atol=1e-6)


def test_state_without_names_is_matched_by_size(tmp_path: Path) -> None:
    (episode,) = read_set(foreign_set(tmp_path / "their", [4], SIXTEEN, SEVEN))
    np.testing.assert_allclose(episode.state["eef_orientation"][0], np.arange(12, 16) * 0.01, atol=1e-6)


@pytest.mark.parametrize(
    ("state", "action", "options", "why"),
    [
        ({"shape": [14], "names": None}, SEVEN, {}, r"observation.state has 14 numbers without names"),
        (SIXTEEN, {"shape": [6], "names": None}, {}, r"action has 6 numbers without names, libero_panda has 7 \(x, y"),
        (SIXTEEN, SEVEN, {"fps": 30}, "runs at 30 fps, libero_panda at 20 Hz"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_what_is_there(
    tmp_path: Path, state: dict[str, Any], action: dict[str, Any], options: dict[str, Any], why: str
) -> None:
    path = foreign_set(tmp_path / "their", [4], state, action, **options)
    with pytest.raises(ContractError, match=why):
        read_set(path)


def test_a_camera_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    path = foreign_set(tmp_path / "their", [4], SIXTEEN, SEVEN, images=["observation.images.top"])
    with pytest.raises(ContractError, match="has no camera 'wrist', only top"):
        read_set(path, cameras=["wrist"])
    with pytest.raises(ContractError, match="libero_panda has no camera 'top', only agentview, wrist"):
        read_set(path, cameras=["top"])
    assert read_set(path)[0].images == {}


def test_liberos_eight_numbers_are_position_axis_angle_and_fingers(tmp_path: Path) -> None:
    (episode,) = read_set(foreign_set(tmp_path / "libero", [4], EIGHT, SEVEN, **LIBERO))
    np.testing.assert_allclose(episode.state["eef_position"][1], [1.0, 1.01, 1.02], atol=1e-6)
    np.testing.assert_allclose(episode.state["gripper_positions"][1], [1.06, 1.07], atol=1e-6)
    expected = quaternion_from_axis_angle(np.array([[1.03, 1.04, 1.05]]))[0]
    np.testing.assert_allclose(episode.state["eef_orientation"][1], expected, atol=1e-6)
    assert "joint_positions" not in episode.state


def test_liberos_images_are_turned_back_and_its_rate_is_20_hz(tmp_path: Path) -> None:
    (episode,) = read_set(foreign_set(tmp_path / "libero", [4], EIGHT, SEVEN, **LIBERO))
    np.testing.assert_allclose(np.diff(episode.stamps), 0.05)
    assert set(episode.images) == {"agentview", "wrist"}
    for images in episode.images.values():
        np.testing.assert_array_equal(images[:, 0, 0, 0], np.arange(4))  # the grey part is on the left now
        assert images[:, :, -8:].max() == 0


def test_axis_angle_becomes_a_quaternion() -> None:
    turns = np.array([[0, 0, 0], [np.pi, 0, 0], [0, 0, np.pi / 2], [0, 1e-12, 0]])
    half = np.sqrt(0.5)
    expected = [[0, 0, 0, 1], [1, 0, 0, 0], [0, 0, half, half], [0, 0, 0, 1]]
    np.testing.assert_allclose(quaternion_from_axis_angle(turns), expected, atol=1e-7)


def test_subtasks_become_skills(tmp_path: Path) -> None:
    """Runs of the same subtask; the last row belongs to no step."""
    path = foreign_set(
        tmp_path / "their", [6, 4], SIXTEEN, SEVEN,
        columns={"subtask_index": [1, 1, 0, 2, 2, 2, 1, 2, 2, 1]},
        features={"subtask_index": {"dtype": "int64", "shape": [1], "names": None}},
    )  # fmt: skip
    subtasks = pa.table({"subtask_index": [0, 1, 2], "subtask": ["", "reach", "close"]})
    pq.write_table(subtasks, path / "meta/subtasks.parquet")
    first, second = read_set(path)
    assert first.skills == (Skill("reach", 0, 2), Skill("close", 3, 5))
    assert second.skills == (Skill("reach", 0, 1), Skill("close", 1, 3))


def test_language_rows_of_lerobot_0_6_become_skills(tmp_path: Path) -> None:
    said = [
        {"role": "assistant", "content": "reach", "style": "subtask", "timestamp": np.float32(0.05)},
        {"role": "assistant", "content": "a plan", "style": "plan", "timestamp": np.float32(0.1)},
        {"role": "assistant", "content": "close", "style": "subtask", "timestamp": np.float32(0.15)},
    ]
    path = foreign_set(
        tmp_path / "their", [6], SIXTEEN, SEVEN,
        columns={"language_persistent": [said] * 6},
        features={"language_persistent": {"dtype": "language", "shape": [1], "names": None}},
    )  # fmt: skip
    (episode,) = read_set(path)
    assert episode.skills == (Skill("reach", 1, 3), Skill("close", 3, 5))


def test_a_set_without_actions_is_action_free(tmp_path: Path) -> None:
    path = foreign_set(tmp_path / "their", [4], SIXTEEN, SEVEN)
    info = json.loads((path / "meta/info.json").read_text())
    del info["features"]["action"]
    (path / "meta/info.json").write_text(json.dumps(info))
    (episode,) = read_set(path)
    assert episode.actions is None and episode.steps == 3


def test_a_set_of_one_large_row_group_is_read_episode_by_episode(tmp_path: Path) -> None:
    lengths = [3 + k % 4 for k in range(50)]
    episodes = read_set(foreign_set(tmp_path / "their", lengths, SIXTEEN, SEVEN))
    assert [episode.steps + 1 for episode in episodes] == lengths
    starts = [float(episode.state["joint_positions"][0, 0]) for episode in episodes]
    np.testing.assert_allclose(starts, np.cumsum([0, *lengths[:-1]]))
