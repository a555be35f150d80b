"""What is known of RoboCasa's suites before an episode is built; see ``simulators.suites``."""

from __future__ import annotations

from collections.abc import Sequence

from world2act_core.simulators.robocasa.package import EMBODIMENT, facts, kitchens_there, load_suite, versions
from world2act_core.simulators.robocasa.suites import Suite, kitchens, task_of
from world2act_core.simulators.suites import TaskFacts

SETTLE_STEPS = 10
"""Control steps for which RoboCasa's own reset lets objects come to rest."""


def suite_tasks(suite: str, tasks: Sequence[int] = ()) -> dict[int, TaskFacts]:
    """Tasks of a suite by number; all of them unless some are named.

    Raises:
        MissingExtraError: RoboCasa or its assets are not there.
        World2ActError: no such suite or task.
    """
    named, known = load_suite(suite)
    protocol = {
        "controller": "HYBRID_MOBILE_BASE",
        "settle_steps": SETTLE_STEPS,
        "starts": "seeds",
        "split": named.split,
        **facts(),
        **_kitchens(named),
    }
    chosen = {number: task_of(known, suite, number) for number in tasks or range(len(known))}
    return {
        number: TaskFacts(task.name, task.horizon, EMBODIMENT, None, protocol, versions())
        for number, task in chosen.items()
    }


def _kitchens(suite: Suite) -> dict[str, int]:
    """In how many kitchens a suite takes place, and in how many of them here: with fewer it is another benchmark."""
    wanted = [pair for pair in kitchens(suite.split) if suite.scene in (None, pair)]
    there = kitchens_there(wanted)
    return {"kitchens": len(wanted)} | ({} if len(there) == len(wanted) else {"kitchens_there": len(there)})
