"""Show that a run's post-trained policy is better than its base, or not worse: the gate before an arm.

Tries both policies on fresh starts that no stage of the run was trained on, start by start, and stops as soon as a
sequential paired test has decided. With --non-inferior MARGIN it is enough that the policy does not lose MARGIN points
of success rate. Writes RUN/gate.json, signed with the key in WORLD2ACT_GATE_KEY if that is set, which the launch of a
real arm demands. A gate that was killed goes on when it is started again; one with more --starts goes on too.

With --policy instead of RUN any policy is compared with a stored evaluation on the same starts, and its safety
counters, latency and, with --ros, the way through the ROS 2 graph are checked too: the same as pytest sim_tests. An
option that does nothing in the chosen mode is refused.

Exit code 0 if it is passed, 1 if it is not shown or the policy is worse, 2 if the command or the run is at fault.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from world2act_core.cli._gate_options import CHECK, POLICY, add_options, settle
from world2act_core.cli._gate_policy import gate_policy
from world2act_core.errors import World2ActError
from world2act_core.recipes.regression_options import error_of, margin_of

EXAMPLES = """\
  world2act gate runs/demo
  world2act gate runs/demo --starts 120
  world2act gate runs/demo --non-inferior 5
  world2act gate runs/demo --jitter-cm 6 --seed 1
  world2act gate runs/demo --check --embodiment libero_panda --max-age-days 30
  world2act gate --policy onnx:exports/demo --suite libero_goal --tasks 8 --against eval/base --ros"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="RUN", type=Path, nargs="?", help="run folder")
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    mode = settle(args)
    if mode == POLICY:
        if args.folder is not None:
            raise World2ActError("RUN and --policy do not go together: gate a run, or any policy against a baseline")
        return gate_policy(args)
    if args.folder is None:
        raise World2ActError("name a run folder, or any policy: --policy ADDRESS --suite NAME --against JSON")
    return _check(args) if mode == CHECK else _gate(args)


def _gate(args: argparse.Namespace) -> int:
    from world2act_core.evaluation.console import gate_table
    from world2act_core.recipes.gate import run_gate
    from world2act_core.recipes.gate_questions import STARTS, STARTS_NON_INFERIOR, Question
    from world2act_core.simulators.workers import WorkerPool

    if args.starts is not None and args.starts < 1:
        raise World2ActError(f"--starts {args.starts} tries nothing: name 1 or more")
    margin = margin_of(args.non_inferior)
    usual = STARTS_NON_INFERIOR if margin else STARTS
    question = Question(
        margin=margin or 0.0,
        alpha=error_of(args.alpha),
        max_starts=usual if args.starts is None else args.starts,
        seed=args.seed,
        jitter_cm=args.jitter_cm,
    )
    with WorkerPool(args.workers, remote=args.remote) as pool:
        gate, signed = run_gate(args.folder, question, pool)
    print()
    print(gate_table(gate))
    print(f"gate: {args.folder / 'gate.json'}, {signed}")
    return 0 if gate.passed else 1


def _check(args: argparse.Namespace) -> int:
    from world2act_core.errors import RunError
    from world2act_core.evaluation.console import gate_table
    from world2act_core.evaluation.signature import require_gate
    from world2act_core.policies.run_folder import existing_run

    folder = existing_run(args.folder)
    try:
        gate = require_gate(folder, embodiment=args.embodiment, max_age_days=args.max_age_days)
    except RunError as refusal:
        print(f"world2act gate: {refusal}", file=sys.stderr)
        return 1
    print(gate_table(gate))
    print(f"finished {gate.finished:%Y-%m-%d %H:%M} UTC, on {gate.embodiment}, commit {gate.commit or 'unknown'}")
    return 0
