"""Run the study that a plan describes: every method on the same starts, over tasks and training seeds.

The plan (YAML) fixes tasks, seeds, starts, methods and the analysis; its SHA-256 stands in every result. Each task with
each seed is a cell. A killed study goes on where it was when the same command is given again: it loses the trials that
were under way and the training since the last checkpoint. Cells run in processes of their own, or on machines that Ray
connects and that share the folder. It ends with a table in which every verdict is computed from the plan's rules.
"""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLES = """\
  world2act study recipes/study/libero.yaml
  world2act study recipes/study/libero.yaml --processes 2 --only libero_goal/8/0 libero_goal/8/1
  world2act study recipes/study/libero.yaml --methods base post_trained
  world2act study recipes/study/libero.yaml --ray auto --out /shared/study
  world2act study recipes/study/libero.yaml --report-only
  world2act study recipes/study/libero.yaml --collect docs/study
  world2act study recipes/study/libero.yaml --report-only --out docs/study
  world2act study recipes/study/more_seeds.yaml --report-only --together recipes/study/libero.yaml docs/study"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("plan", metavar="PLAN", type=Path, help="YAML file of the study")
    default = Path("runs/study")
    parser.add_argument("--out", type=Path, default=default, help=f"folder of the study (default {default})")
    parser.add_argument("--only", nargs="+", default=(), metavar="CELL", help="only these, as SUITE/TASK/SEED")
    parser.add_argument("--methods", nargs="+", default=(), metavar="NAME", help="only these of the plan's methods")
    parser.add_argument("--together", nargs=2, action="append", type=Path, default=[], metavar=("PLAN", "FOLDER"),
                        help="with --report-only: read this other plan's records too, and compare over both what both "
                             "plans compare; may be given several times")  # fmt: skip
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--processes", type=int, metavar="N", help="cells at a time (default 1)")
    where.add_argument("--ray", default="", metavar="ADDRESS", help="spread the cells over a Ray cluster: auto, "
                       "local, ray://HOST:PORT; needs the extra `study`")  # fmt: skip
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--report-only", action="store_true", help="run nothing: read what is there and report")
    instead.add_argument("--collect", type=Path, metavar="FOLDER", help="run nothing: copy the records of finished "
                         "methods and their table into FOLDER, to be committed")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    from world2act_core.errors import World2ActError
    from world2act_core.recipes.study import run as study
    from world2act_core.recipes.study import together

    if args.together and not args.report_only:
        raise World2ActError("--together reads what is there: give --report-only too")
    if args.report_only or args.collect is not None:
        for option in ("only", "methods", "processes", "ray"):
            if getattr(args, option):
                way = "--report-only" if args.report_only else "--collect"
                raise World2ActError(f"--{option} is about what is run, and {way} runs nothing: leave it out")
    if args.together:
        together.report_together([(args.plan, args.out), *args.together])
    elif args.collect is not None:
        study.collect(args.plan, args.out, args.collect)
    elif args.report_only:
        study.write_reports(args.plan, args.out)
    else:
        processes = 1 if args.processes is None else args.processes
        study.run_study(args.plan, args.out, only=args.only, names=args.methods, processes=processes, ray=args.ray)
    return 0
