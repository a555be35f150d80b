"""Run the whole loop: bags, base policy, world model, post-training, paired evaluation, ROS 2.

On one LIBERO task, with compact models that are trained on the way: logs demonstrations as rosbag2/MCAP, trains a base
policy and a world model, aligns (Stage 1), post-trains a residual (Stage 2), compares both policies on held-out starts
and lets the ROS 2 graph drive the simulated arm. A killed demo resumes where it was when it is started again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLES = """\
  world2act demo
  world2act demo --run runs/seed1 --seed 1
  world2act demo --run runs/quick --recipe recipes/quick.yaml"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    default = Path("runs/demo")
    parser.add_argument("--run", dest="folder", type=Path, default=default, help=f"run folder (default {default})")
    parser.add_argument("--recipe", type=Path, help="YAML file with settings that differ from the demo's")
    parser.add_argument("--seed", type=int, help="seed of all training")


def run(args: argparse.Namespace) -> int:
    from dataclasses import replace

    from world2act_core.recipes.pipeline import run_pipeline
    from world2act_core.recipes.settings import read_recipe

    recipe = read_recipe(args.recipe)
    if args.seed is not None:
        recipe = replace(recipe, seed=args.seed)
    run_pipeline(args.folder, recipe)
    return 0
