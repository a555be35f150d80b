"""``pytest sim_tests`` as a team calls it: a process of its own, and LIBERO behind it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.learning.scenes import EMBODIMENT
from tests.recipes.regressions import ToyPool, make_baseline
from world2act_core.evaluation.suite import read_suite
from world2act_core.policies.compact import CompactConfig, new_network, save_compact

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 900
SUITE, TASK = "libero_spatial", 0  # the shortest horizon

pytestmark = [pytest.mark.libero, pytest.mark.timeout(3 * LIMIT_S)]
pytest.importorskip("libero", reason="LIBERO is not installed: make setup")


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "sim_tests", "-p", "no:cacheprovider", *options]


def done(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*options), cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)


def on_task(policy: str, out: Path, *more: str) -> list[str]:
    return ["--policy", policy, "--suite", SUITE, "--tasks", str(TASK), "--out", str(out), *more]


def test_without_a_policy_it_says_in_one_sentence_what_to_give() -> None:
    refused = done()
    assert refused.returncode == pytest.ExitCode.USAGE_ERROR
    assert refused.stderr.strip() == (
        "ERROR: sim_tests need a policy and a suite: pytest sim_tests --policy ADDRESS --suite libero_goal "
        "[--tasks 8] [--against evaluation.json]"
    )


def test_a_baseline_that_could_show_nothing_is_refused_before_a_simulator_starts(tmp_path: Path) -> None:
    baseline = make_baseline(tmp_path / "base", ToyPool(), episodes=2, suite=SUITE, task=TASK)
    refused = done(*on_task("demonstrator", tmp_path / "out", "--against", str(baseline)))
    assert refused.returncode == pytest.ExitCode.USAGE_ERROR
    assert "2 starts of libero_spatial/0 can show nothing at alpha 0.05" in refused.stderr
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy that solves nothing, in the way in which it does so every time."""
    config = CompactConfig(width=4, features=8)
    file = tmp_path_factory.mktemp("policy") / "policy.pt"
    write_policy(file, config, seed=0)
    return file


def write_policy(file: Path, config: CompactConfig, seed: int) -> None:
    torch.manual_seed(seed)
    save_compact(file, new_network(config, EMBODIMENT), config, EMBODIMENT)


def workers_of(process: subprocess.Popen[str]) -> Iterator[int]:
    """Process ids of its simulator workers: spawned children that are not multiprocessing's own helper."""
    for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        with contextlib.suppress(OSError):
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                yield int(pid)


@pytest.mark.slow
def test_a_worse_policy_fails_though_a_worker_is_killed_and_its_failures_repeat(
    tmp_path: Path, untrained: Path
) -> None:
    baseline = make_baseline(tmp_path / "base", ToyPool(), episodes=4, suite=SUITE, task=TASK)
    out, policy = tmp_path / "out", f"compact:{untrained}"
    options = on_task(policy, out, "--against", str(baseline), "--alpha", "0.2", "--max-jerk", "1e6")
    log = out / SUITE / str(TASK) / "trials.jsonl"
    running = subprocess.Popen(command(*options), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + LIMIT_S
    while not log.exists() or log.read_bytes().count(b"\n") < 2:  # its head, and one trial
        assert running.poll() is None and time.monotonic() < deadline, running.communicate()
        time.sleep(0.05)
    victim = next(workers_of(running))
    os.kill(victim, signal.SIGKILL)
    said, _ = running.communicate(timeout=LIMIT_S)
    assert running.returncode == pytest.ExitCode.TESTS_FAILED, said
    assert "FAILED sim_tests/test_before_the_arm_moves.py::test_success[libero_spatial/0]" in said
    assert "libero_spatial/0: the policy is worse than the baseline: 4 of 4 starts lost" in said
    results = read_suite(log.with_name("evaluation.json"))
    assert [trial.start_id for trial in results.trials] == [f"{SUITE}/{TASK}/i{index}" for index in range(4)]
    assert results.safety is not None and results.safety.steps == 4 * 220
    assert results.latency["chunks"] == 4 * 54 and results.latency["deadline_ms"] == 200
    assert (out / "report.html").is_file() and not json.loads((out / "verdict.json").read_text())["passed"]

    before = log.read_bytes()
    again = done(*options)
    assert again.returncode == pytest.ExitCode.TESTS_FAILED
    assert log.read_bytes() == before, "what has been tried is not tried again"

    kept = log.parent / "failures" / "libero_spatial-0-i1"
    assert sorted(path.name for path in kept.iterdir()) == ["bag", "trial.json", "video.mp4"]
    assert f"world2act replay-trial {kept.with_name('libero_spatial-0-i0')}" in said
    repeated = replay(kept)
    assert repeated.returncode == 0, repeated.stderr
    assert "not solved in 220 steps, now as then" in repeated.stdout
    assert "states: equal to the bit at all 221 steps; all objects too, at the end" in repeated.stdout
    write_policy(untrained, CompactConfig(width=4, features=8), seed=1)
    other = replay(kept)
    assert "states: differ from step" in other.stdout and "have changed since" in other.stdout
    untrained.unlink()
    from_bag = replay(kept, "--from-bag")
    assert from_bag.returncode == 0 and "equal to the bit at all 221 steps" in from_bag.stdout


def replay(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    asked = [sys.executable, "-m", "world2act_core.cli", "replay-trial", str(folder), *more]
    return subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)


@pytest.mark.slow
@pytest.mark.ros
def test_over_the_ros_graph_it_does_what_it_did_in_process(tmp_path: Path) -> None:
    pytest.importorskip("rclpy", reason="ROS 2 is not installed: make setup")
    pytest.importorskip("world2act_interfaces", reason="ros_ws is not built or not sourced: make setup, scripts/run")
    write_policy(tmp_path / "policy.pt", CompactConfig(width=4, features=8), seed=0)
    policy = f"compact:{tmp_path / 'policy.pt'}"
    passed = done(*on_task(policy, tmp_path / "out", "--episodes", "2", "--ros", "--ros-episodes", "1"))
    assert passed.returncode == 0, passed.stdout
    assert "graph: 1 starts over ROS 2 as in process: outcomes, steps and states to the bit" in passed.stdout
    assert list((tmp_path / "out" / SUITE / str(TASK) / "graph" / "bag").glob("*.mcap"))
