"""What a suite is, told by the simulator that has it: its tasks, and the protocol under which they are tried."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from world2act_core.errors import World2ActError
from world2act_core.simulators.opening import PATIENCE, family_of


@dataclass(frozen=True)
class SuiteTask:
    """One task.

    Attributes:
        name: the instruction, or the task's name where each episode has an instruction of its own.
        horizon: most control steps an episode.
        starts: how many initial states there are; None where every index is one (a seed).
    """

    name: str
    horizon: int
    starts: int | None


@dataclass(frozen=True)
class SuiteFacts:
    """Everything that evaluation has to know of a suite without simulating it.

    Attributes:
        suite: its name.
        embodiment: name of the contract of its robot.
        size: how many tasks it has.
        tasks: those that were asked for, number → task.
        protocol: what an outcome depends on besides policy and start, JSON values: controller, rate, settle steps,
            horizon, starts, and ``assets`` where they can be another thing than the benchmark's own.
        versions: package → version where it is simulated.
    """

    suite: str
    embodiment: str
    size: int
    tasks: Mapping[int, SuiteTask]
    protocol: Mapping[str, Any]
    versions: Mapping[str, str]


def suite_facts(suite: str, tasks: Sequence[int] = ()) -> SuiteFacts:
    """What the suite's simulator says of it; asked for in a process of its own if it cannot live in this one.

    Args:
        tasks: of the suite; empty for all.

    Raises:
        MissingExtraError: the simulator, or something that it needs, is not installed.
        World2ActError: no such suite or task.
    """
    return _facts(suite, tuple(tasks))


@lru_cache(maxsize=8)
def _facts(suite: str, tasks: tuple[int, ...]) -> SuiteFacts:
    family = family_of(suite)
    if family.importable:
        return described(suite, tasks)
    from world2act_core.simulators.remote.process import ServerProcess

    server = ServerProcess(family.interpreter(), suite, PATIENCE.scene_s)
    try:
        said, _ = server.ask({"op": "describe", "suite": suite, "tasks": list(tasks)}, PATIENCE.scene_s)
    finally:
        server.end()
    return facts_from_json(said)


def described(suite: str, tasks: Sequence[int] = ()) -> SuiteFacts:
    """The same in this process.

    Raises:
        MissingExtraError, World2ActError: see ``suite_facts``.
    """
    module, _, function = family_of(suite).describe.partition(":")
    if not module:
        raise World2ActError(f"{suite} cannot be evaluated: its simulator does not tell what its tasks are")
    describe: Callable[[str, Sequence[int]], SuiteFacts] = getattr(importlib.import_module(module), function)
    return describe(suite, tasks)


def facts_to_json(facts: SuiteFacts) -> dict[str, Any]:
    """As JSON values."""
    return asdict(facts)


def facts_from_json(values: Mapping[str, Any]) -> SuiteFacts:
    """The inverse of ``facts_to_json``."""
    tasks = {int(number): SuiteTask(**task) for number, task in values["tasks"].items()}
    return SuiteFacts(**{**values, "tasks": tasks})
