"""The papers' protocol, held by the evaluation: every official state once, nothing counted twice, failures filmed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.learning.scenes import EMBODIMENT
from tests.policies.peering import address, peer
from tests.policies.served import serving
from world2act_core.errors import RunError, World2ActError
from world2act_core.evaluation.suite import pair_suites, read_suite
from world2act_core.evaluation.trials import Trial
from world2act_core.policies.compact import CompactConfig, new_network, save_compact
from world2act_core.policies.identity import policy_identity
from world2act_core.recipes.filming import replayed
from world2act_core.recipes.suite import DEMONSTRATOR, Plan, SuiteTrial, evaluate_suite, frame_size
from world2act_core.simulators.demonstrators.library import demonstrator
from world2act_core.simulators.libero import LiberoSimulator
from world2act_core.simulators.rollout import Moment, rollout
from world2act_core.simulators.starts import Start
from world2act_core.simulators.workers import Finished, WorkerPool
from world2act_core.types import Array, Skill

pytestmark = pytest.mark.libero
pytest.importorskip("libero", reason="LIBERO is not installed: make setup")
LIMIT_S = 500


class ToyPool(WorkerPool):
    """Succeeds on even states, in this process; is interrupted before a job, if it is told to."""

    def __init__(self, interrupt_at: int | None = None, workers: int = 1) -> None:
        super().__init__(workers)
        self.jobs: list[SuiteTrial] = []
        self.interrupt_at = interrupt_at

    def run(
        self, function: Callable[..., Any], jobs: Iterable[Any], *, description: str | None = None
    ) -> Iterator[Finished[Any, Any]]:
        for job in jobs:
            if len(self.jobs) == self.interrupt_at:
                raise KeyboardInterrupt
            self.jobs.append(job)
            yield Finished(job, Trial(job.start.id, "policy", job.start.index % 2 == 0, 80, 1.0), 1)


def plan(**changes: Any) -> Plan:
    return Plan(**{"policy": DEMONSTRATOR, "suite": "libero_goal", "tasks": (0, 8), "episodes": 4, **changes})


def test_every_trial_has_an_official_state_of_its_own(tmp_path: Path) -> None:
    pool = ToyPool()
    results = evaluate_suite(plan(episodes=50), tmp_path, pool)
    starts = [job.start for job in pool.jobs]
    assert starts == [Start("libero_goal", task, index) for task in (0, 8) for index in range(50)]
    assert len({trial.start_id for trial in results.trials}) == 100
    assert sum(trial.success for trial in results.trials) == 50


def test_no_state_is_tried_twice_to_get_more_episodes(tmp_path: Path) -> None:
    with pytest.raises(World2ActError, match="has 50 official initial states, and no state is tried twice"):
        evaluate_suite(plan(episodes=51), tmp_path, ToyPool())


@pytest.mark.parametrize(("suite", "horizon"), [("libero_spatial", 220), ("libero_10", 520), ("libero_goal_swap", 300)])
def test_the_results_say_by_which_protocol(tmp_path: Path, suite: str, horizon: int) -> None:
    results = evaluate_suite(plan(suite=suite, tasks=(1,), episodes=1), tmp_path, ToyPool())
    assert results.protocol == {
        "controller": "OSC_POSE",
        "control_rate_hz": 20,
        "settle_steps": 10,
        "horizon": horizon,
        "replan": 4,
        "starts": "official initial states",
    }
    assert results.rendering["image_size"] == 128 and results.rendering["backend"]
    assert {"mujoco", "robosuite", "torch"} <= set(results.versions)


def test_all_tasks_of_a_suite_unless_some_are_named(tmp_path: Path) -> None:
    results = evaluate_suite(plan(tasks=(), episodes=1), tmp_path, ToyPool())
    assert list(results.instructions) == list(range(10))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"suite": "libero_kitchen"}, "no horizon is published"),
        ({"tasks": (10,)}, "has no task 10"),
        ({"policy": "gr8t:x"}, "no known scheme"),
        ({"episodes": 0}, "name 1 or more"),
        ({"rendering": "fancy"}, "expected one of fast, stock"),
        ({"replan": 8}, "the demonstrator acts at every step"),
    ],
)
def test_what_means_nothing_is_refused_before_a_worker_starts(tmp_path: Path, changes: Any, says: str) -> None:
    pool = ToyPool()
    with pytest.raises(World2ActError, match=says):
        evaluate_suite(plan(**changes), tmp_path, pool)
    assert pool.jobs == []


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_a_file_in_the_way_of_the_results_is_said(tmp_path: Path, out: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match=f"{out} cannot be a folder, there is a file in its way"):
        evaluate_suite(plan(), tmp_path / out, ToyPool())


def test_an_interrupted_evaluation_goes_on_where_it_was(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        evaluate_suite(plan(), tmp_path, ToyPool(interrupt_at=3))
    second = ToyPool()
    resumed = evaluate_suite(plan(), tmp_path, second)
    assert len(second.jobs) == 5
    assert resumed == evaluate_suite(plan(), tmp_path / "whole", ToyPool())
    more = ToyPool()
    evaluate_suite(plan(episodes=6), tmp_path, more)
    assert len(more.jobs) == 4, "more episodes go on with those that are there"


def test_it_says_when_its_last_trial_ended_however_often_it_is_asked_again(tmp_path: Path) -> None:
    before = datetime.now(timezone.utc).replace(microsecond=0)
    ended = evaluate_suite(plan(), tmp_path, ToyPool()).finished
    assert before <= datetime.fromisoformat(ended) <= datetime.now(timezone.utc)
    an_hour_ago = time.time() - 3600
    os.utime(tmp_path / "trials.jsonl", (an_hour_ago, an_hour_ago))
    again = evaluate_suite(plan(), tmp_path, ToyPool()).finished
    assert datetime.fromisoformat(again) == datetime.fromtimestamp(int(an_hour_ago), timezone.utc)


def test_trials_of_another_look_are_not_mixed_in(tmp_path: Path) -> None:
    evaluate_suite(plan(), tmp_path, ToyPool())
    with pytest.raises(RunError, match="evaluate into another file"):
        evaluate_suite(plan(rendering="stock"), tmp_path, ToyPool())


def untrained(folder: Path) -> str:
    """The address of a compact policy of random weights."""
    config = CompactConfig(width=4, features=8)
    torch.manual_seed(0)
    save_compact(folder / "policy.pt", new_network(config, EMBODIMENT), config, EMBODIMENT)
    return f"compact:{folder / 'policy.pt'}"


def test_trials_that_were_replanned_otherwise_are_other_trials(tmp_path: Path) -> None:
    given, pool = untrained(tmp_path), ToyPool()
    every_2 = evaluate_suite(plan(policy=given, replan=2), tmp_path / "2", pool)
    assert every_2.protocol["replan"] == 2 and {job.replan for job in pool.jobs} == {2}
    usual = evaluate_suite(plan(policy=given), tmp_path / "4", ToyPool())
    with pytest.raises(RunError, match="differ in protocol"):
        pair_suites(usual, every_2)
    with pytest.raises(RunError, match="evaluate into another file"):
        evaluate_suite(plan(policy=given), tmp_path / "2", ToyPool())
    with pytest.raises(World2ActError, match="chunks of 4 steps, and a residual corrects the contract's M and no more"):
        evaluate_suite(plan(policy=given, replan=8), tmp_path / "8", ToyPool())


@pytest.mark.parametrize("protocol", ["gr00t", "openpi"])
def test_a_published_model_is_shown_frames_in_its_makers_size(
    tmp_path: Path, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    """openpi's models see 224x224, which its own evaluation shrinks 256x256 to."""
    with peer(protocol) as server:
        given, pool = address(protocol, server.port), ToyPool(workers=2)
        results = evaluate_suite(plan(policy=given, replan=16), tmp_path / "a", pool)
        assert results.rendering["image_size"] == 256 and {job.image_size for job in pool.jobs} == {256}
        assert results.protocol["replan"] == 16 and caplog.text == ""
        results = evaluate_suite(plan(policy=given, image_size=128), tmp_path / "b", ToyPool())
        assert results.rendering["image_size"] == 128
        assert "the policy asks for frames of 256x256, but is shown ones of 128x128" in caplog.text


def test_frames_that_the_simulator_does_not_render_are_chosen_by_hand() -> None:
    for sizes in ({"agentview": [256, 320]}, {"agentview": [256, 256], "wrist": [128, 128]}):
        with pytest.raises(World2ActError, match="here all are square and alike: choose one, --image-size PX"):
            frame_size(plan(), sizes, 128)
        assert frame_size(plan(image_size=64), sizes, 128) == 64
    assert frame_size(plan(), {}, 128) == 128


def test_a_served_policy_that_remembers_has_one_worker(tmp_path: Path) -> None:
    with serving("--policy", "telling:stateful", "--protocol", "gr00t") as (_, port):
        given = address("gr00t", port)
        with pytest.raises(World2ActError, match="can be in one at a time only: --workers 1"):
            evaluate_suite(plan(policy=given, replan=8), tmp_path, ToyPool(workers=2))
        with pytest.raises(World2ActError, match="goes on where its last chunk of 8 steps ends"):
            evaluate_suite(plan(policy=given, replan=4), tmp_path, ToyPool())
        assert evaluate_suite(plan(policy=given, replan=8), tmp_path, ToyPool()).protocol["replan"] == 8


def test_a_policy_is_known_by_its_files(tmp_path: Path) -> None:
    (tmp_path / "policy.pt").write_bytes(b"1")
    first = policy_identity(f"compact:{tmp_path / 'policy.pt'}")
    (tmp_path / "policy.pt").write_bytes(b"2")
    second = policy_identity(f"compact:{tmp_path / 'policy.pt'}")
    assert list(first) == [str(tmp_path / "policy.pt")] and first != second
    (tmp_path / "manifest.json").write_text("{}")
    assert list(policy_identity(f"onnx:{tmp_path}#cpu")) == ["manifest.json"]
    assert policy_identity("gr00t://host:5555") == {}


class Repeats:
    """Does again what was done, with the gripper's sign as given."""

    def __init__(self, actions: Array, gripper: float = 1.0) -> None:
        self.actions = actions.copy()
        self.actions[:, EMBODIMENT.gripper.index] *= gripper

    def reset(self, simulator: Any) -> None:
        pass

    def act(self, moment: Moment) -> Array:
        action: Array = self.actions[min(moment.step, len(self.actions) - 1)]
        return action

    def skills(self, steps: int) -> tuple[Skill, ...]:
        return ()


@pytest.mark.slow
def test_a_solution_solves_again_and_with_the_wrong_gripper_sign_does_not() -> None:
    start = Start("libero_object", 0, 0)
    simulator = LiberoSimulator("libero_object", 0)
    try:
        how: dict[str, Any] = {"episode_id": "x", "source": "policy", "record_images": False}
        shown = rollout(simulator, demonstrator("libero_object", 0), start, **how)
        assert shown.success and shown.actions is not None
        again = rollout(simulator, Repeats(shown.actions), start, **how)
        assert again.success and again.steps == shown.steps
        limit = {**how, "max_steps": shown.steps}
        assert not rollout(simulator, Repeats(shown.actions, -1.0), start, **limit).success
        elsewhere = rollout(simulator, Repeats(shown.actions), Start("libero_object", 0, 1), **limit)
        assert not np.array_equal(elsewhere.state["joint_positions"], again.state["joint_positions"])
        frames = replayed(shown, simulator, start)
        assert frames.shape == (shown.steps // EMBODIMENT.chunk_length + 1, 128, 128, 3)
        reached = simulator.observe().state["joint_positions"]
        assert np.array_equal(reached, shown.state["joint_positions"][-1]), "what is filmed is what happened"
    finally:
        simulator.close()


def command(policy: str, out: Path, *more: str) -> list[str]:
    named = ["--policy", policy, "--suite", "libero_object", "--tasks", "0", "--episodes", "3", "--out", str(out)]
    return [sys.executable, "-m", "world2act_core.cli", "eval", *named, *more]


@pytest.mark.slow
@pytest.mark.timeout(2 * LIMIT_S)
def test_the_command_is_killed_goes_on_films_failures_and_compares(tmp_path: Path) -> None:
    given, log = untrained(tmp_path), tmp_path / "a" / "trials.jsonl"
    killed = subprocess.Popen(command(given, tmp_path / "a"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + LIMIT_S
    while not log.exists() or log.read_bytes().count(b"\n") < 2:
        assert killed.poll() is None and time.monotonic() < deadline, killed.communicate()
        time.sleep(0.05)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    before = log.read_bytes()
    subprocess.run(command(given, tmp_path / "a"), check=True, capture_output=True, timeout=LIMIT_S)
    assert log.read_bytes().startswith(before)
    first = read_suite(tmp_path / "a" / "evaluation.json")
    assert [trial.success for trial in first.trials] == [False] * 3
    assert sorted(file.name for file in (tmp_path / "a" / "videos").iterdir()) == [
        f"libero_object-0-i{index}.mp4" for index in range(3)
    ]
    against = command("demonstrator", tmp_path / "b", "--against", str(tmp_path / "a"))
    done = subprocess.run(against, check=True, capture_output=True, text=True, timeout=LIMIT_S)
    assert "all" in done.stdout and "3/3" in done.stdout
    assert "3 starts gained, 0 lost, 0 alike; exact paired test p = 0.250" in done.stdout
    assert list((tmp_path / "b" / "videos").iterdir()) == []
