"""Suites by name: what a name says, and which tasks it means. Needs no RoboCasa."""

from __future__ import annotations

import pytest

from world2act_core.errors import World2ActError
from world2act_core.simulators.robocasa.suites import PAPERS_24, Suite, kitchens, parse_suite, task_of, tasks_of_set
from world2act_core.simulators.starts import Start

SETS = {"atomic_seen": ["CloseFridge", "NavigateKitchen"]}
HORIZONS = {"CloseFridge": 900, "NavigateKitchen": 450} | {environment: 300 for environment, _ in PAPERS_24.values()}


@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("robocasa_atomic", Suite("robocasa_atomic", "atomic")),
        ("robocasa_composite_unseen", Suite("robocasa_composite_unseen", "composite_unseen")),
        ("robocasa_atomic__target", Suite("robocasa_atomic__target", "atomic", "target")),
        ("robocasa_target50__all__l7s12", Suite("robocasa_target50__all__l7s12", "target50", "all", (7, 12))),
        ("robocasa_atomic__l1s1", Suite("robocasa_atomic__l1s1", "atomic", None, (1, 1))),
    ],
)
def test_a_name_says_tasks_split_and_kitchen(name: str, means: Suite) -> None:
    assert parse_suite(name) == means
    assert Start.parse(f"{name}/3/i12") == Start(name, 3, 12)


@pytest.mark.parametrize("name", ["robocasa", "robocasa_", "libero_goal", "robocasa_atomic__test", "robocasa_a__l1"])
def test_other_names_are_refused_with_an_example(name: str) -> None:
    with pytest.raises(World2ActError, match=r"no suite of RoboCasa: expected .* robocasa_atomic__target__l1s1"):
        parse_suite(name)


def test_the_papers_24_are_the_25_atomic_tasks_without_the_drive() -> None:
    tasks = tasks_of_set(parse_suite("robocasa_atomic"), SETS, HORIZONS)
    assert len(tasks) == 24 and "NavigateKitchen" not in {task.environment for task in tasks}
    doors = [(task.name, task.environment, task.fixture) for task in tasks if "Door" in task.name]
    assert doors == [
        ("OpenSingleDoor", "OpenCabinet", "CABINET_SINGLE_DOOR"),
        ("CloseSingleDoor", "CloseCabinet", "CABINET_SINGLE_DOOR"),
        ("OpenDoubleDoor", "OpenCabinet", "CABINET_DOUBLE_DOOR"),
        ("CloseDoubleDoor", "CloseCabinet", "CABINET_DOUBLE_DOOR"),
    ]


def test_a_set_of_robocasa_365_has_its_own_order_and_time_limits() -> None:
    tasks = tasks_of_set(parse_suite("robocasa_atomic_seen"), SETS, HORIZONS)
    assert [(task.name, task.horizon) for task in tasks] == [("CloseFridge", 900), ("NavigateKitchen", 450)]
    with pytest.raises(World2ActError, match="robocasa_atomic_seen has no task 2: it has 0 to 1"):
        task_of(tasks, "robocasa_atomic_seen", 2)
    with pytest.raises(World2ActError, match=r"no task set 'pasta': it has atomic .* and atomic_seen"):
        tasks_of_set(parse_suite("robocasa_pasta"), SETS, HORIZONS)


def test_splits_do_not_share_kitchens() -> None:
    assert set(kitchens("pretrain")).isdisjoint(kitchens("target"))
    assert {*kitchens("pretrain"), *kitchens("target")} < set(kitchens("all"))
