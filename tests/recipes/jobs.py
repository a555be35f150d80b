"""Jobs for the tests of recording; top-level, so that a spawned worker can import them."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np

from tests.learning.scenes import EMBODIMENT, SIZE, square_episode
from world2act_core.episodes import BagWriter
from world2act_core.episodes.writer import write_whole_bag
from world2act_core.recipes.recording import Attempt, Outcome
from world2act_core.simulators.workers import WorkerContext


def write_square(job: Attempt, context: WorkerContext | None = None) -> Outcome:
    """What ``recording.attempt`` does, without a simulator: the toy episode of the start's index."""
    toy = square_episode(job.start.index)
    camera = EMBODIMENT.cameras["agentview"]
    enlarged = toy.images["agentview"].repeat(camera.height // SIZE, 1).repeat(camera.width // SIZE, 2)
    episode = replace(
        toy, episode_id=Path(job.bag).name, start_id=job.start.id, images={"agentview": np.ascontiguousarray(enlarged)}
    )
    write_whole_bag(episode, Path(job.bag), EMBODIMENT)
    return Outcome(job.start.id, job.source, True, episode.steps, 0.0)


def die_while_writing_once(job: Attempt, context: WorkerContext) -> Outcome:
    """Ends by SIGKILL with the bag half written; the second worker that gets the job writes it."""
    marker = Path(job.bag).parents[1] / "died"
    if marker.exists():
        return write_square(job)
    marker.touch()

    def write_then_die(self: BagWriter, *arguments: object, **options: object) -> None:
        write(self, *arguments, **options)  # type: ignore[arg-type]
        os.kill(os.getpid(), signal.SIGKILL)

    write = BagWriter.write_episode
    with mock.patch.object(BagWriter, "write_episode", write_then_die):
        return write_square(job)
