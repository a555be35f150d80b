"""What is kept of a failed trial, and whether a repetition of it is told truly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.learning.scenes import EMBODIMENT
from world2act_core.episodes import read_bag
from world2act_core.errors import RunError
from world2act_core.evaluation.conduct import Conduct, states_digest
from world2act_core.evaluation.trials import Trial
from world2act_core.recipes.failures import keep_failure, read_failure
from world2act_core.recipes.repeating import Repetition, first_difference, recorded_episode
from world2act_core.types import Episode

START = "libero_goal/8/i3"


def episode(size: int = 128) -> Episode:
    """Two chunks that solve nothing, as the policy saw them."""
    generator = np.random.default_rng(3)
    steps = 2 * EMBODIMENT.chunk_length
    state = {
        name: generator.uniform(-0.1, 0.1, (steps + 1, stream.size)).astype(np.float32)
        for name, stream in EMBODIMENT.state.items()
    }
    return Episode(
        episode_id=START,
        task="put the bowl on the plate",
        embodiment=EMBODIMENT.name,
        stamps=np.arange(steps + 1) * EMBODIMENT.step_s,
        state=state,
        actions=generator.uniform(-1, 1, (steps, 7)).astype(np.float32),
        frame_steps=np.arange(0, steps + 1, EMBODIMENT.chunk_length),
        images={"agentview": generator.integers(0, 255, (3, size, size, 3), np.uint8)},
        success=False,
        start_id=START,
        source="policy",
    )


def keep(folder: Path, shown: Episode) -> None:
    trial = Trial(START, "policy", False, shown.steps, 1.0, Conduct(states=states_digest(shown.state)))
    look = {"image_size": 0, "rendering": "fast"}
    reached = np.arange(5.0)
    keep_failure(folder, shown, EMBODIMENT, trial, b"film", reached, "compact:p.pt", {"p.pt": "12ab"}, look)


def test_a_failure_is_kept_with_video_bag_and_start(tmp_path: Path) -> None:
    shown, folder = episode(), tmp_path / "failures" / "libero_goal-8-i3"
    keep(folder, shown)
    assert sorted(path.name for path in folder.iterdir()) == ["bag", "trial.json", "video.mp4"]
    assert [path.name for path in folder.parent.iterdir()] == [folder.name], "nothing half written is left"
    failure = read_failure(folder)
    assert (failure.trial.start_id, failure.policy, failure.identity) == (START, "compact:p.pt", {"p.pt": "12ab"})
    assert failure.images and len(failure.reached) == 64
    (logged,) = read_bag(folder / "bag", EMBODIMENT).episodes
    assert logged.actions is not None and shown.actions is not None
    np.testing.assert_array_equal(logged.actions, shown.actions)
    np.testing.assert_array_equal(logged.images["agentview"], shown.images["agentview"])
    assert states_digest(logged.state) == failure.trial.conduct.states if failure.trial.conduct else False
    keep(folder, shown)  # a trial that was killed before its line was written is kept anew


def test_frames_of_another_size_are_in_the_video_alone_and_that_is_said(tmp_path: Path) -> None:
    keep(tmp_path / "kept", episode(size=64))
    assert not read_failure(tmp_path / "kept").images
    (logged,) = read_bag(tmp_path / "kept" / "bag", EMBODIMENT).episodes
    assert logged.images == {} and logged.steps == 8


def test_a_folder_that_is_none_or_is_damaged_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"has no trial\.json: name the folder of one failed trial"):
        read_failure(tmp_path)
    keep(tmp_path / "kept", episode())
    file = tmp_path / "kept" / "trial.json"
    raw = json.loads(file.read_text())
    del raw["look"]
    file.write_text(json.dumps(raw))
    with pytest.raises(RunError, match="is incomplete"):
        read_failure(tmp_path / "kept")
    raw["schema"] = "world2act.failure/9"
    file.write_text(json.dumps(raw))
    with pytest.raises(RunError, match="schema 'world2act.failure/9'"):
        read_failure(tmp_path / "kept")


def test_a_bag_of_another_start_is_refused(tmp_path: Path) -> None:
    keep(tmp_path / "kept", replace(episode(), start_id="libero_goal/8/i4"))
    with pytest.raises(RunError, match="does not hold the one episode from libero_goal/8/i3"):
        recorded_episode(read_failure(tmp_path / "kept"))


def test_the_first_difference_is_named() -> None:
    one = episode()
    assert first_difference(one, one) == ""
    moved = {name: rows.copy() for name, rows in one.state.items()}
    moved["eef_position"][5:, 1] += np.float32(0.002)
    moved["joint_positions"][6:] += np.float32(0.1)
    assert first_difference(one, replace(one, state=moved)) == "differ from step 5 on, eef_position by 0.002 there"
    shorter = replace(
        one,
        stamps=one.stamps[:5],
        state={name: rows[:5] for name, rows in one.state.items()},
        actions=None,
        frame_steps=one.frame_steps[:2],
        images={},
    )
    assert first_difference(one, shorter) == "equal up to step 4, where one episode ends"


def test_a_repetition_says_what_repeats_and_what_has_changed() -> None:
    one = episode()
    same = Repetition(one, one, "", True, ())
    assert same.repeats and str(same).splitlines() == [
        f"{START}: not solved in 8 steps, now as then",
        "states: equal to the bit at all 9 steps; all objects too, at the end",
        "the trial repeats",
    ]
    drifted = Repetition(one, one, "differ from step 5 on, eef_position by 0.002 there", False, ())
    assert not drifted.repeats and "the trial does NOT repeat" in str(drifted)
    excused = replace(drifted, changed=("mujoco was 3.17.0, is 3.18.0",))
    assert excused.repeats and "note: mujoco was 3.17.0, is 3.18.0" in str(excused)
    solved = Repetition(one, replace(one, success=True), "", None, ("the code was at commit a, is at b",))
    assert not solved.repeats and "not solved in 8 steps, now solved in 8 steps" in str(solved)
