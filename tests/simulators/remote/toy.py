"""A simulator as small as can be, for what is not about physics: how its process starts, hangs and dies.

It is no part of World2Act, so its server runs in an interpreter of its own: a script that knows it and then does what a
client asks its interpreter to do.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from world2act_core.embodiment import load_embodiment
from world2act_core.errors import ContractError, World2ActError
from world2act_core.simulators.opening import FAMILIES, Family
from world2act_core.simulators.rendering import RenderSettings
from world2act_core.simulators.rollout import Moment
from world2act_core.simulators.starts import Start
from world2act_core.simulators.suites import TaskFacts
from world2act_core.simulators.workers import WorkerContext
from world2act_core.types import Array, Observation, Skill

SUITE = "toy_goal"
GOAL = 5.0
VARIABLE = "WORLD2ACT_TOY_PYTHON"


class Toy:
    """A number that actions are added to; images show the number."""

    def __init__(self, suite: str, task: int, image_size: int | None, rendering: RenderSettings) -> None:
        self.embodiment = load_embodiment("libero_panda")
        self.suite, self.task_index, self.task, self.horizon = suite, task, "count", 40
        self.facts = {"toys": 1}
        self._size = image_size or 16
        self._place = np.zeros(3)
        self._steps = 0

    def reset(self, start: Start) -> None:
        if start.index == 13:
            raise ValueError("thirteen")
        self.task, self._steps = f"count from {start.index}", 0
        self._place[:] = start.index, start.jitter_cm, start.seed

    def observe(self, cameras: Sequence[str] = ()) -> Observation:
        if unknown := set(cameras) - set(self.embodiment.cameras):
            raise ContractError(f"there is no camera {min(unknown)!r}")
        images = {name: np.full((self._size, self._size, 3), self._place[0] % 256, np.uint8) for name in cameras}
        return Observation(self._steps / 20, images, {"eef_position": self._place.astype(np.float32)})

    def step(self, action: Array) -> bool:
        self._place += action[:3]
        self._steps += 1
        return bool(self._place[0] > GOAL)

    def state(self) -> Array:
        return self._place.copy()

    def close(self) -> None:
        pass


class Counter:
    """A demonstrator: adds one until the goal."""

    def reset(self, simulator: Toy) -> None:
        self._simulator = simulator

    def act(self, moment: Moment) -> Array:
        return np.array([1.0 if self._simulator.state()[0] <= GOAL else 0.0, *[0.0] * 6])

    def skills(self, steps: int) -> tuple[Skill, ...]:
        return (Skill("count", 0, steps),)


def counter(suite: str, task: int) -> Counter:
    return Counter()


def suite_tasks(suite: str, tasks: Sequence[int] = ()) -> dict[int, TaskFacts]:
    if suite != SUITE:
        raise World2ActError(f"there is no toy {suite!r}")
    facts = TaskFacts("count", 40, "libero_panda", None, {"assets": "wooden", "pid": os.getpid()})
    return dict.fromkeys(tasks or range(3), facts)


FAMILIES["toy"] = Family(
    title="Toy",
    package="there_is_no_such_package",
    module=__name__,
    kind="Toy",
    catalogue=__name__,
    demonstrators=f"{__name__}:counter",
    environment=".venv-toy",
    variable=VARIABLE,
    missing="wind one up",
)


def write_interpreter(path: Path, instead: str = "exec(sys.argv[-1])") -> Path:
    """A Python that knows the toy, or one that does something else ``instead`` of what it is asked to."""
    path.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path[:] = {sys.path!r}\nimport tests.simulators.remote.toy\n{instead}\n"
    )
    path.chmod(0o755)
    return path


def lose_the_server(job: Path, context: WorkerContext) -> int:
    """Kill the simulator's process in the middle of an episode; only once if the file ``job`` is not there yet."""
    simulator = context.simulator(SUITE, 0)
    simulator.reset(Start(SUITE, 0, 0))
    if job.name == "always" or not job.exists():
        job.touch()
        os.kill(simulator.pid, signal.SIGKILL)  # type: ignore[attr-defined]
    return int(simulator.step(np.ones(7)))


def parent(at: str) -> None:
    """A program that opens a toy, says so, and waits."""
    from world2act_core.simulators.opening import open_simulator

    simulator = open_simulator(SUITE, 0)
    simulator.reset(Start(SUITE, 0, 0))
    simulator.observe(("agentview",))
    half_written = Path(at).with_suffix(".new")
    half_written.write_text(str(simulator.pid))  # type: ignore[attr-defined]
    half_written.rename(at)
    signal.pause()
