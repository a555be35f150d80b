"""What World2Act is compared with, in a toy world whose truth is known: a square that actions push."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.learning.scenes import EMBODIMENT, SIZE, square_episode, square_table
from world2act_core.alignment.adapters import load_alignment, save_alignment
from world2act_core.alignment.calibrate import CalibrationConfig, calibrate
from world2act_core.alignment.train import Stage1Config, train_alignment, video_latents
from world2act_core.baselines.cloning import pseudo_labelled, successful
from world2act_core.baselines.pixels import IdmConfig, dreamed, train_idm
from world2act_core.errors import RunError
from world2act_core.policies.address import open_policy
from world2act_core.types import Observation
from world2act_core.world_model.chunk_latents import imagined_latents, real_latents
from world2act_core.world_model.compact import CompactWorldModelConfig, save_world_model, train_world_model

PROMPTS = ("push right", "push down")
PUSHES = np.arange(7) < 2
"""The toy world's pushes use x and y only."""


@pytest.fixture(scope="module")
def videos():
    """Episodes whose actions nobody may read: they are not there."""
    return square_table(40, PROMPTS, labelled=False)


@pytest.fixture(scope="module")
def truth():
    """The same episodes with what was really done."""
    return square_table(40, PROMPTS).actions


@pytest.fixture(scope="module")
def labelled():
    table = square_table(80, PROMPTS)
    return table.select(np.flatnonzero(table.episode >= 40))


@pytest.fixture(scope="module")
def model(videos, tmp_path_factory):
    torch.set_num_threads(1)
    config = CompactWorldModelConfig(image_size=SIZE, width=16, steps=200, batch=24, unroll=1)
    return train_world_model(videos, config, 0, tmp_path_factory.mktemp("world") / "checkpoint.pt")[0].eval()


@pytest.fixture(scope="module")
def alignment(model, labelled, tmp_path_factory):
    config = Stage1Config(steps=250, length=6)
    checkpoint = tmp_path_factory.mktemp("stage1") / "checkpoint.pt"
    return train_alignment(labelled, real_latents(model, labelled), config, 0, checkpoint)[0].eval()


@pytest.fixture(scope="module")
def idm(labelled, tmp_path_factory):
    torch.set_num_threads(1)
    return train_idm(labelled, IdmConfig(steps=250, width=8), 0, tmp_path_factory.mktemp("idm") / "checkpoint.pt")[0]


@pytest.fixture(scope="module")
def files(model, alignment, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    save_world_model(folder / "world_model.pt", model)
    save_alignment(folder / "alignment.pt", alignment)
    return folder


def share_explained(read: np.ndarray, actions: np.ndarray) -> float:
    """R² of the pushes."""
    pushes = actions[..., PUSHES]
    return float(1 - np.square(read[..., PUSHES] - pushes).sum() / np.square(pushes - pushes.mean((0, 1))).sum())


def seen(prompt: str, index: int, step: int = 0) -> Observation:
    episode = square_episode(index, prompt)
    return Observation(
        0.0, {"agentview": episode.images["agentview"][step // 4]}, {name: v[step] for name, v in episode.state.items()}
    )


def test_pseudo_labels_are_the_actions_that_the_video_shows(videos, truth, model, alignment):
    table = pseudo_labelled(videos, alignment, real_latents(model, videos), EMBODIMENT, PUSHES)
    assert table.labelled.all() and not videos.labelled.any()
    assert share_explained(table.actions, truth) > 0.5
    assert not table.actions[..., ~PUSHES].any()


def test_pseudo_labels_stay_in_the_range_of_actions(videos, model, alignment):
    action = replace(EMBODIMENT.action, low=0.1 * EMBODIMENT.action.low, high=0.1 * EMBODIMENT.action.high)
    narrow = replace(EMBODIMENT, action=action)
    table = pseudo_labelled(videos, alignment, real_latents(model, videos), narrow, PUSHES)
    assert np.abs(table.actions).max() == pytest.approx(0.1)


def test_filtered_cloning_keeps_the_whole_of_each_successful_episode_and_nothing_else(labelled):
    success = np.zeros(80, bool)
    success[[41, 55]] = True
    kept = successful(labelled, success)
    assert kept.episode.tolist() == [41] * 6 + [55] * 6
    rows = np.isin(labelled.episode, [41, 55])
    assert np.array_equal(kept.actions, labelled.actions[rows])
    assert np.array_equal(kept.frames[kept.after], labelled.frames[labelled.after[rows]])


def test_inverse_dynamics_reads_actions_from_the_pixels_of_videos_that_it_never_saw(videos, truth, idm):
    with torch.no_grad():
        read = idm(torch.from_numpy(videos.frames[videos.before]), torch.from_numpy(videos.frames[videos.after]))
    assert share_explained(read.numpy(), truth) > 0.5


def test_dreams_go_where_their_prompt_says_and_are_labelled_so(videos, model, idm):
    table = dreamed(model, idm, videos, 4, EMBODIMENT, PUSHES)
    right = np.asarray(table.prompts) == "push right"
    assert len(table) == 40 * 4 and right.sum() == 20 * 4 and table.labelled.all()
    pushes = np.stack([table.actions[right].mean((0, 1)), table.actions[~right].mean((0, 1))])
    assert pushes[0, 0] > pushes[0, 1] + 0.3 and pushes[1, 1] > pushes[1, 0] + 0.3
    assert not table.actions[..., ~PUSHES].any()


def test_a_dream_begins_at_the_real_frame_and_each_chunk_where_the_last_one_ended(videos, model, idm):
    table = dreamed(model, idm, videos, 3, EMBODIMENT, PUSHES)
    first = np.flatnonzero(table.clock == 0)
    real = videos.frames[videos.before[videos.clock == 0]].astype(float)
    off = np.abs(table.frames[table.before[first]] - real).mean((1, 2, 3))
    others = np.abs(table.frames[table.before[first]] - real[::-1]).mean((1, 2, 3))
    assert off.max() < others.mean()
    inside = np.flatnonzero(table.clock > 0)
    assert np.array_equal(table.before[inside], table.after[inside - 1])
    assert np.array_equal(table.previous[inside], table.before[inside - 1])
    assert np.array_equal(table.episode, np.repeat(np.arange(40), 3))


def test_a_dream_reads_nothing_of_a_video_but_its_first_frame(videos, model, idm):
    frames = videos.frames.copy()
    frames[videos.after] = 0  # in the toy episodes every frame but the first ends a chunk
    one, other = (dreamed(model, idm, t, 2, EMBODIMENT, PUSHES) for t in (videos, replace(videos, frames=frames)))
    assert np.array_equal(one.frames, other.frames) and np.array_equal(one.actions, other.actions)


def imagination(files: Path, used: list[bool] | None = None) -> str:
    (files / "used.json").write_text(json.dumps(PUSHES.tolist() if used is None else used))
    return f"imagination:{files / 'world_model.pt'},{files / 'alignment.pt'},{files / 'used.json'}"


def test_the_decoded_imagination_pushes_where_the_prompt_says(files):
    policy = open_policy(imagination(files), EMBODIMENT)
    right, down = (np.mean([_first_push(policy, prompt, index) for index in range(100, 108)], 0) for prompt in PROMPTS)
    assert right[0] > down[0] + 0.2 and down[1] > right[1] + 0.2
    assert right[0] > right[1] and down[1] > down[0]


def _first_push(policy, prompt: str, index: int) -> np.ndarray:
    policy.reset()
    chunk = policy.act(seen(prompt, index), prompt)
    EMBODIMENT.check_chunk(chunk)
    return chunk.actions[:, :2].mean(0)


def test_the_decoded_imagination_remembers_one_chunk_until_it_is_reset(files):
    policy = open_policy(imagination(files), EMBODIMENT)
    fresh = policy.act(seen("push right", 3), "push right").actions
    later = policy.act(seen("push right", 3), "push right").actions
    policy.reset()
    assert np.array_equal(policy.act(seen("push right", 3), "push right").actions, fresh)
    assert not np.array_equal(later, fresh)  # another clock


def test_an_address_without_its_other_files_is_refused(files):
    with pytest.raises(RunError, match=r"names 1 file\(s\): expected WORLD_MODEL,ALIGNMENT,USED"):
        open_policy(f"imagination:{files / 'world_model.pt'}", EMBODIMENT)
    with pytest.raises(RunError, match=r"there is no file '.*gone\.json', the USED"):
        open_policy(imagination(files).replace("used", "gone"), EMBODIMENT)


def test_the_decoded_imagination_does_nothing_in_dimensions_that_are_not_used(files):
    policy = open_policy(imagination(files, [False, *PUSHES[1:].tolist()]), EMBODIMENT)
    actions = policy.act(seen("push right", 3), "push right").actions
    assert not actions[:, 0].any() and actions[:, 1].any()
    with pytest.raises(RunError, match=r"used\.json must say of each of \d+ action dimensions"):
        open_policy(imagination(files, [True]), EMBODIMENT)


def test_calibration_makes_imagined_latents_read_as_the_real_ones_and_changes_nothing_else(
    videos, model, alignment, tmp_path
):
    save_alignment(tmp_path / "before.pt", alignment)
    mine = load_alignment(tmp_path / "before.pt")
    real, imagined = real_latents(model, videos), imagined_latents(model, videos)
    rows = np.arange(len(videos))
    wanted = video_latents(mine, real, rows)
    before = (video_latents(mine, imagined, rows, imagined=True) - wanted).square().mean()
    calibrate(mine, real, imagined, len(videos), CalibrationConfig(steps=150), 0, tmp_path / "checkpoint.pt")
    assert (video_latents(mine, imagined, rows, imagined=True) - wanted).square().mean() < 0.9 * before
    assert torch.equal(video_latents(mine, real, rows), wanted)
    save_alignment(tmp_path / "after.pt", mine)
    again = load_alignment(tmp_path / "after.pt")
    found = [video_latents(one, imagined, rows, imagined=True) for one in (mine.eval(), again)]
    assert torch.equal(*found)
