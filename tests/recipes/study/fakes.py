"""Methods and a simulator for the tests of the study's machinery: the files, locks and processes are the real ones.

``python fakes.py PLAN --out FOLDER ...`` is ``world2act study`` with these methods instead of the real ones, and with
attempts in real workers that decide by the start and the policy instead of simulating. Whoever does something writes a
line into ``diary.txt`` of the study's folder, so that a test sees what was done twice.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from unittest import mock

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[3]))

from world2act_core.cli import main
from world2act_core.evaluation import Trial
from world2act_core.recipes.recording import Attempt, Outcome
from world2act_core.recipes.study import run as study
from world2act_core.recipes.study.cells import Context, Made, Method, OnceATask
from world2act_core.simulators.workers import WorkerContext, WorkerPool

PLAN = """\
name: toy
tasks: [libero_goal/8, libero_object/0]
seeds: [0, 1]
held_out: {count: 6}
shifted: {count: 3}
methods: [base, good]
shifted_methods: [base]
analysis:
  comparisons: [{method: good, against: base, alpha: 0.5}]
recipe: {workers: 1, torch_threads: 1}
"""
RATES = {"base": 0.2, "good": 0.8}
SECONDS = 0.02
"""What an attempt takes."""


def note(folder: Path, line: str) -> None:
    """Add a line to the diary, whole even if several processes write."""
    with (folder / "diary.txt").open("a") as diary:
        os.write(diary.fileno(), f"{line}\n".encode())


def diary(folder: Path) -> list[str]:
    path = folder / "diary.txt"
    return path.read_text().splitlines() if path.exists() else []


def train(context: Context) -> Made:
    """A policy that is a file with its success rate, and a cosine that says the same."""
    name, seed = context.stage.name, context.cell.seed
    note(context.task_folder.parents[1], f"train {context.cell.name} {name}")
    policy = context.stage.path("policy.txt")
    policy.write_text(f"{RATES[name]} {seed}")
    return Made(f"toy:{policy}", minutes=1.5, figures={"cosine": RATES[name], "loss": float("nan")})


METHODS: dict[str, Method] = {"base": OnceATask(train), "good": train}


def outcome(job: Attempt) -> Outcome:
    """Decided by the start and the policy's file, always the same way."""
    rate, seed = Path(job.policy.removeprefix("toy:")).read_text().split()
    drawn = int(hashlib.sha256(f"{job.start.id} {rate} {seed}".encode()).hexdigest()[:8], 16) / 16**8
    return Outcome(job.start.id, job.source, drawn < float(rate), 40, 2.5)


def attempt(job: Attempt, context: WorkerContext) -> Outcome:
    time.sleep(SECONDS)
    folder = Path(job.policy.removeprefix("toy:")).parents[4]
    note(folder, f"try {job.policy.removeprefix(f'toy:{folder}/')} {job.start.id}")
    return outcome(job)


def as_trial(result: Outcome) -> Trial:
    return Trial(result.start_id, result.source, result.success, result.steps, result.seconds)


def trials_in_workers(pool: WorkerPool, attempts: Iterable[Attempt], label: str) -> Iterator[Trial]:
    for finished in pool.run(attempt, list(attempts)):
        yield as_trial(finished.result)


if __name__ == "__main__":
    # A shell's background job, as which tests may run, ignores Ctrl-C and hands that down.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Spawned processes unpickle what is named after a module, so the names must be those of an importable one.
    from tests.recipes.study import fakes

    given = partial(study.run_study, methods=fakes.METHODS, run_trials=fakes.trials_in_workers)
    with mock.patch.object(study, "run_study", given):
        sys.exit(main(["study", *sys.argv[1:]]))
