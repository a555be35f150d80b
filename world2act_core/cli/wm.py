"""World models: train the compact one or fine-tune Cosmos-Predict2, measure, and let them imagine.

The compact one: `train` learns from the frames and skill prompts of bags, HDF5 files and LeRobot data sets (no action
is read) and keeps the last tenth of every instruction's episodes for measuring. `evaluate` measures on those. `imagine`
writes the imagined latents of every skill of logged episodes to a latent store, `encode` those of its real frames.

Cosmos-Predict2: `cache` encodes the skill clips of episodes once, `finetune` trains an adapter or all weights on them.

What was killed goes on when it is started again. world2act wm ACTION --help shows examples of each.
"""

from __future__ import annotations

import argparse

from world2act_core.cli import _wm_compact, _wm_cosmos

EXAMPLES = """\
  world2act wm train runs/skills --out runs/wm
  world2act wm evaluate runs/wm
  world2act wm imagine runs/wm runs/skills --out runs/imagined
  world2act wm encode runs/wm runs/skills --out runs/real
  world2act wm cache runs/skills --out runs/clips
  world2act wm finetune runs/clips --run runs/skill-wm --recipe recipes/cosmos/lora.yaml"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for family in (_wm_compact, _wm_cosmos):
        family.add_actions(actions)


def run(args: argparse.Namespace) -> int:
    return int(args.work(args))
