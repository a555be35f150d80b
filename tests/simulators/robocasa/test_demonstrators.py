"""Scripted demonstrators in RoboCasa: solved by RoboCasa's own check, and then logged, split into skills, evaluated."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from world2act_core.episodes import iterate_episodes
from world2act_core.episodes.writer import write_whole_bag
from world2act_core.errors import World2ActError
from world2act_core.evaluation.suite import read_suite
from world2act_core.simulators.opening import open_demonstrator
from world2act_core.simulators.protocol import PLACEHOLDER
from world2act_core.simulators.remote.client import RemoteSimulator
from world2act_core.simulators.robocasa.simulator import CAMERAS
from world2act_core.simulators.rollout import rollout
from world2act_core.simulators.starts import Start
from world2act_core.simulators.suites import suite_tasks
from world2act_core.skills.build import BuildSettings, build_skills
from world2act_core.types import Episode

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
DRIVE = ("robocasa_atomic_seen", 4)
"""Suite and task: NavigateKitchen."""


def logged(simulator: RemoteSimulator, seed: int, folder: Path) -> Episode:
    """A demonstration as it comes back out of a bag."""
    start = Start(simulator.suite, simulator.task_index, seed)
    episode = rollout(
        simulator, open_demonstrator(simulator), start,
        episode_id=folder.name, source="demonstrator", cameras=tuple(CAMERAS), extra_chunks=3,
    )  # fmt: skip
    assert episode.success and episode.steps < simulator.horizon
    write_whole_bag(episode, folder, simulator.embodiment)
    (read,) = iterate_episodes(folder, simulator.embodiment)
    assert read.actions is not None and episode.actions is not None
    np.testing.assert_array_equal(read.actions, episode.actions)
    return read


def kept(bags: Path, skills: Path) -> int:
    """How many episodes are split into skills; each of these is one skill from beginning to end."""
    built = build_skills([bags], skills, BuildSettings("panda_omron", form="bags"))
    assert built.episodes == built.overall.judged == 1
    return built.overall.kept


def test_the_drawer_is_shut_logged_with_three_cameras_and_one_skill(drawer: RemoteSimulator, tmp_path: Path) -> None:
    read = logged(drawer, 1, tmp_path / "bags" / "drawer")
    assert [skill.prompt for skill in read.skills] == [drawer.task.rstrip(".").lower()]
    shape = (read.steps // 4 + 1, 256, 256, 3)
    assert {camera: frames.shape for camera, frames in read.images.items()} == dict.fromkeys(CAMERAS, shape)
    blank = [camera for camera, frames in read.images.items() if min(frame.std() for frame in frames) < 10]
    assert not blank, "a renderer of an earlier episode was in the way"
    assert read.source == (
        "demonstrator, placeholder assets" if drawer.facts["assets"] == PLACEHOLDER else "demonstrator"
    )
    assert kept(tmp_path / "bags", tmp_path / "skills") == 1


def test_the_robot_drives_to_what_it_was_told_and_no_hand_did_it(robocasa: Path, tmp_path: Path) -> None:
    simulator = RemoteSimulator(*DRIVE)
    try:
        read = logged(simulator, 0, tmp_path / "bags" / "drive")
        assert read.task.startswith("Navigate to the ")
        assert kept(tmp_path / "bags", tmp_path / "skills") == 1
        simulator.reset(Start(*DRIVE, 0))
        assert not any(simulator.step(np.zeros(12)) for _ in range(20)), "nothing is solved by standing still"
    finally:
        simulator.close()


def test_a_task_without_a_script_says_so(robocasa: Path) -> None:
    simulator = RemoteSimulator("robocasa_atomic", 22)
    try:
        simulator.reset(Start("robocasa_atomic", 22, 0))
        with pytest.raises(World2ActError, match=r"robocasa_atomic/22, TurnOnMicrowave, has no scripted demonstrator"):
            open_demonstrator(simulator).reset(simulator)
    finally:
        simulator.close()


def test_an_evaluation_says_with_which_robocasa_and_which_kitchens(robocasa: Path, tmp_path: Path) -> None:
    tasks = suite_tasks("robocasa_atomic_seen")
    assert len(tasks) == 18 and tasks[4].instruction == "NavigateKitchen"
    assert (tasks[4].horizon, tasks[4].starts, tasks[4].embodiment) == (450, None, "panda_omron")
    named = ["--policy", "demonstrator", "--suite", DRIVE[0], "--tasks", "4", "--episodes", "1", "--workers", "1"]
    command = [sys.executable, "-m", "world2act_core.cli", "eval", *named, "--out", str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=1000)
    results = read_suite(tmp_path / "evaluation.json")
    assert [trial.success for trial in results.trials] == [True]
    assert results.protocol == {**tasks[4].protocol, "control_rate_hz": 20, "horizon": 450, "replan": 4}
    assert results.protocol["robocasa"] == "1.0.1"
    assert results.versions["rpent-robocasa365"] == "1.0.1" and results.versions["mujoco"] == "3.3.1"
    assert "4 NavigateKitchen" in done.stdout and "robocasa_atomic_seen, seeds; policy demonstrator" in done.stdout
    placeholder = json.loads((tmp_path / "evaluation.json").read_text())["protocol"]["assets"] == PLACEHOLDER
    assert ("assets: placeholder" in done.stdout) == placeholder
