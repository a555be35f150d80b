"""Any suite's simulator by name: in this process where it can be, else in a process of its own."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from world2act_core.errors import MissingExtraError, World2ActError
from world2act_core.simulators.protocol import Simulator
from world2act_core.simulators.rendering import FAST, RenderSettings
from world2act_core.simulators.rollout import Actor

CHECKOUT = Path(__file__).resolve().parents[2]
"""The folder that holds ``world2act_core``; of a checkout its root."""


@dataclass(frozen=True)
class Patience:
    """How long a server may take before it counts as hung.

    Attributes:
        call_s: seconds for a step or an observation; the slowest step that compiles something takes some seconds.
        scene_s: seconds for what builds a scene: starting, opening, resetting. RoboCasa takes 11 s on an idle machine.
    """

    call_s: float = 60.0
    scene_s: float = 300.0


PATIENCE = Patience()


@dataclass(frozen=True)
class Family:
    """The suites of one simulator, and where it runs.

    Attributes:
        title: its name.
        package: what must be importable for it to run in this process.
        module, kind: our class: ``kind(suite, task, image_size, rendering)`` is a `Simulator`.
        catalogue: module whose ``suite_tasks(suite, tasks)`` tells what ``suites.suite_tasks`` does.
        demonstrators: ``module:function`` of scripted demonstrators, ``function(suite, task)`` is an `Actor`; "" if
            there are none.
        environment: folder of a virtual environment in a checkout, for one that cannot share ours; "" shares ours.
        variable: environment variable that names another interpreter.
        missing: what to do where there is none.
    """

    title: str
    package: str
    module: str
    kind: str
    catalogue: str
    demonstrators: str
    environment: str
    variable: str
    missing: str

    @property
    def importable(self) -> bool:
        """Whether this interpreter has it."""
        return importlib.util.find_spec(self.package) is not None

    @property
    def here(self) -> bool:
        """Whether it runs in this process unless another is asked for: it is installed here, or nowhere else either."""
        return self.importable or not (self.environment or os.environ.get(self.variable))

    def interpreter(self) -> Path:
        """The Python in which it runs out of process.

        Raises:
            MissingExtraError: there is none.
        """
        if named := os.environ.get(self.variable):
            if not os.access(named, os.X_OK):
                raise MissingExtraError(f"{self.variable} is {named!r}, where no interpreter is: {self.missing}")
            return Path(named)
        if self.importable or not self.environment:
            return Path(sys.executable)
        own = CHECKOUT / self.environment / "bin" / "python"
        if not own.exists():
            raise MissingExtraError(f"{self.title} has no environment yet ({own} is not there): {self.missing}")
        return own


FAMILIES = {
    "libero": Family(
        title="LIBERO",
        package="libero",
        module="world2act_core.simulators.libero",
        kind="LiberoSimulator",
        catalogue="world2act_core.simulators.libero",
        demonstrators="world2act_core.simulators.demonstrators.library:demonstrator",
        environment="",
        variable="WORLD2ACT_LIBERO_PYTHON",
        missing="name a Python that has the extra libero, or unset the variable",
    ),
    "robocasa": Family(
        title="RoboCasa",
        package="robocasa",
        module="world2act_core.simulators.robocasa.simulator",
        kind="RoboCasaSimulator",
        catalogue="world2act_core.simulators.robocasa.catalogue",
        demonstrators="world2act_core.simulators.demonstrators.kitchen:kitchen_demonstrator",
        environment=".venv-robocasa",
        variable="WORLD2ACT_ROBOCASA_PYTHON",
        missing="make it with 'make setup-robocasa' (scripts/setup --robocasa), or name the Python of one in "
        "WORLD2ACT_ROBOCASA_PYTHON",
    ),
}
"""First word of a suite's name → who simulates it."""


def family_of(suite: str) -> Family:
    """Who simulates a suite.

    Raises:
        World2ActError: nobody does.
    """
    found = FAMILIES.get(suite.partition("_")[0])
    if found is None:
        known = ", ".join(f"{name}_... ({family.title})" for name, family in FAMILIES.items())
        raise World2ActError(f"no simulator has suite {suite!r}: suites are called {known}")
    return found


def open_in_process(
    suite: str, task: int, image_size: int | None = None, rendering: RenderSettings = FAST
) -> Simulator:
    """A task's simulator in this process.

    Args:
        image_size: rows and columns of every image; None takes the embodiment's.

    Raises:
        MissingExtraError: the simulator is not installed in this interpreter.
        World2ActError: no such suite or task, or another simulator lives in this process.
    """
    family = family_of(suite)
    kind: Any = getattr(importlib.import_module(family.module), family.kind)
    simulator: Simulator = kind(suite, task, image_size, rendering)
    return simulator


def scripted(suite: str, task: int) -> Actor:
    """The scripted demonstrator of a task, which reads the truth of a simulator in its own process.

    Raises:
        World2ActError: nobody has written one for this task.
    """
    module, _, function = family_of(suite).demonstrators.partition(":")
    if not module:
        raise World2ActError(f"{suite}/{task} has no scripted demonstrator: take a policy")
    actor: Actor = getattr(importlib.import_module(module), function)(suite, task)
    return actor


def open_demonstrator(simulator: Simulator) -> Actor:
    """The scripted demonstrator of a simulator's task, wherever the simulator lives.

    Raises:
        World2ActError: nobody has written one for this task.
    """
    from world2act_core.simulators.remote.client import RemoteDemonstrator, RemoteSimulator

    if isinstance(simulator, RemoteSimulator):
        return RemoteDemonstrator(simulator)
    return scripted(simulator.suite, simulator.task_index)


def open_simulator(
    suite: str,
    task: int,
    image_size: int | None = None,
    rendering: RenderSettings = FAST,
    *,
    remote: bool = False,
    patience: Patience = PATIENCE,
) -> Simulator:
    """A task's simulator: in this process if its package is installed here, else in a process of its own.

    Args:
        image_size: rows and columns of every image; None takes the embodiment's.
        remote: in a process of its own even if it could live here.
        patience: with that process.

    Raises:
        MissingExtraError: neither this interpreter nor an environment of its own has the simulator.
        World2ActError: no such suite or task, or another simulator lives in this process.
        SimulatorLost: its process did not come up.
    """
    if not remote and family_of(suite).here:
        return open_in_process(suite, task, image_size, rendering)
    from world2act_core.simulators.remote.client import RemoteSimulator

    return RemoteSimulator(suite, task, image_size, rendering, patience)
