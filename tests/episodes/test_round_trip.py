"""What is written is read back bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.episodes.example import assert_equal, random_episode, small_embodiment
from world2act_core.episodes import BagWriter, read_bag


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_episodes_come_back_bit_for_bit(tmp_path: Path, rotation: int) -> None:
    embodiment = small_embodiment(rotation_deg=rotation)
    written = [random_episode(embodiment, 8 + seed, seed) for seed in range(3)]
    with BagWriter(tmp_path / "bag", embodiment) as bag:
        for episode in written:
            bag.write_episode(episode)
    contents = read_bag(tmp_path / "bag", embodiment)
    assert contents.damage is None and contents.refused == []
    assert len(contents.episodes) == 3
    for read, expected in zip(contents.episodes, written, strict=True):
        assert_equal(read, expected)
