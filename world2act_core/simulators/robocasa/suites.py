"""Suites of RoboCasa by name: which tasks, in which kitchens, with which objects, and how long they may take.

A suite is named ``robocasa_SET[__SPLIT][__lLAYOUTsSTYLE]``, in letters that a start's identity can carry:

- ``SET``: ``atomic``, the 24 atomic tasks of the paper's tables, or a task set of RoboCasa365 by its own name
  (``atomic_seen``, ``composite_unseen``, ``target50``, ``pretrain300``, ``all_tasks``, ...).
- ``SPLIT``: RoboCasa's splits of kitchens and objects, ``pretrain``, ``target`` or ``all``; none is RoboCasa's
  ``split=None``.
- ``l1s1``: only the kitchen of layout 1 and style 1.

``robocasa_atomic__target__l1s1/11/i7`` is the episode of seed 7 of its twelfth task.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from world2act_core.errors import World2ActError

PREFIX = "robocasa_"
SPLITS = ("pretrain", "target", "all")
ATOMIC = "atomic"

_NAME = re.compile(
    rf"^{PREFIX}(?P<tasks>[A-Za-z0-9]+(?:_[A-Za-z0-9]+)*)(?:__(?P<split>[a-z]+))?(?:__l(?P<layout>\d+)s(?P<style>\d+))?$"
)

PAPERS_24 = {
    "PnPCounterToCab": ("PickPlaceCounterToCabinet", ""),
    "PnPCabToCounter": ("PickPlaceCabinetToCounter", ""),
    "PnPCounterToSink": ("PickPlaceCounterToSink", ""),
    "PnPSinkToCounter": ("PickPlaceSinkToCounter", ""),
    "PnPCounterToMicrowave": ("PickPlaceCounterToMicrowave", ""),
    "PnPMicrowaveToCounter": ("PickPlaceMicrowaveToCounter", ""),
    "PnPCounterToStove": ("PickPlaceCounterToStove", ""),
    "PnPStoveToCounter": ("PickPlaceStoveToCounter", ""),
    "OpenSingleDoor": ("OpenCabinet", "CABINET_SINGLE_DOOR"),
    "CloseSingleDoor": ("CloseCabinet", "CABINET_SINGLE_DOOR"),
    "OpenDoubleDoor": ("OpenCabinet", "CABINET_DOUBLE_DOOR"),
    "CloseDoubleDoor": ("CloseCabinet", "CABINET_DOUBLE_DOOR"),
    "OpenDrawer": ("OpenDrawer", ""),
    "CloseDrawer": ("CloseDrawer", ""),
    "TurnOnSinkFaucet": ("TurnOnSinkFaucet", ""),
    "TurnOffSinkFaucet": ("TurnOffSinkFaucet", ""),
    "TurnSinkSpout": ("TurnSinkSpout", ""),
    "TurnOnStove": ("TurnOnStove", ""),
    "TurnOffStove": ("TurnOffStove", ""),
    "CoffeeSetupMug": ("CoffeeSetupMug", ""),
    "CoffeeServeMug": ("CoffeeServeMug", ""),
    "CoffeePressButton": ("StartCoffeeMachine", ""),
    "TurnOnMicrowave": ("TurnOnMicrowave", ""),
    "TurnOffMicrowave": ("TurnOffMicrowave", ""),
}
"""Name of the task in RoboCasa 0.1 → its environment in RoboCasa 1.0, and the type of fixture where one is asked for.

The 25 atomic tasks of Nasiriany et al. 2024 without NavigateKitchen: the 24 that papers report. Order and new names are
those of RoboCasa's own page (docs/_versions/v0.2/tasks_scenes_assets/atomic_tasks.md). In RoboCasa 0.1 a "single door"
could also be a microwave's; RoboCasa 1.0 has no type of fixture for both, and here it is a cabinet's.
"""


@dataclass(frozen=True)
class Suite:
    """What a suite's name says.

    Attributes:
        name: the whole of it.
        tasks: the task set.
        split: one of ``SPLITS``, or None.
        scene: layout and style of the only kitchen, or None.
    """

    name: str
    tasks: str
    split: str | None = None
    scene: tuple[int, int] | None = None


@dataclass(frozen=True)
class Task:
    """One task of a suite.

    Attributes:
        name: as papers call it.
        environment: class of RoboCasa.
        fixture: name of the ``FixtureType`` that it is about; "" leaves it to the environment.
        horizon: most control steps an episode, from RoboCasa's own registry.
    """

    name: str
    environment: str
    fixture: str
    horizon: int


def parse_suite(name: str) -> Suite:
    """What a name says; whether RoboCasa has such a task set is not looked at.

    Raises:
        World2ActError: it is no such name.
    """
    match = _NAME.match(name)
    if not match or match["split"] not in (None, *SPLITS):
        raise World2ActError(
            f"{name!r} is no suite of RoboCasa: expected {PREFIX}SET, perhaps __{'/__'.join(SPLITS)} and a kitchen, "
            f"for example {PREFIX}atomic__target__l1s1"
        )
    scene = (int(match["layout"]), int(match["style"])) if match["layout"] else None
    return Suite(name, match["tasks"], match["split"], scene)


def kitchens(split: str | None) -> list[tuple[int, int]]:
    """Layout and style of every kitchen of a split, as RoboCasa's ``create_env`` chooses them."""
    if split == "target":
        return [(number, number) for number in range(1, 11)]
    numbers = range(11, 61) if split == "pretrain" else range(1, 61)
    return [(layout, style) for layout in numbers for style in numbers]


def tasks_of_set(suite: Suite, sets: Mapping[str, list[str]], horizons: Mapping[str, int]) -> tuple[Task, ...]:
    """The tasks of a suite, in order.

    Args:
        sets: RoboCasa's task sets, name → environments.
        horizons: RoboCasa's time limits, environment → control steps.

    Raises:
        World2ActError: RoboCasa has no such set.
    """
    if suite.tasks == ATOMIC:
        entries = [(name, *where) for name, where in PAPERS_24.items()]
    elif suite.tasks in sets:
        entries = [(name, name, "") for name in sets[suite.tasks]]
    else:
        raise World2ActError(
            f"RoboCasa has no task set {suite.tasks!r}: it has {ATOMIC} (the papers' 24) and {', '.join(sorted(sets))}"
        )
    return tuple(Task(name, environment, fixture, horizons[environment]) for name, environment, fixture in entries)


def task_of(tasks: tuple[Task, ...], suite: str, index: int) -> Task:
    """One of a suite's tasks.

    Raises:
        World2ActError: there is no such task.
    """
    if not 0 <= index < len(tasks):
        raise World2ActError(f"{suite} has no task {index}: it has 0 to {len(tasks) - 1}")
    return tasks[index]
