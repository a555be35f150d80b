"""What is known of a suite's tasks before one of them is opened, whoever simulates them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

from world2act_core.simulators.opening import PATIENCE, family_of


@dataclass(frozen=True)
class TaskFacts:
    """One task of a suite; JSON values.

    Attributes:
        instruction: the task in words, or its name where the words come with each episode.
        horizon: most control steps an episode.
        embodiment: name of the contract.
        starts: how many official initial states it has; None where every number is one.
        protocol: what else an outcome depends on: controller, settle steps, assets.
        versions: package → version where it is simulated, if that is another environment.
    """

    instruction: str
    horizon: int
    embodiment: str
    starts: int | None
    protocol: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


def suite_tasks(suite: str, tasks: Sequence[int] = ()) -> dict[int, TaskFacts]:
    """Tasks of a suite by number; all of them unless some are named.

    Raises:
        MissingExtraError: who simulates it is installed nowhere.
        World2ActError: no such suite or task.
        SimulatorLost: the process that was asked did not come up.
    """
    if family_of(suite).here:
        return tasks_here(suite, tasks)
    return dict(_tasks_elsewhere(suite, tuple(tasks)))


def tasks_here(suite: str, tasks: Sequence[int] = ()) -> dict[int, TaskFacts]:
    """The same, asked of the simulator's package in this process."""
    found: dict[int, TaskFacts] = importlib.import_module(family_of(suite).catalogue).suite_tasks(suite, tasks)
    return found


@lru_cache(maxsize=16)  # it takes a process that imports the simulator
def _tasks_elsewhere(suite: str, tasks: tuple[int, ...]) -> dict[int, TaskFacts]:
    from world2act_core.simulators.remote.process import begin_process

    server = begin_process(suite, suite, PATIENCE.scene_s)
    try:
        answer, _ = server.ask({"op": "tasks", "suite": suite, "tasks": list(tasks)}, PATIENCE.scene_s)
    finally:
        server.end()
    return {int(number): TaskFacts(**facts) for number, facts in answer["tasks"].items()}


def facts_as_json(found: Mapping[int, TaskFacts]) -> dict[str, Any]:
    """For the way to another process."""
    return {str(number): asdict(facts) for number, facts in found.items()}


def horizon_of(suite: str, task: int) -> int:
    """Most control steps an episode. LIBERO's are published, so nothing is loaded for them.

    Raises:
        MissingExtraError, World2ActError, SimulatorLost: see ``suite_tasks``.
    """
    if family_of(suite).title == "LIBERO":
        from world2act_core.simulators.libero_package import horizon

        return horizon(suite)
    return suite_tasks(suite, (task,))[task].horizon
