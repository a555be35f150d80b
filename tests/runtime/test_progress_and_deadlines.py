"""An episode ends at a chunk boundary; deadlines are absolute."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

from world2act_core.runtime.deadline import Deadlines, DeadlineThread, Watchdog
from world2act_core.runtime.progress import EpisodeProgress
from world2act_core.types import Skill


def test_success_is_latched_and_the_running_chunk_finished() -> None:
    progress = EpisodeProgress(4, 100)
    assert [progress.advance(solved) for solved in (False, True, False, False)] == ["", "", "", "success"]


def test_the_horizon_ends_it_when_no_whole_chunk_is_left() -> None:
    progress = EpisodeProgress(4, 10)
    assert [progress.advance(False) for _ in range(8)][-1] == "time limit"


def test_an_episode_that_ends_before_its_first_prompt_has_no_skills() -> None:
    """A node that was interrupted there ended with a traceback."""
    assert EpisodeProgress(4, 100).skills() == ()


def test_skills_last_until_the_next_prompt() -> None:
    progress = EpisodeProgress(4, 100)
    progress.prompt("reach")
    for _ in range(4):
        progress.advance(False)
    progress.prompt("reach")
    progress.prompt("grasp")
    progress.advance(False)
    assert progress.skills() == (Skill("reach", 0, 4), Skill("grasp", 4, 5))


def test_deadlines_do_not_drift_and_count_what_was_missed() -> None:
    deadlines = Deadlines(0.1, 0.0)
    assert not deadlines.reached(0.09)
    assert deadlines.reached(0.13) and abs(deadlines.remaining(0.13) - 0.07) < 1e-9
    assert deadlines.reached(0.45) and deadlines.missed == 2
    assert abs(deadlines.remaining(0.45) - 0.05) < 1e-9


def test_a_failing_tick_ends_the_loop_and_is_kept() -> None:
    failed = threading.Event()

    def tick() -> None:
        failed.set()
        raise ValueError("broken")

    loop = DeadlineThread(0.01, tick)
    loop.start()
    assert failed.wait(5)
    loop.stop()
    assert isinstance(loop.error, ValueError)


def test_the_loop_keeps_its_pace() -> None:
    ticks: list[float] = []
    loop = DeadlineThread(0.02, lambda: ticks.append(time.monotonic()))
    began = time.monotonic()
    loop.start()
    while len(ticks) < 25:
        assert time.monotonic() < began + 10
        time.sleep(0.01)
    loop.stop()
    ahead = min(tick - began - 0.02 * (index + 1) for index, tick in enumerate(ticks))
    assert ahead > -0.005, "a tick came before its deadline"
    assert len(ticks) + loop.missed >= int((ticks[-1] - began) / 0.02) - 1


def test_real_time_priority_is_given_to_every_thread_or_refused_in_one_sentence() -> None:
    """In a process of its own: this one keeps its priority."""
    script = (
        "import os, threading\n"
        "from world2act_core.runtime.priority import run_in_real_time\n"
        "done = threading.Event()\n"
        "threading.Thread(target=done.wait).start()\n"
        "refusal = run_in_real_time(10)\n"
        "kinds = {os.sched_getscheduler(int(t)) for t in os.listdir('/proc/self/task')}\n"
        "print(refusal or kinds == {os.SCHED_FIFO})\n"
        "done.set()\n"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    assert said == "True" or said.startswith("SCHED_FIFO is not permitted")


def test_a_loop_that_blocks_is_noticed_and_one_that_goes_on_or_ends_is_not() -> None:
    for blocks in (False, True):
        release, barked = threading.Event(), threading.Event()

        def tick(release: threading.Event = release, seconds: float = 60 if blocks else 0) -> None:
            release.wait(seconds)

        loop = DeadlineThread(0.01, tick)
        loop.start()
        Watchdog(loop, 0.5, barked.set).start()
        assert barked.wait(30 if blocks else 1.0) == blocks
        release.set()
        loop.stop()
