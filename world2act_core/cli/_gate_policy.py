"""``world2act gate --policy``: any policy against a stored baseline, by the recipe of ``pytest sim_tests``."""

from __future__ import annotations

import argparse


def gate_policy(args: argparse.Namespace) -> int:
    """Run every entry; 0 if all checks pass, 1 if not.

    Raises:
        World2ActError: see ``planned_entries`` and ``check_entry``.
    """
    from world2act_core.recipes.regression import REPORT, VERDICT, check_entry, conclude, forget, lines, planned_entries
    from world2act_core.recipes.regression_options import regression
    from world2act_core.simulators.workers import WorkerPool

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
