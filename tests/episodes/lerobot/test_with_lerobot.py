"""LeRobot itself loads what we write. Runs where it is installed (it is no dependency): pip install lerobot."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.episodes.example import small_embodiment
from tests.episodes.lerobot.sets import psnr, smooth_episode, write_set
from world2act_core.episodes.lerobot import CODECS, FileLimits
from world2act_core.episodes.lerobot.rows import held_frames, prompts

lerobot_dataset = pytest.importorskip("lerobot.datasets.lerobot_dataset")

EMBODIMENT = small_embodiment(64, 48)
EPISODES = [smooth_episode(EMBODIMENT, 10 + seed, seed) for seed in range(3)]
LIMITS = FileLimits(seconds=1)  # two files


def load(path: Path, **options: Any) -> Any:
    return lerobot_dataset.LeRobotDataset("local/set", root=path, video_backend="pyav", **options)


@pytest.mark.parametrize("codec", CODECS)
def test_every_row_is_what_was_written(tmp_path: Path, codec: str) -> None:
    path = write_set(tmp_path / "set", *EPISODES, embodiment=EMBODIMENT, codec=codec, limits=LIMITS)
    dataset = load(path)
    assert len(dataset) == sum(episode.steps + 1 for episode in EPISODES)
    row = 0
    for number, episode in enumerate(EPISODES):
        held = held_frames(episode)
        state = np.concatenate([episode.state[name] for name in EMBODIMENT.state], axis=1)
        for t in range(episode.steps + 1):
            item = dataset[row]
            row += 1
            assert (item["episode_index"], item["frame_index"], item["task"]) == (number, t, episode.task)
            np.testing.assert_array_equal(item["observation.state"].numpy(), state[t])
            if episode.actions is not None and t < episode.steps:
                np.testing.assert_array_equal(item["action"].numpy(), episode.actions[t])
            for name, images in episode.images.items():
                shown = item[f"observation.images.{name}"].permute(1, 2, 0).numpy() * 255
                likeness = [psnr(shown, image) for image in images]
                assert int(np.argmax(likeness)) == held[t]
                assert max(likeness) > (100 if codec == "lossless" else 24)  # tiny images with a coloured edge


def test_windows_reach_over_the_frames_before(tmp_path: Path) -> None:
    path = write_set(tmp_path / "set", *EPISODES, embodiment=EMBODIMENT, limits=LIMITS)
    windows = {"action": [k / 20 for k in range(4)], "observation.images.wrist": [-0.05, 0.0]}
    item = load(path, delta_timestamps=windows)[8]
    assert item["action"].shape == (4, 7) and item["action_is_pad"].tolist() == [False, False, False, True]
    assert item["observation.images.wrist"].shape == (2, 3, 48, 64)


def test_statistics_have_the_shapes_that_normalisation_takes(tmp_path: Path) -> None:
    path = write_set(tmp_path / "set", *EPISODES, embodiment=EMBODIMENT, limits=LIMITS)
    stats = load(path).meta.stats
    assert stats["action"]["mean"].shape == (7,) and stats["observation.state"]["q99"].shape == (16,)
    assert stats["observation.images.wrist"]["std"].shape == (3, 1, 1)


def test_subtasks_are_the_skills_under_way(tmp_path: Path) -> None:
    """Releases 0.4 and 0.5 read ``subtask_index``, later ones ``language_persistent``."""
    later = find_spec("lerobot.datasets.language_render") is not None
    path = write_set(tmp_path / "set", EPISODES[0], embodiment=EMBODIMENT, language_columns=later)
    dataset = load(path)
    for t, prompt in enumerate(prompts(EPISODES[0])):
        item = dataset[t]
        assert (said_at(item) if later else item["subtask"]) == prompt


def said_at(item: Any) -> str:
    """The subtask of a row by LeRobot's own rule."""
    language = import_module("lerobot.datasets.language_render")
    time, rows = item["timestamp"].item(), item["language_persistent"]
    return str(language.active_at(time, persistent=rows, style="subtask")["content"])
