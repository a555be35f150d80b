"""Which tasks have a scripted demonstrator. ``python -m benchmarks.demonstrators`` measures their success rates."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from world2act_core.errors import World2ActError
from world2act_core.simulators.demonstrators.chores import Chores
from world2act_core.simulators.demonstrators.deliveries import DELIVERIES
from world2act_core.simulators.demonstrators.fixtures import FIXTURES
from world2act_core.simulators.demonstrators.pick_and_place import PickAndPlace
from world2act_core.simulators.demonstrators.script import NONE, Mishaps, Script
from world2act_core.simulators.starts import contract_of

DEMONSTRATORS: dict[tuple[str, int], Callable[[Mishaps], Script]] = {
    **{(suite, task): partial(PickAndPlace, suite, task, todo) for (suite, task), todo in DELIVERIES.items()},
    **{(suite, task): partial(Chores, suite, task, todo) for (suite, task), todo in FIXTURES.items()},
}
"""(suite, index of the task) → what makes its script; a subclass of ``Script`` will do."""


def demonstrator(suite: str, task: int, mishaps: Mishaps = NONE) -> Script:
    """The scripted demonstrator of a task, an ``Actor``.

    Raises:
        World2ActError: nobody has written one for this task.
    """
    suite, _ = contract_of(suite)
    if (suite, task) not in DEMONSTRATORS:
        known = ", ".join(f"{suite}/{task}" for suite, task in sorted(DEMONSTRATORS))
        raise World2ActError(f"{suite}/{task} has no scripted demonstrator: take one of {known}")
    return DEMONSTRATORS[suite, task](mishaps)
