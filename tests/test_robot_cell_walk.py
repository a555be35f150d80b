"""docs/robot-cell.md, followed in emulation: every command of its last section, as it stands there, in its order."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed: make setup")
pytest.importorskip("world2act_interfaces", reason="ros_ws is not built or not sourced: make setup, scripts/run pytest")
pytest.importorskip("robosuite", reason="the emulator is not installed: pip install 'world2act[libero]'")

ROOT = Path(__file__).resolve().parents[1]
SECTION = "## All of it on the emulator"
DOMAIN = 20 + 60 + os.getpid() % 20  # apart from those of tests/ros
LONGEST_S = 600


def commands() -> list[str]:
    """The lines of the section's bash blocks."""
    section = (ROOT / "docs" / "robot-cell.md").read_text().split(SECTION)[1]
    blocks = re.findall(r"^```bash\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines() if line]


class Walk:
    """A checkout in which the commands are given: the folders that they name lie in it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, dict[str, str]()
        for name in ("world2act_core", "calibration/boards", "recipes", "benchmarks"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).symlink_to(ROOT / name)

    def give(self, line: str) -> None:
        """Run one line as it stands, but for `scripts/run`, whose environment this process has already."""
        words = shlex.split(line)
        python = {"world2act": [sys.executable, "-m", "world2act_core.cli"], "python": [sys.executable]}
        if words[0] == "scripts/run":
            line = shlex.join([*python[words[1]], *words[2:]])
        given = subprocess.run(
            line, shell=True, cwd=self.folder, env=self._environment(), timeout=LONGEST_S,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        print(f"$ {line}\n{given.stdout}")
        assert given.returncode == 0, f"exit code {given.returncode} of {line}\n{given.stdout[-3000:]}"
        assert "Traceback" not in given.stdout, given.stdout
        self.said[line] = given.stdout

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "ROS_DOMAIN_ID": str(DOMAIN), "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}

    def of(self, *words: str) -> str:
        """What the one command said in which all the words stand."""
        (found,) = [said for line, said in self.said.items() if all(word in line for word in words)]
        return found


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    yield Walk(tmp_path_factory.mktemp("walk"))


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_page_can_be_followed_in_emulation(walk: Walk) -> None:
    given = commands()
    assert sum("world2act" in line for line in given) >= 15, "the page's section was not found"
    for line in given:
        walk.give(line)
    errors = walk.of("rendered_cell", "--errors")
    assert len(re.findall(r"off by [\d.]+ .* \(bar", errors)) == 4, "the exit code has judged them"
    assert " 10 episodes" in walk.of("bag", "info", "demos")
    measured = walk.of("calibrate", "gripper")
    w_0 = re.search(r"w_0 +([\d.]+) mm", measured)
    assert w_0 and abs(float(w_0.group(1)) - 85.0) < 1.0, measured
    skills = walk.of("skills", "build")
    assert "calibration/small_ur5e/gripper.yaml" in skills, "the measured widths were used"
    kept = re.search(r"^all +(\d+) of (\d+)", skills, re.MULTILINE)
    assert kept and kept.group(1) == kept.group(2) != "0", skills
    assert (walk.folder / "runs" / "skills" / "dataset").is_dir()
    post_trained = walk.of("post-train", "--logged")
    assert "policy: run:runs/small " in post_trained and "actions read from held-out video" in post_trained
    compared = json.loads((walk.folder / "runs" / "small" / "replay.json").read_text())
    assert compared, "the new policy's chunks beside those of the base"
    launched = walk.of("--run runs/small ", "--episodes 1")
    outcome = json.loads(re.search(r"\[run_task\] (\{.*\})", launched).group(1))  # type: ignore[union-attr]
    assert outcome["outcome"] == "time limit" and outcome["steps"] > 0, outcome
    assert "photon → first command" in walk.of("latency")
