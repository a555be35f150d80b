"""``world2act wm train``, ``evaluate``, ``imagine`` and ``encode``: the compact world model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from world2act_core.cli._actions import add_action

TRAIN_SAID = """\
Train the compact world model on videos of skills.

It learns from the frames and skill prompts of bags, HDF5 files and LeRobot data sets; no action is read. The last tenth
of every instruction's episodes is kept for measuring."""
TRAIN = """\
  world2act wm train runs/skills --out runs/wm
  world2act wm train logs/ --out runs/wm --embodiment my_arm.yaml --cameras front wrist --steps 1200"""
EVALUATE_SAID = """\
Measure the compact world model on videos that it was not trained on.

Errors against copying by horizon, PSNR, SSIM, motion, obedience to the prompt; report.html, contact_sheet.png and
imagined.mp4."""
EVALUATE = """\
  world2act wm evaluate runs/wm
  world2act wm evaluate runs/wm other_day/ --out runs/wm/other_day"""
IMAGINE_SAID = """\
Write the imagined latents of every skill of logged episodes to a latent store.

A store that was killed goes on when it is started again."""
IMAGINE = """\
  world2act wm imagine runs/wm runs/skills --out runs/latents
  world2act wm imagine runs/wm runs/skills --out runs/from-start --from start"""

ENCODE_SAID = """\
Write the latents of the real frames of every skill of logged episodes to a latent store.

The same clips as those of world2act wm imagine, as they really went: what Stage 1 pairs with actions."""
ENCODE = """\
  world2act wm encode runs/wm runs/skills --out runs/real-latents"""


def add_actions(actions: Any) -> None:
    train = add_action(actions, "train", TRAIN_SAID, TRAIN, _train)
    train.add_argument("inputs", metavar="INPUT", nargs="+", type=Path, help="file or folder, also one that holds many")
    train.add_argument("--out", required=True, type=Path, help="folder of the model")
    train.add_argument("--steps", type=int, default=600, help="of training (default 600: minutes on two cores)")
    train.add_argument("--seed", type=int, default=0, help="default 0")
    train.add_argument("--cameras", nargs="+", help="which to see (default: those of the first episode)")
    train.add_argument("--embodiment", default="libero_panda", help="contract of the robot (default libero_panda)")

    evaluate = add_action(actions, "evaluate", EVALUATE_SAID, EVALUATE, _evaluate)
    _add_model(evaluate)
    evaluate.add_argument("inputs", metavar="INPUT", nargs="*", type=Path,
                          help="other videos than those kept from training")  # fmt: skip
    evaluate.add_argument("--out", type=Path, help="folder of the report (default DIR)")

    imagine = add_action(actions, "imagine", IMAGINE_SAID, IMAGINE, _imagine)
    _add_model(imagine)
    _add_episodes(imagine)
    imagine.add_argument(
        "--from",
        dest="begin",
        choices=("start", "skills"),
        default="skills",
        help="skills: again from the real frame at which each skill begins (default); start: from an episode's first "
        "frame alone, which was found too weak to learn later skills from, because errors add up",
    )

    encode = add_action(actions, "encode", ENCODE_SAID, ENCODE, _encode)
    _add_model(encode)
    _add_episodes(encode)


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="DIR", type=Path, help="folder that train wrote")


def _add_episodes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", metavar="INPUT", nargs="+", type=Path, help="file or folder with episodes")
    parser.add_argument("--out", metavar="STORE", required=True, type=Path, help="folder of the latent store")


def _train(args: argparse.Namespace) -> int:
    from world2act_core.errors import World2ActError
    from world2act_core.recipes.world_model import WEIGHTS, train

    if args.steps < 1:
        raise World2ActError(f"--steps {args.steps}: training takes at least one step")
    stage = train(
        args.inputs, args.out, embodiment=args.embodiment, cameras=args.cameras, steps=args.steps, seed=args.seed
    )
    held_out = len(stage.metrics["held_out"])
    print(f"trained on {len(stage.metrics['trained'])} episodes, {stage.metrics['chunks']} chunks; "
          f"{held_out} kept for measuring")  # fmt: skip
    print(f"model: {stage.path(WEIGHTS)}")
    return 0


def _evaluate(args: argparse.Namespace) -> int:
    from world2act_core.recipes.world_model import evaluate, open_trained
    from world2act_core.recipes.world_model_report import as_text, write_report

    trained = open_trained(args.model)
    scores, examples = evaluate(trained, args.inputs)
    print(as_text(scores))
    print(f"report: {write_report(args.out or args.model, trained, scores, examples)}")
    return 0


def _imagine(args: argparse.Namespace) -> int:
    from world2act_core.recipes.world_model import imagine, open_trained
    from world2act_core.world_model.imagination import From

    made, there = imagine(open_trained(args.model), args.inputs, args.out, From(args.begin))
    print(f"{made} clips imagined, {there} were there already")
    print(f"latents: {args.out}")
    return 0


def _encode(args: argparse.Namespace) -> int:
    from world2act_core.recipes.world_model import encode, open_trained

    made, there = encode(open_trained(args.model), args.inputs, args.out)
    print(f"{made} clips encoded, {there} were there already")
    print(f"latents: {args.out}")
    return 0
