"""Say what is installed, what is missing, and the one command that mends it.

Exit code 0 if everything that the demo needs is there, else 1.
"""

from __future__ import annotations

import argparse

EXAMPLES = """\
  world2act doctor
  world2act doctor --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs: JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    from world2act_core.doctor import CHECKS, as_json, as_table, demo_ready, examine

    answers = examine(CHECKS)
    print(as_json(answers) if args.json else as_table(answers))
    return 0 if demo_ready(answers) else 1
