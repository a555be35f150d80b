"""``world2act study`` as a command, in real processes: killed, started again, and done; spread over processes."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.recipes.study import fakes
from tests.recipes.study.fakes import PLAN, diary
from world2act_core.recipes.study.plan import read_plan
from world2act_core.recipes.study.records import read_records

LIMIT_S = 300
CELLS = 4
TRIALS = 2 * (6 + 3) + CELLS * 6

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3 * LIMIT_S)]


def start(plan: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, fakes.__file__, str(plan), "--out", str(out), *options]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def to_the_end(process: subprocess.Popen[str]) -> str:
    try:
        said, _ = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
    assert process.returncode == 0, said
    return said


def tries(out: Path) -> Counter[str]:
    return Counter(line for line in diary(out) if line.startswith("try "))


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    return path


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_study_goes_on_and_repeats_no_more_than_was_under_way(plan, tmp_path, how):
    out, processes = tmp_path / "study", 2
    for reached in (5, 14):
        process = start(plan, out, "--processes", str(processes))
        deadline = time.monotonic() + LIMIT_S
        while sum(tries(out).values()) < reached:
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
            time.sleep(0.02)
        process.send_signal(how)
        said, _ = process.communicate(timeout=LIMIT_S)
        assert process.returncode == (-how if how == signal.SIGKILL else 130), said
        time.sleep(1.0)  # a killed command's workers notice that their parent is gone
        before = sum(tries(out).values())
        time.sleep(0.5)
        assert sum(tries(out).values()) == before, "something went on trying after the command had ended"
    said = to_the_end(start(plan, out, "--processes", str(processes)))
    counted = tries(out)
    assert len(counted) == TRIALS
    assert sum(counted.values()) - TRIALS <= 2 * processes, "more was tried again than was under way at two kills"
    assert re.search(r"^good +\d+/12 ", said, re.MULTILINE)
    assert len(read_records(out, read_plan(plan))) == CELLS
    trained = Counter(line for line in diary(out) if line.startswith("train "))
    assert len(trained) == 2 + CELLS and sum(trained.values()) - len(trained) <= 2 * processes


def test_the_command_runs_what_is_asked_for_reports_and_collects(plan, tmp_path):
    out, kept = tmp_path / "study", tmp_path / "kept"
    said = to_the_end(start(plan, out, "--only", "libero_goal/8/0", "--methods", "base"))
    assert "1 cells of 1 methods" in said and "NOT committed" in said
    assert "[libero_goal_8_s0] base: held_out" in said
    assert {line.split()[1] for line in diary(out) if line.startswith("train")} == {"libero_goal_8_s0"}
    assert "libero_goal_8_s0: good" in said and "libero_object_0_s1: not begun" in said
    tried = tries(out)
    again = to_the_end(start(plan, out, "--report-only"))
    assert "The study is not finished" in again and tries(out) == tried
    to_the_end(start(plan, out, "--collect", str(kept)))
    (record,) = (kept / "cells").iterdir()
    assert record.read_bytes() == (out / "cells" / record.name).read_bytes()
    assert (kept / "table.md").read_text() == (out / "table.md").read_text()
    assert "The study is not finished" in to_the_end(start(plan, kept, "--report-only"))


def test_cells_are_spread_over_ray(plan, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'world2act[study]'")
    out = tmp_path / "study"
    said = to_the_end(start(plan, out, "--ray", "local"))
    assert f"{CELLS} of {CELLS} cells" in said
    counted = tries(out)
    assert len(counted) == sum(counted.values()) == TRIALS
