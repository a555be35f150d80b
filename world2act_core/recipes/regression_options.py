"""The options of a regression, the same for ``pytest sim_tests`` and ``world2act gate --policy``.

Beside the package and not in it: a command's ``--help`` must not import what runs a policy.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from world2act_core.errors import World2ActError

if TYPE_CHECKING:
    from world2act_core.recipes.regression import Regression

EPISODES = 20
"""Most starts a task, unless told otherwise."""
ROS_EPISODES = 2
"""Starts a task through the ROS 2 graph with ``--ros``, unless told otherwise."""
OPTIONS: dict[str, dict[str, Any]] = {
    "--policy": {"metavar": "ADDRESS", "help": "the policy, e.g. run:runs/demo or onnx:exports/demo"},
    "--suite": {
        "action": "append",
        "default": [],
        "metavar": "NAME",
        "help": "e.g. libero_goal or libero_goal_swap; more than once for several",
    },
    "--tasks": {"default": "", "metavar": "N,N", "help": "of every suite, from 0 (default all)"},
    "--episodes": {
        "type": int,
        "default": EPISODES,
        "metavar": "N",
        "help": f"most starts a task (default {EPISODES})",
    },
    "--against": {
        "action": "append",
        "default": [],
        "type": Path,
        "metavar": "JSON",
        "help": "baseline: evaluation.json, or a folder with some; more than once for several",
    },
    "--non-inferior": {
        "type": float,
        "metavar": "MARGIN",
        "help": "demand that it is shown to lose less than MARGIN points (default: fail if it is shown to lose)",
    },
    "--alpha": {"type": float, "default": 0.05, "help": "most that a false verdict may happen, a task (default 0.05)"},
    "--max-limit-hits": {
        "type": int,
        "metavar": "N",
        "help": "refusals of the safety filter, a task (default as the baseline; without one 0)",
    },
    "--max-holds": {
        "type": int,
        "metavar": "N",
        "help": "control steps that it would hold, a task (default as the baseline; without one 0)",
    },
    "--max-jerk": {"type": float, "metavar": "J", "help": "largest jerk, m/s^3 or rad/s^3 (default as the baseline)"},
    "--max-latency-ms": {
        "type": float,
        "metavar": "MS",
        "help": "99th percentile of a chunk's time (default: only reported)",
    },
    "--ros": {"action": "store_true", "help": "the first starts through the full ROS 2 graph too"},
    "--ros-episodes": {
        "type": int,
        "metavar": "N",
        "help": f"with --ros: how many of them, a task (default {ROS_EPISODES})",
    },
    "--draws": {
        "action": "store_true",
        "help": "with --ros: the policy draws at random, so compare outcomes, not states",
    },
    "--workers": {"type": int, "default": 2, "metavar": "W", "help": "simulators at a time (default 2)"},
    "--out": {
        "type": Path,
        "default": Path("runs/sim_tests"),
        "metavar": "FOLDER",
        "help": "of trials, failures, verdict and report (default runs/sim_tests)",
    },
}
"""Flag → keyword arguments of ``argparse``'s ``add_argument`` and of pytest's ``addoption``."""


def margin_of(points: float | None) -> float | None:
    """``--non-inferior`` as a difference of success rates: 5 points → 0.05; None if it was not given.

    Raises:
        World2ActError: it is not more than 0, which would ask something else, or 100 and more, which nobody can lose.
    """
    if points is None:
        return None
    if not points > 0:  # NaN neither
        raise World2ActError(f"--non-inferior {points:g} must be more than 0 points; without it no margin is asked for")
    if points >= 100:
        raise World2ActError(f"--non-inferior {points:g} must be less than 100 points: no policy can lose more")
    return points / 100


def error_of(alpha: float) -> float:
    """``--alpha``, which is at hand as a share.

    Raises:
        World2ActError: a verdict that may be wrong so often is none.
    """
    if not 0 < alpha < 0.5:  # NaN neither
        raise World2ActError(f"--alpha {alpha:g} must be more than 0 and less than 0.5, for example 0.05")
    return alpha


def regression(option: Callable[[str], Any]) -> Regression:
    """The question that the options ask.

    Args:
        option: name, e.g. ``ros_episodes`` → its value.

    Raises:
        World2ActError: ``--tasks`` are no numbers, ``--ros`` asks for no episode or is missing where an option needs
            it, ``--alpha`` means nothing, or ``--non-inferior`` asks for no margin or of no baseline.
    """
    from world2act_core.recipes.regression import Regression, SafetyLimits

    try:
        tasks = tuple(dict.fromkeys(int(part) for part in option("tasks").split(",") if part.strip()))
    except ValueError:
        raise World2ActError(f"--tasks {option('tasks')} are not numbers, for example --tasks 0,8") from None
    graph_episodes = _graph_episodes(option)
    non_inferior = margin_of(option("non_inferior"))
    if non_inferior and not option("against"):
        points = option("non_inferior")
        raise World2ActError(f"--non-inferior {points:g} compares with a baseline: name it with --against")
    return Regression(
        policy=option("policy"),
        suites=tuple(option("suite")),
        tasks=tasks,
        episodes=option("episodes"),
        against=tuple(option("against")),
        non_inferior=non_inferior,
        alpha=error_of(option("alpha")),
        limits=SafetyLimits(option("max_limit_hits"), option("max_holds"), jerk_max=option("max_jerk")),
        max_latency_ms=option("max_latency_ms"),
        graph_episodes=graph_episodes,
        draws=option("draws"),
    )


def _graph_episodes(option: Callable[[str], Any]) -> int:
    """How many starts of a task go through the ROS 2 graph.

    Raises:
        World2ActError: none although they were asked for, or something is said of them although they were not.
    """
    episodes: int | None = option("ros_episodes")
    if option("ros"):
        if episodes is not None and episodes < 1:
            raise World2ActError(f"--ros with --ros-episodes {episodes} tries nothing: name 1 or more")
        return ROS_EPISODES if episodes is None else episodes
    for flag, given in (("--ros-episodes", episodes is not None), ("--draws", option("draws"))):
        if given:
            raise World2ActError(f"{flag} does nothing without --ros: add that, or leave {flag} away")
    return 0
