"""A simulator killed in the middle of an evaluation: every trial is there, and the one that it cost is marked."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import pytest

from tests.processes import children, servers_of, until
from world2act_core.evaluation.suite import read_suite, suite_table, write_suite
from world2act_core.recipes.suite import DEMONSTRATOR, Plan, evaluate_suite
from world2act_core.simulators.workers import WorkerPool

pytestmark = [pytest.mark.libero, pytest.mark.slow]
pytest.importorskip("libero", reason="LIBERO is not installed: make setup")
EPISODES = 6


@pytest.mark.timeout(600)
def test_every_trial_is_there_and_the_one_that_was_lost_is_marked(tmp_path: Path) -> None:
    log = tmp_path / "trials.jsonl"
    killed = []

    def kill_one() -> None:
        until(lambda: log.exists() and log.read_bytes().count(b"\n") >= 2, within_s=400)  # the header and a trial
        killed.append(next(server for worker in children(os.getpid()) for server in servers_of(worker)))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    plan = Plan(DEMONSTRATOR, "libero_goal", tasks=(8,), episodes=EPISODES, videos=False)
    with WorkerPool(2, remote=True) as pool:
        results = evaluate_suite(plan, tmp_path, pool)
    killer.join()
    assert len(killed) == 1
    assert [trial.start_id for trial in results.trials] == [f"libero_goal/8/i{i}" for i in range(EPISODES)]
    assert sorted(trial.attempts for trial in results.trials) == [1] * (EPISODES - 1) + [2]
    assert all(trial.success for trial in results.trials)
    logged = [json.loads(line) for line in log.read_text().splitlines()[1:]]
    assert len(logged) == EPISODES and sum(line.get("attempts", 1) == 2 for line in logged) == 1
    write_suite(tmp_path / "evaluation.json", results)
    assert read_suite(tmp_path / "evaluation.json") == results
    assert "1 trial was begun twice because its simulator or worker died" in suite_table(results)
