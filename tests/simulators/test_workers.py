"""The worker pool: nothing is lost when a process is killed, and no process is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.processes import all_gone
from tests.simulators import jobs
from world2act_core.errors import World2ActError
from world2act_core.simulators.libero import LiberoSimulator
from world2act_core.simulators.starts import Start
from world2act_core.simulators.workers import WorkerPool


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(2) as pool:
        yield pool


def test_every_job_comes_back_with_its_result(pool: WorkerPool) -> None:
    finished = list(pool.run(jobs.square, range(9)))
    assert sorted((one.job, one.result[0]) for one in finished) == [(n, n * n) for n in range(9)]
    assert all(one.attempts == 1 for one in finished)


def test_workers_are_other_processes_and_stay_for_the_next_run(pool: WorkerPool) -> None:
    first, second = ({one.result[1] for one in pool.run(jobs.square, range(6))} for _ in range(2))
    assert first == second and os.getpid() not in first


def test_jobs_are_taken_only_as_workers_get_free(pool: WorkerPool) -> None:
    """Otherwise thousands of results or jobs would pile up in memory."""
    taken = []

    def source() -> Iterator[int]:
        for job in range(20):
            taken.append(job)
            yield job

    for done, _ in enumerate(pool.run(jobs.square, source()), start=1):
        assert len(taken) <= done + 2


def test_a_killed_worker_is_replaced_and_its_job_done_again(
    pool: WorkerPool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    finished = list(pool.run(jobs.kill_itself_once, [tmp_path / name for name in "abc"]))
    assert {(one.job.name, one.result, one.attempts) for one in finished} == {(name, "done", 2) for name in "abc"}
    assert caplog.text.count("died with exit code -9") == 3


def test_a_job_that_kills_its_worker_twice_is_named_after_all_others_are_done(pool: WorkerPool) -> None:
    done = []
    with pytest.raises(World2ActError, match=r"1 job\(s\) lost their worker or simulator 2 times, the first 3"):
        for one in pool.run(jobs.kill_itself_on_three, range(8)):
            done.append(one.job)
    assert sorted(done) == [0, 1, 2, 4, 5, 6, 7]


def test_a_worker_killed_between_runs_is_replaced(pool: WorkerPool) -> None:
    (victim, *_) = {one.result[1] for one in pool.run(jobs.square, range(4))}
    os.kill(victim, signal.SIGKILL)
    finished = list(pool.run(jobs.square, range(4)))
    assert sorted(one.job for one in finished) == [0, 1, 2, 3]
    assert victim not in {one.result[1] for one in finished}


def test_errors_come_back_as_they_were_raised(pool: WorkerPool) -> None:
    with pytest.raises(World2ActError, match="no such thing: x") as caught:
        list(pool.run(jobs.complain, ["x"]))
    assert "in complain" in str(caught.value.__cause__)


def test_an_error_that_cannot_travel_still_says_what_it_was(pool: WorkerPool) -> None:
    with pytest.raises(RuntimeError, match="Strange: x"):
        list(pool.run(jobs.complain_unpicklably, ["x"]))


def test_a_caller_that_stops_early_gets_no_old_results_later(pool: WorkerPool) -> None:
    run = pool.run(jobs.square, range(100, 110))
    next(run)
    run.close()  # type: ignore[attr-defined]
    assert sorted(one.job for one in pool.run(jobs.square, range(5))) == [0, 1, 2, 3, 4]


def test_workers_use_one_thread(pool: WorkerPool) -> None:
    assert [one.result for one in pool.run(jobs.torch_threads, [0])] == [1]


def test_the_context_keeps_what_was_made_once(pool: WorkerPool) -> None:
    assert {one.result for one in pool.run(jobs.count_makings, range(6))} == {1}


@pytest.mark.libero
def test_a_worker_keeps_its_simulator_and_agrees_with_this_process_to_the_bit(simulator: LiberoSimulator) -> None:
    start, actions = Start("libero_goal", 8, 9, 3.0, 2), np.random.default_rng(0).uniform(-1, 1, (12, 7))
    with WorkerPool(1) as pool:
        finished = list(pool.run(jobs.simulate, [(start, actions), (start, -actions), (start, actions)]))
    assert len({one.result[1] for one in finished}) == 1
    simulator.reset(start)
    for action in actions:
        simulator.step(action)
    assert np.array_equal(finished[0].result[0], finished[2].result[0])
    assert np.array_equal(finished[0].result[0][-1], simulator.state())


@pytest.fixture
def sleeping(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A program in a process group of its own, and its two sleeping workers."""
    # What a shell runs in the background ignores SIGINT, and so does what it starts.
    hears = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    program = subprocess.Popen(
        [sys.executable, "-c", f"{hears}; from tests.simulators.jobs import parent; parent({str(tmp_path)!r})"],
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield program, await_workers(tmp_path)
    finally:
        program.kill()
        program.communicate()


def await_workers(folder: Path) -> list[int]:
    deadline = time.monotonic() + 60
    while len(names := [entry.name for entry in folder.iterdir()]) < 2:
        assert time.monotonic() < deadline, "the workers did not start"
        time.sleep(0.05)
    return [int(name) for name in names]


def test_workers_do_not_outlive_a_killed_parent(sleeping: tuple[subprocess.Popen[str], list[int]]) -> None:
    program, workers = sleeping
    program.kill()
    assert all_gone(workers, within_s=5)


def test_ctrl_c_ends_everything_with_one_traceback(sleeping: tuple[subprocess.Popen[str], list[int]]) -> None:
    program, workers = sleeping
    os.killpg(program.pid, signal.SIGINT)
    _, said = program.communicate(timeout=15)
    assert all_gone(workers, within_s=1)
    assert said.count("Traceback") == 1 and said.rstrip().endswith("KeyboardInterrupt")
