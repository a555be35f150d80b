"""What a data set cannot hold is refused in one sentence, and nothing of it is written."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.episodes.example import random_episode, small_embodiment
from tests.episodes.lerobot.sets import EMBODIMENT, foreign_set, read_set, write_set
from world2act_core.episodes.lerobot import LeRobotWriter
from world2act_core.errors import ContractError, World2ActError
from world2act_core.types import Skill

EPISODE = random_episode(EMBODIMENT, 8)
NAN = np.full((8, 7), np.nan, np.float32)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"embodiment": "franka_fr3"}, "made with franka_fr3"),
        ({"images": {}}, "frame_steps without images"),
        ({"actions": NAN}, "actions is not finite at step 0"),
        ({"actions": np.zeros((8, 6), np.float32)}, r"actions has shape \(8, 6\)"),
        ({"state": {}}, "no state stream"),
        ({"state": {"nonsense": np.zeros((9, 1), np.float32)}}, "no camera or stream 'nonsense'"),
        ({"images": {"wrist": np.zeros((3, 9, 12, 3), np.uint8)}}, "images of wrist are uint8"),
        ({"images": {"wrist": np.zeros((0, 8, 12, 3), np.uint8)}, "frame_steps": np.zeros(0, int)}, "has no frame"),
        ({"skills": (Skill("a", 0, 5), Skill("b", 4, 8))}, "skill 'b' covers steps 4 to 8"),
        ({"skills": (Skill("a", 0, 9),)}, "skill 'a' covers steps 0 to 9"),
    ],
)
def test_an_episode_against_the_contract_is_not_written(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    with LeRobotWriter(tmp_path / "set", EMBODIMENT, codec="lossless") as writer:
        with pytest.raises(ContractError, match=why):
            writer.write_episode(replace(EPISODE, **changes))
        writer.write_episode(EPISODE)
    assert [episode.episode_id for episode in read_set(tmp_path / "set")] == ["episode-0"]


def test_an_episode_of_no_steps_is_refused(tmp_path: Path) -> None:
    still = random_episode(EMBODIMENT, 0, skills=())
    with LeRobotWriter(tmp_path / "set", EMBODIMENT) as writer, pytest.raises(ContractError, match="no control step"):
        writer.write_episode(still)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (random_episode(EMBODIMENT, 8, 1).without_actions(), "episode-1 has no actions, the episodes before it have"),
        (replace(random_episode(EMBODIMENT, 8, 1), images={"wrist": EPISODE.images["wrist"]}), r"cameras \['wrist'\]"),
        (replace(random_episode(EMBODIMENT, 8, 1), state={"eef_position": EPISODE.state["eef_position"]}), "streams"),
    ],
)
def test_an_episode_unlike_the_others_is_not_written(tmp_path: Path, other: Any, why: str) -> None:
    with LeRobotWriter(tmp_path / "set", EMBODIMENT, codec="lossless") as writer:
        writer.write_episode(EPISODE)
        with pytest.raises(ContractError, match=why):
            writer.write_episode(other)
    assert len(read_set(tmp_path / "set")) == 1


def test_labelled_episodes_are_not_mixed_into_an_action_free_set(tmp_path: Path) -> None:
    with LeRobotWriter(tmp_path / "set", EMBODIMENT) as writer:
        writer.write_episode(EPISODE.without_actions())
        with pytest.raises(ContractError, match="has actions, the episodes before it have none"):
            writer.write_episode(random_episode(EMBODIMENT, 8, 1))


def test_an_episode_is_written_once(tmp_path: Path) -> None:
    with LeRobotWriter(tmp_path / "set", EMBODIMENT) as writer:
        writer.write_episode(EPISODE)
        with pytest.raises(World2ActError, match="episode-0 is there already"):
            writer.write_episode(EPISODE)


def test_an_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(World2ActError, match="exists already"), LeRobotWriter(tmp_path, EMBODIMENT):
        pass


def test_two_writers_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        LeRobotWriter(tmp_path / "set", EMBODIMENT),
        pytest.raises(World2ActError, match="another process is writing"),
        LeRobotWriter(tmp_path / "set", EMBODIMENT, resume=True),
    ):
        pass


def test_a_closed_set_takes_no_more(tmp_path: Path) -> None:
    with LeRobotWriter(tmp_path / "set", EMBODIMENT) as writer:
        pass
    with pytest.raises(World2ActError, match="not open"):
        writer.write_episode(EPISODE)


def test_images_that_a_codec_cannot_encode_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    embodiment = small_embodiment(13, 9)
    with (
        pytest.raises(ContractError, match="codec h264 cannot encode images of 13x9 pixels"),
        LeRobotWriter(tmp_path / "set", embodiment, codec="h264") as writer,
    ):
        writer.write_episode(random_episode(embodiment))
    assert [path for path in (tmp_path / "set").rglob("*") if path.is_file()] == []


def test_an_unknown_codec_is_refused(tmp_path: Path) -> None:
    with pytest.raises(World2ActError, match="no video codec 'mpeg2': choose one of av1, h264, lossless"):
        LeRobotWriter(tmp_path / "set", EMBODIMENT, codec="mpeg2")


def test_a_rate_that_lerobot_cannot_state_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="control_rate_hz is 7.5"):
        LeRobotWriter(tmp_path / "set", replace(EMBODIMENT, control_rate_hz=7.5))


def test_a_set_is_not_continued_with_another_codec(tmp_path: Path) -> None:
    path = write_set(tmp_path / "set", EPISODE)
    with (
        LeRobotWriter(path, EMBODIMENT, codec="av1", resume=True) as writer,
        pytest.raises(ContractError, match="codec differ"),
    ):
        writer.write_episode(random_episode(EMBODIMENT, 8, 1))
    assert len(read_set(path)) == 1


def test_a_set_of_others_is_not_continued(tmp_path: Path) -> None:
    path = foreign_set(tmp_path / "set", [5], {"shape": [16], "names": None}, {"shape": [7], "names": None})
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with pytest.raises(World2ActError, match="a data set of panda"), LeRobotWriter(path, EMBODIMENT, resume=True):
        pass
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_one_sentence_and_keeps_what_was_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_set(tmp_path / "set", EPISODE)

    def full(*_: Any) -> None:
        with open("/dev/full", "w") as device:
            device.write("x" * 10_000)

    with (
        pytest.raises(World2ActError, match="No space left on device"),
        LeRobotWriter(path, EMBODIMENT, codec="lossless", resume=True) as writer,
    ):
        monkeypatch.setattr("world2act_core.episodes.lerobot.files.layout.publish", full)
        writer.write_episode(random_episode(EMBODIMENT, 8, 1))
    assert [episode.episode_id for episode in read_set(path)] == ["episode-0"]
