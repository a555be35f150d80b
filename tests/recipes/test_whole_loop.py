"""The whole loop, small but real: killed twice with SIGKILL, started again each time, and done."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from world2act_core.runs.stage import read_stage

ROOT = Path(__file__).resolve().parents[2]
LEARNING = ("demonstrations", "videos", "base", "free_pairs", "world_model", "stage1", "states", "stage2")
STAGES = (*LEARNING, "evaluation", "deployment")
LIMIT_S = 600

pytestmark = [pytest.mark.slow, pytest.mark.libero, pytest.mark.ros, pytest.mark.timeout(2 * LIMIT_S)]


def start(run: Path, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "world2act_core.cli", "demo", "--run", str(run), "--recipe", "recipes/quick.yaml"]
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def run_until(run: Path, log: Path, reached: Callable[[], bool]) -> str:
    """Start the demo and kill it as soon as something is reached; returns what it had printed."""
    process = start(run, log)
    deadline = time.monotonic() + LIMIT_S
    while not reached():
        assert process.poll() is None, f"ended before it could be killed:\n{log.read_text()[-3000:]}"
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    return log.read_text()


def run_to_the_end(run: Path, log: Path) -> str:
    process = start(run, log)
    try:
        assert process.wait(LIMIT_S) == 0, log.read_text()[-3000:]
    finally:
        process.kill()
    return log.read_text()


def whole_bags(stage: Path) -> dict[str, int]:
    """Name → time of writing, of the bags recorded so far."""
    files = [path for path in (stage / "bags").glob("*/*.mcap") if not path.parent.name.startswith(".")]
    return {path.parent.name: path.stat().st_mtime_ns for path in files}


@dataclass
class Loop:
    """A run folder, what its three starts printed, and the bags that were whole at the first kill."""

    run: Path
    said: list[str]
    bags: dict[str, int]


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    pytest.importorskip("libero", reason="LIBERO is not installed: make setup")
    pytest.importorskip("rclpy", reason="ROS 2 is not installed: make setup")
    pytest.importorskip("world2act_interfaces", reason="ros_ws is not built or not sourced: make setup, scripts/run")
    folder = tmp_path_factory.mktemp("loop")
    run = folder / "run"
    logs = [folder / f"{number}.log" for number in range(3)]
    first = run_until(run, logs[0], lambda: len(whole_bags(run / "videos")) >= 2)  # in the middle of recording
    bags = whole_bags(run / "videos")
    half_trained = run / "stage2" / "scratch" / "round2" / "bags"  # in the middle of post-training
    second = run_until(run, logs[1], half_trained.is_dir)
    return Loop(run, [first, second, run_to_the_end(run, logs[2])], bags)


def sealed_in(said: str) -> set[str]:
    return set(re.findall(r"^(\w+): \d+ s$", said, re.MULTILINE))


def skipped_in(said: str) -> set[str]:
    return set(re.findall(r"^(\w+): done before", said, re.MULTILINE))


def test_what_was_sealed_before_a_kill_is_not_done_again(loop: Loop) -> None:
    first, second, third = loop.said
    assert sealed_in(first) == skipped_in(second) == {"demonstrations"}
    assert sealed_in(first) | sealed_in(second) == skipped_in(third) == set(LEARNING[:-1])
    assert sealed_in(third) == {"stage2", "evaluation", "deployment"}


def test_what_was_under_way_is_resumed(loop: Loop) -> None:
    _, second, third = loop.said
    assert re.search(r"^videos: resuming$", second, re.MULTILINE)
    assert re.search(r"^stage2: resuming$", third, re.MULTILINE)
    after = whole_bags(loop.run / "videos")
    assert len(after) == 6
    assert {name: after[name] for name in loop.bags} == loop.bags, "a whole bag was recorded again"


def test_every_stage_is_sealed_and_its_files_are_those_that_it_sealed(loop: Loop) -> None:
    stages = {name: read_stage(loop.run / name) for name in STAGES}
    for stage in stages.values():
        assert {name: stages[name].digest for name in stage.inputs} == stage.inputs
        assert not list(stage.folder.rglob("*.tmp")) and not (stage.folder / "scratch").exists()


def test_no_start_of_the_evaluation_was_used_in_learning(loop: Loop) -> None:
    used = {start for name in LEARNING for start in read_stage(loop.run / name).starts}
    held_out = read_stage(loop.run / "evaluation").starts
    assert len(held_out) == 2 and used
    assert not used & set(held_out)


def test_it_ends_with_the_table_and_the_path_of_a_report_that_needs_nothing_else(loop: Loop) -> None:
    last = loop.said[-1]
    assert re.search(r"^base +\d/2 ", last, re.MULTILINE)
    assert re.search(r"^post-trained +\d/2 ", last, re.MULTILINE)
    assert re.search(r"^Verdict: ", last, re.MULTILINE)
    assert re.search(r"^ROS 2 graph: \d of 1 episodes solved", last, re.MULTILINE)
    report = loop.run / "report.html"
    assert last.rstrip().endswith(f"report: {report}")
    html = report.read_text()
    assert "<video" in html and "imagined" in html
    assert not re.search(r"https?://|url\(|@import", re.sub(r"base64,[A-Za-z0-9+/=]+", "", html))
    assert (loop.run / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_the_graph_recorded_its_own_bag(loop: Loop) -> None:
    assert list((loop.run / "deployment" / "bag").rglob("*.mcap"))
