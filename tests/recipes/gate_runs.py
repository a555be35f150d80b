"""Run folders and trials for the tests of the gate. ``python gate_runs.py FOLDER TRIALS`` gates the run in FOLDER and
ends by SIGKILL, which no code can answer, when so many trials are done."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[2]))
from world2act_core.policies.run_folder import policy_files
from world2act_core.recipes import gate
from world2act_core.recipes.evaluation import POST
from world2act_core.recipes.gate_questions import Question
from world2act_core.recipes.recording import Attempt, Outcome
from world2act_core.runs import Run, Stage
from world2act_core.simulators.workers import Finished, WorkerPool

SCENE: dict[str, Any] = {
    "suite": "libero_goal",
    "task": 8,
    "embodiment": "libero_panda",
    "cameras": ["agentview"],
    "jitter_cm": 3.0,
}
TRAINED = range(35)
"""Official states of the toy run's training; 35 to 49 are held out."""
OFFICIAL = mock.patch.object(gate, "load_task", lambda suite, task: SimpleNamespace(initial_states=range(50)))
"""How many official states there are, without LIBERO."""


def make_run(
    folder: Path,
    base: Callable[[Path], object] = lambda path: path.write_bytes(b"base"),
    residual: Callable[[Path], object] = lambda path: path.write_bytes(b"residual"),
    starts: Iterable[str] = (),
    trained: Iterable[int] = TRAINED,
    scene: dict[str, Any] = SCENE,
) -> Path:
    """Sealed stages of a run as the demo leaves them; ``base`` and ``residual`` write the policies, ``trained`` are the
    official states and ``starts`` further starts of its demonstrations, ``scene`` is what Stage 2 says of itself."""
    run = Run(folder, announce=lambda line: None)
    files = policy_files(folder)

    def record(stage: Stage) -> None:
        stage.starts = [f"libero_goal/8/i{index}+3cm#{1000 + index}" for index in trained] + list(starts)

    def train(stage: Stage) -> None:
        base(files["base"])

    def post_train(stage: Stage) -> None:
        residual(files["residual"])

    demonstrations = run.stage("demonstrations", record)
    cloned = run.stage("base", train, inputs=[demonstrations])
    run.stage("stage2", post_train, config=scene, inputs=[demonstrations, cloned])
    return folder


class ToyPool(WorkerPool):
    """Does trials in this process, as ``succeeds`` says, those of each two starts the other way round; counts them."""

    def __init__(self, succeeds: Callable[[Attempt], bool], kill_after: int | None = None) -> None:
        super().__init__(1)
        self.succeeds, self.kill_after = succeeds, kill_after
        self.done: list[Attempt] = []

    def run(
        self, function: Callable[..., Any], jobs: Iterable[Any], *, description: str | None = None
    ) -> Iterator[Finished[Any, Any]]:
        waiting: Sequence[Attempt] = list(jobs)
        for first in range(0, len(waiting), 4):
            for job in reversed(waiting[first : first + 4]):
                if len(self.done) == self.kill_after:
                    os.kill(os.getpid(), signal.SIGKILL)
                self.done.append(job)
                yield Finished(job, Outcome(job.start.id, job.source, self.succeeds(job), 60, 0.5), 1)


def only_post(job: Attempt) -> bool:
    """The post-trained policy solves two starts of three that the base does not."""
    return job.source == POST and job.start.seed % 3 != 0


if __name__ == "__main__":
    with OFFICIAL:
        gate.run_gate(Path(sys.argv[1]), Question(), ToyPool(only_post, int(sys.argv[2])))
