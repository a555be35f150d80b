"""Episodes refuse to disagree with themselves; chunks start where frames are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from world2act_core.types import ActionChunk, Episode


def episode(steps: int = 8, frame_steps: tuple[int, ...] = (0, 4, 8), **changes: Any) -> Episode:
    fields: dict[str, Any] = {
        "episode_id": "e1",
        "task": "put the bowl on the plate",
        "embodiment": "libero_panda",
        "stamps": np.arange(steps + 1) * 0.05,
        "state": {"joint_positions": np.zeros((steps + 1, 7), np.float32)},
        "actions": np.zeros((steps, 7), np.float32),
        "frame_steps": np.array(frame_steps, np.int64),
        "images": {"agentview": np.zeros((len(frame_steps), 2, 2, 3), np.uint8)},
    }
    return Episode(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stamps": np.array([0.0, 0.1, 0.1])}, "stamps must be strictly increasing"),
        ({"stamps": np.array([])}, "not empty"),
        ({"state": {"joint_positions": np.zeros((8, 7))}}, "joint_positions has 8 rows, expected 9"),
        ({"actions": np.zeros((9, 7))}, "9 actions for 8 steps"),
        ({"frame_steps": np.array([0, 4, 9])}, r"within \[0, 8\]"),
        ({"frame_steps": np.array([-1, 4, 8])}, r"within \[0, 8\]"),
        ({"frame_steps": np.array([0, 4, 4])}, "must increase"),
        ({"images": {"agentview": np.zeros((2, 2, 2, 3))}}, "agentview has 2 frames, expected 3"),
    ],
)
def test_an_episode_that_disagrees_with_itself_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"episode e1: .*{said}"):
        episode(**changes)


def test_an_episode_of_no_steps_has_one_state() -> None:
    assert episode(steps=0, frame_steps=(0,)).steps == 0


def test_chunks_need_a_frame_at_start_and_end() -> None:
    assert list(episode(steps=12, frame_steps=(0, 4, 12)).chunk_starts(4)) == [0]


def test_chunks_are_complete() -> None:
    """The last two of ten steps make no chunk of four: padding never passes for data."""
    assert list(episode(steps=10, frame_steps=(0, 4, 8)).chunk_starts(4)) == [0, 4]


def test_a_video_without_actions_keeps_everything_else() -> None:
    whole = episode()
    video = whole.without_actions()
    assert video.actions is None
    assert (video.episode_id, video.steps) == (whole.episode_id, whole.steps)
    assert video.images is whole.images


def test_a_chunk_knows_its_horizon() -> None:
    assert ActionChunk(np.zeros((4, 7), np.float32), stamp=0.0).horizon == 4
