"""Jobs for the worker pool's tests; top-level, so that a spawned process can import them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np

from world2act_core.errors import World2ActError
from world2act_core.simulators.libero import LiberoSimulator
from world2act_core.simulators.starts import Start
from world2act_core.simulators.workers import WorkerContext, WorkerPool
from world2act_core.types import Array


def square(job: int, context: WorkerContext) -> tuple[int, int]:
    """The square, and who computed it."""
    return job * job, os.getpid()


def kill_itself_once(job: Path, context: WorkerContext) -> str:
    if not job.exists():
        job.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def kill_itself_on_three(job: int, context: WorkerContext) -> int:
    if job == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return job


def complain(job: str, context: WorkerContext) -> None:
    raise World2ActError(f"no such thing: {job}")


def complain_unpicklably(job: str, context: WorkerContext) -> None:
    class Strange(Exception):
        pass

    raise Strange(job)


def torch_threads(job: int, context: WorkerContext) -> int:
    import torch

    return torch.get_num_threads()


def count_makings(job: int, context: WorkerContext) -> int:
    """How many things were made so far for the key: 1 if the context keeps them."""
    made = context.once("made", list)
    context.once("thing", lambda: made.append(1))
    return len(made)


def simulate(job: tuple[Start, Array], context: WorkerContext) -> tuple[Array, int]:
    """The states reached from a start, and which simulator object did it."""
    start, actions = job
    simulator = context.simulator(start.suite, start.task)
    assert isinstance(simulator, LiberoSimulator)
    simulator.reset(start)
    states = []
    for action in actions:
        simulator.step(action)
        states.append(simulator.state())
    return np.array(states), id(simulator)


def sleep(job: Path, context: WorkerContext) -> None:
    """Say who is asleep, then sleep for longer than any test waits."""
    (job / str(os.getpid())).touch()
    time.sleep(300)


def parent(folder: str) -> None:
    """A program whose two workers sleep."""
    with WorkerPool(2) as pool:
        list(pool.run(sleep, [Path(folder)] * 2))
