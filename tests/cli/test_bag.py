"""`world2act bag info` on whole, damaged and absent bags."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.episodes.example import random_episode, small_embodiment
from world2act_core.cli import main
from world2act_core.episodes import BagWriter


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    embodiment = small_embodiment()
    with BagWriter(tmp_path / "bag", embodiment) as writer:
        for seed in range(2):
            writer.write_episode(random_episode(embodiment, steps=8, seed=seed, episode_id=f"episode{seed}"))
    return tmp_path / "bag"


def test_info_lists_episodes_and_topics(bag: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bag", "info", str(bag)]) == 0
    said = capsys.readouterr().out
    assert "2 episodes" in said.splitlines()[0]
    assert "world2act_interfaces/msg/ArmCommand" in said
    assert "episode1: " in said
    assert "8 steps" in said


def test_a_truncated_bag_shows_what_is_before_the_damage(bag: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = next(bag.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert main(["bag", "info", str(file)]) == 1
    assert f"damaged: {file}" in capsys.readouterr().out


def test_a_bag_that_is_not_there_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bag", "info", str(tmp_path / "gone")]) == 2
    assert "gone" in capsys.readouterr().err
