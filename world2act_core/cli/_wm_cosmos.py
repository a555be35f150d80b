"""``world2act wm cache`` and ``finetune``: Cosmos-Predict2 on a robot's skill clips."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from world2act_core.cli._actions import add_action

if TYPE_CHECKING:
    from world2act_core.embodiment import Embodiment
    from world2act_core.types import Episode

WEIGHTS = "nvidia/Cosmos-Predict2-2B-Video2World"

CACHE_SAID = """\
Encode the skill clips of episodes once, for fine-tuning Cosmos-Predict2.

Reads episodes that were split into skills (see world2act skills), tiles their views and encodes clips and prompts. A
cache that was killed goes on when it is started again."""
CACHE = """\
  world2act wm cache runs/skills --out runs/clips
  world2act wm cache runs/skills --out runs/clips --embodiment my_arm.yaml --weights models/cosmos"""
FINETUNE_SAID = """\
Fine-tune Cosmos-Predict2 on a cache: an adapter (LoRA) or all weights, as a recipe says.

By itself it uses one GPU; with accelerate it uses several, and shards the weights over them if accelerate is configured
for FSDP. NVIDIA's weights come under the NVIDIA Open Model License, which binds what is derived from them, and are used
with NVIDIA's guardrail."""
FINETUNE = """\
  world2act wm finetune runs/clips --run runs/skill-wm --recipe recipes/cosmos/lora.yaml
  accelerate launch --num_processes 8 -m world2act_core.cli wm finetune runs/clips --run runs/skill-wm
  accelerate launch --config_file recipes/cosmos/fsdp.yaml -m world2act_core.cli wm finetune runs/clips \\
      --run runs/skill-wm --recipe recipes/cosmos/full.yaml"""


def add_actions(actions: Any) -> None:
    cache = add_action(actions, "cache", CACHE_SAID, CACHE, _cache)
    cache.add_argument("inputs", metavar="INPUT", nargs="+", type=Path, help="bags, HDF5 files or LeRobot v3 data sets")
    cache.add_argument("--out", required=True, type=Path, help="folder of the cache")
    cache.add_argument("--embodiment", default="libero_panda", help="contract of the robot (default libero_panda)")
    cache.add_argument("--size", nargs=2, type=int, default=(480, 832), metavar=("HEIGHT", "WIDTH"),
                       help="of a frame with all views in pixels (default 480 832)")  # fmt: skip
    tune = add_action(actions, "finetune", FINETUNE_SAID, FINETUNE, _finetune)
    tune.add_argument("cache", metavar="CACHE", type=Path, help="folder that `cache` wrote")
    tune.add_argument("--run", dest="folder", required=True, type=Path, help="folder of the run")
    tune.add_argument("--recipe", type=Path, help="YAML file with settings that differ from the defaults")
    for action in (cache, tune):
        action.add_argument("--weights", default=WEIGHTS, help=f"name or folder of the base (default {WEIGHTS})")


def _cache(args: argparse.Namespace) -> int:
    import torch

    from world2act_core.embodiment import load_embodiment
    from world2act_core.world_model.cosmos.finetune.cache import build_cache
    from world2act_core.world_model.cosmos.finetune.encoder import load_encoder

    embodiment, gpu = load_embodiment(args.embodiment), torch.cuda.is_available()
    encoder = load_encoder(
        args.weights,
        embodiment,
        height=args.size[0],
        width=args.size[1],
        dtype=torch.bfloat16 if gpu else torch.float32,
        device=torch.device("cuda" if gpu else "cpu"),
    )
    built = build_cache(args.out, _episodes(args.inputs, embodiment), encoder)
    print(f"{args.out}: {built.encoded} clips encoded, {built.found} were there, {built.prompts} prompts")
    if built.without_clips:
        print(f"{built.without_clips} episodes hold no skill that is one chunk long")
    return 0


def _episodes(inputs: list[Path], embodiment: Embodiment) -> Iterator[Episode]:
    """Every episode that can be used; what cannot is named on the way."""
    from tqdm import tqdm

    from world2act_core.episodes.reader import BagReport
    from world2act_core.episodes.sources import find_sources, iterate_source

    for source in tqdm(find_sources(inputs), unit="source", dynamic_ncols=True):
        report = BagReport()
        yield from iterate_source(source, embodiment, report=report)
        for refused in report.refused:
            tqdm.write(f"{source}: episode {refused.episode_id} is left out: {refused.reason}")
        if report.damage:
            tqdm.write(f"{source} is damaged, what lies in front of the damage is used: {report.damage}")


def _finetune(args: argparse.Namespace) -> int:
    from accelerate import PartialState

    from world2act_core.world_model.cosmos.finetune.settings import FinetuneSettings, read_settings
    from world2act_core.world_model.cosmos.finetune.train import finetune, read_log

    settings = read_settings(args.recipe) if args.recipe else FinetuneSettings()
    finetune(args.folder, args.cache, args.weights, settings)
    if not PartialState().is_main_process:  # accelerate has started others, which would say the same
        return 0
    losses = [record["held_out_loss"] for record in read_log(args.folder) if "held_out_loss" in record]
    print(f"{args.folder}: held-out loss {losses[0]:.4f} before, {losses[-1]:.4f} after")
    return 0
