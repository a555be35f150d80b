"""Which frames a skill clip is made of."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.world_model.finetune_scene import episode
from world2act_core.errors import ContractError
from world2act_core.types import Skill
from world2act_core.world_model.cosmos.finetune.clips import LONGEST, clip_frames, skill_clips


def bounds(steps: int, *skills: tuple[int, int]) -> list[tuple[int, int]]:
    """First and last frame of each clip of an episode with these skills."""
    given_skills = tuple(Skill(f"skill {number}", *skill) for number, skill in enumerate(skills))
    return [(clip.first, clip.first + clip.frames - 1) for clip in skill_clips(episode(0, steps, given_skills))]


def test_a_clip_begins_and_ends_with_the_frames_in_which_its_skill_does() -> None:
    assert bounds(20, (0, 8), (8, 20)) == [(0, 8), (8, 20)]


def test_a_broken_chunk_is_completed_with_the_frames_that_follow() -> None:
    assert bounds(20, (0, 5), (5, 12)) == [(0, 8), (5, 13)]


def test_at_the_end_of_the_episode_a_broken_chunk_is_left_out() -> None:
    assert bounds(22, (8, 22)) == [(8, 20)]


def test_a_long_skill_is_cut_into_equal_pieces_that_share_their_boundary_frame() -> None:
    assert bounds(100, (0, 100)) == [(0, 52), (52, 100)]  # 25 chunks: 13 and 12, not 23 and 2


def test_the_longest_clip_of_cosmos_is_not_cut() -> None:
    assert bounds(120, (0, LONGEST - 1)) == [(0, 92)]


def test_what_is_shorter_than_a_chunk_at_the_end_is_no_clip() -> None:
    assert bounds(20, (0, 17), (17, 20)) == [(0, 20)]


def test_an_episode_without_skills_is_one_clip_of_its_instruction() -> None:
    (clip,) = skill_clips(episode(0, 20, skills=()))
    assert (clip.prompt, clip.first, clip.frames, clip.latents) == ("put the bowl on the plate", 0, 21, 6)


def test_an_episode_with_too_few_frames_is_refused_with_the_reason() -> None:
    sparse = episode(0, 20, frame_every=4)
    with pytest.raises(
        ContractError, match="episode-0 has no frame at control step 1: Cosmos sees one frame a control"
    ):
        clip_frames(sparse, skill_clips(sparse)[0])


@given(st.integers(5, 320), st.integers(0, 300), st.integers(1, 300))
def test_every_latent_of_a_clip_shows_real_consecutive_frames(steps: int, start: int, length: int) -> None:
    start = min(start, steps - 1)
    whole = episode(0, steps, (Skill("push the plate", start, min(start + length, steps)),))
    clips = skill_clips(whole)
    rows = [clip_frames(whole, clip) for clip in clips]
    for clip, frames in zip(clips, rows, strict=True):
        assert clip.frames <= LONGEST and clip.frames % 4 == 1 and clip.latents >= 2
        assert len(frames) == clip.frames and frames[-1] <= steps
        np.testing.assert_array_equal(np.diff(frames), 1)
    for before, after in pairwise(rows):
        assert before[-1] == after[0]
    if rows:
        assert rows[0][0] == start
        assert abs(rows[-1][-1] - whole.skills[0].end) < 4
    else:
        assert steps - start < 4
