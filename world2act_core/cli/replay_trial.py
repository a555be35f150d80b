"""Repeat a failed trial from the folder that an evaluation kept of it.

Runs the same start with the same policy again and says whether the outcome repeats, and the states to the bit. With
--from-bag the recorded actions act instead, so that a failure can be looked at where its policy is gone. Such folders
are kept by pytest sim_tests, world2act gate --policy and world2act eval --keep: OUT/.../failures/NAME with video.mp4,
bag and trial.json.

Exit code 0 if the trial repeats, 1 if it does not, 2 if the command or the folder is at fault.
"""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLES = """\
  world2act replay-trial runs/sim_tests/libero_goal/8/failures/libero_goal-8-i0
  world2act replay-trial runs/sim_tests/libero_goal/8/failures/libero_goal-8-i0 --from-bag"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="of one failed trial")
    parser.add_argument("--from-bag", action="store_true", help="the recorded actions instead of the policy")


def run(args: argparse.Namespace) -> int:
    from world2act_core.recipes.failures import read_failure
    from world2act_core.recipes.repeating import repeat_trial

    repetition = repeat_trial(read_failure(args.folder), from_bag=args.from_bag)
    print(repetition)
    return 0 if repetition.repeats else 1
