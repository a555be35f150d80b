"""``world2act gate --policy``: any policy against a stored baseline, by the recipe of ``pytest sim_tests``."""

from __future__ import annotations

import argparse

from world2act_core.errors import World2ActError

OF_A_RUN = ("starts", "seed", "jitter_cm", "check")
"""Options that mean nothing without a run."""


def add_policy_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that a run's gate does not have already."""
    from world2act_core.recipes.regression_options import OPTIONS

    group = parser.add_argument_group("any policy, against a stored baseline", "instead of RUN; as pytest sim_tests")
    for flag, how in OPTIONS.items():
        if flag not in parser._option_string_actions:
            group.add_argument(flag, **how)


def gate_policy(args: argparse.Namespace) -> int:
    """Run every entry; 0 if all checks pass, 1 if not.

    Raises:
        World2ActError: see ``planned_entries`` and ``check_entry``.
    """
    from world2act_core.recipes.regression import REPORT, VERDICT, check_entry, conclude, forget, lines, planned_entries
    from world2act_core.recipes.regression_options import regression
    from world2act_core.simulators.workers import WorkerPool

    foreign = [name for name in OF_A_RUN if getattr(args, name)]
    if args.folder is not None or foreign:
        what = "RUN" if args.folder is not None else f"--{foreign[0].replace('_', '-')}"
        raise World2ActError(f"{what} and --policy do not go together: gate a run, or any policy against a baseline")
    question = regression(lambda name: getattr(args, name))
    entries = planned_entries(question)
    forget(args.out)
    checked = []
    with WorkerPool(args.workers) as pool:
        for entry in entries:
            checked.append(check_entry(question, entry, args.out, pool))
            print("\n".join(lines(checked[-1])), flush=True)
    passed = conclude(question, checked, args.out)
    print(f"Verdict: {'PASS' if passed else 'FAIL'}")
    print(f"gate: {args.out / VERDICT}; report: {args.out / REPORT}")
    return 0 if passed else 1
