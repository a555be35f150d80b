"""Post-train a policy on logged episodes: no simulator, no robot.

Stage 1 aligns video and actions on the demonstrations and the logged episodes of the base at work (executing it labels
them, successful or not). The world model learns from the demonstrations and the action-free videos. Stage 2 asks the
base what it would do at every chunk of the logged episodes and trains the residual towards what is imagined from there.
A base behind an address (GR00T, openpi, LeRobot, any other) is asked once; its answers are kept, and training goes on
without it. Success is never read. The result is a run folder, whose policy `run:FOLDER` opens; what was killed goes on
when it is started again. Without --logged it stops at the base, `run:FOLDER#base`, so that there is something to log.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

EXAMPLES = """\
  world2act post-train --demonstrations logs/demos --out runs/mine --embodiment franka_fr3
  world2act post-train --demonstrations logs/demos --logged logs/base --out runs/mine --embodiment franka_fr3
  world2act post-train --demonstrations logs/demos --logged logs/base --videos logs/videos --out runs/mine
  world2act post-train --demonstrations demos.hdf5 --logged logs/base --base runs/old/base/policy.pt --out runs/mine
  world2act post-train --demonstrations demos --logged vla --base "gr00t://gpu-box:5555?identity=my-n16" --out runs/mine
  world2act up real_arm --policy run:runs/mine --dry-run true"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    for name, required, said in (
        ("--demonstrations", True, "with actions"),
        ("--logged", False, "the base at work, with the actions it executed (without any, only the base is made)"),
        ("--videos", False, "of the skill; their actions are not read"),
    ):
        parser.add_argument(
            name,
            nargs="+",
            type=Path,
            default=[],
            metavar="INPUT",
            required=required,
            help=f"bags or data sets: {said}",
        )
    parser.add_argument(
        "--base",
        metavar="FILE|ADDRESS",
        help="compact policy, or the address of any policy, which is asked at every chunk that is learned at; all "
        "models see its cameras (default: cloned from the demonstrations)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="of the run")
    parser.add_argument("--embodiment", help="contract of the robot (default: the recipe's, or libero_panda)")
    parser.add_argument(
        "--cameras", nargs="+", help="which to see (default: the base's, the recipe's, or the first demonstration's)"
    )
    parser.add_argument("--recipe", type=Path, help="YAML file with other settings of the training")
    parser.add_argument("--seed", type=int, help="default: the recipe's, or 0")


def run(args: argparse.Namespace) -> int:
    from world2act_core.recipes.offline import Logs, post_train, summary
    from world2act_core.recipes.settings import read_logged_recipe

    recipe, cameras = read_logged_recipe(args.recipe, args.embodiment)
    recipe = replace(recipe, seed=recipe.seed if args.seed is None else args.seed)
    logs = Logs(tuple(args.demonstrations), tuple(args.logged), tuple(args.videos), args.base)
    print(summary(post_train(logs, args.out, recipe, args.cameras or cameras), args.out))
    return 0
