"""Train the compact world model on skill videos, measure it, and let it imagine.

`train` learns from the frames and skill prompts of bags, HDF5 files and LeRobot data sets (no action is read) and keeps
the last tenth of every instruction's episodes for measuring. `evaluate` measures on those: errors against copying by
horizon, PSNR, SSIM, motion, obedience to the prompt; report.html, contact_sheet.png and imagined.mp4. `imagine` writes
the imagined latents of every skill of logged episodes to a latent store. What was killed goes on when started again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

EXAMPLES = """\
  world2act wm train runs/skills --out runs/wm
  world2act wm train logs/ --out runs/wm --embodiment my_arm.yaml --cameras front wrist --steps 1200
  world2act wm evaluate runs/wm
  world2act wm evaluate runs/wm other_day/ --out runs/wm/other_day
  world2act wm imagine runs/wm runs/skills --out runs/latents"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    train = _action(actions, "train", "learn from videos of skills")
    train.add_argument("inputs", metavar="INPUT", nargs="+", type=Path, help="file or folder, also one that holds many")
    train.add_argument("--out", required=True, type=Path, help="folder of the model")
    train.add_argument("--steps", type=int, default=600, help="of training (default 600: minutes on two cores)")
    train.add_argument("--seed", type=int, default=0, help="default 0")
    train.add_argument("--cameras", nargs="+", help="which to see (default: those of the first episode)")
    train.add_argument("--embodiment", default="libero_panda", help="contract of the robot (default libero_panda)")
    evaluate = _action(actions, "evaluate", "measure on videos it was not trained on")
    _add_model(evaluate)
    evaluate.add_argument("inputs", metavar="INPUT", nargs="*", type=Path,
                          help="other videos than those kept from training")  # fmt: skip
    evaluate.add_argument("--out", type=Path, help="folder of the report (default DIR)")
    imagine = _action(actions, "imagine", "write imagined latents of logged episodes")
    _add_model(imagine)
    imagine.add_argument("inputs", metavar="INPUT", nargs="+", type=Path, help="file or folder with episodes")
    imagine.add_argument("--out", metavar="STORE", required=True, type=Path, help="folder of the latent store")
    imagine.add_argument(
        "--from",
        dest="begin",
        choices=("start", "skills"),
        default="skills",
        help="skills: again from the real frame at which each skill begins (default); start: from an episode's first "
        "frame alone, which was found too weak to learn later skills from, because errors add up",
    )


def run(args: argparse.Namespace) -> int:
    return {"train": _train, "evaluate": _evaluate, "imagine": _imagine}[args.action](args)


def _action(actions: Any, name: str, said: str) -> argparse.ArgumentParser:
    """``actions`` is what ``add_subparsers`` returned, whose type has no public name."""
    parser: argparse.ArgumentParser = actions.add_parser(
        name,
        help=said,
        description=said.capitalize() + ".",
        epilog=f"examples:\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="DIR", type=Path, help="folder that train wrote")


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
