"""The options of ``world2act gate`` by the mode in which they do something, so that none is taken that does nothing."""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

from world2act_core.errors import World2ActError
from world2act_core.recipes.regression_options import OPTIONS

RUN, CHECK, POLICY = "gate RUN", "gate RUN --check", "gate --policy ADDRESS"
"""What the command does: try a run, look at its gate, try any policy."""

TRIALS: dict[str, dict[str, Any]] = {
    "--non-inferior": {
        "metavar": "MARGIN",
        "type": float,
        "help": "ask only that it is not worse by MARGIN points of success rate or more, e.g. 5 (default of a run: "
        "that it is better; of any policy: that no loss is shown)",
    },
    "--alpha": {"type": float, "default": 0.05, "help": "most that a wrong verdict may happen (default 0.05)"},
    "--workers": {"type": int, "default": 2, "help": "simulators at a time (default 2)"},
}
OF_A_RUN: dict[str, dict[str, Any]] = {
    "--starts": {"metavar": "MAX", "type": int, "help": "most starts (default 60; with --non-inferior 300)"},
    "--seed": {"type": int, "default": 0, "help": "of the fresh starts (default 0)"},
    "--jitter-cm": {"type": float, "help": "displacement of the objects (default the run's)"},
    "--remote": {"action": "store_true", "help": "every simulator in a process of its own"},
}
OF_A_CHECK: dict[str, dict[str, Any]] = {
    "--check": {"action": "store_true", "help": "only say whether the run's gate.json still vouches for it"},
    "--embodiment": {"default": "", "help": "and for this robot"},
    "--max-age-days": {"type": float, "metavar": "DAYS", "help": "and is not older"},
}


class Group(NamedTuple):
    """Options that do something in the same modes."""

    title: str
    modes: tuple[str, ...]
    options: dict[str, dict[str, Any]]


GROUPS = (
    Group("trials, of a run or of any policy", (RUN, POLICY), TRIALS),
    Group("a run", (RUN,), OF_A_RUN),
    Group("a run, without trials", (CHECK,), OF_A_CHECK),
    Group(
        "any policy, against a stored baseline",
        (POLICY,),
        {flag: how for flag, how in OPTIONS.items() if flag not in TRIALS},
    ),
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare them all. Their defaults are left to ``settle``, or nobody could tell what was given."""
    for title, modes, options in GROUPS:
        group = parser.add_argument_group(title, f"world2act {' or '.join(modes)}")
        for flag, how in options.items():
            group.add_argument(flag, **{**how, "default": argparse.SUPPRESS})


def settle(args: argparse.Namespace) -> str:
    """The mode that is asked for; fills in the defaults of what was not given.

    Raises:
        World2ActError: an option was given that does nothing in this mode; names the one in which it does.
    """
    mode = POLICY if "policy" in args else CHECK if "check" in args else RUN
    for _, modes, options in GROUPS:
        for flag, how in options.items():
            name = flag[2:].replace("-", "_")
            if name not in args:
                setattr(args, name, how.get("default", False if how.get("action") == "store_true" else None))
            elif mode not in modes:
                belongs = " or ".join(f"'world2act {one}'" for one in modes)
                raise World2ActError(f"{flag} does nothing in 'world2act {mode}', it belongs to {belongs}")
    return mode
