"""Evaluate any policy in LIBERO or RoboCasa by the protocol that papers report.

LIBERO: OSC_POSE at 20 Hz, the official initial states of each task (each tried once), 10 settle steps, the published
horizons; also LIBERO-PRO's perturbed suites, e.g. libero_goal_swap. RoboCasa: seeds from 0, its own time limits and
success checks (docs/robocasa.md). Trials run in parallel; each is on disk before it counts, so
a killed evaluation goes on when it is started again. Writes OUT/evaluation.json (every start with its outcome,
versions, policy, renderer), OUT/trials.jsonl and a video of each failure. --against compares with another
evaluation.json, start by start, by the exact McNemar test.
"""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLES = """\
  world2act eval --policy run:runs/demo#base --suite libero_goal --tasks 8 --out eval/base
  world2act eval --policy run:runs/demo --suite libero_goal --tasks 8 --out eval/post --against eval/base
  world2act eval --policy onnx:exports/demo --suite libero_goal --tasks 0,8 --episodes 20 --workers 4 --out eval/onnx
  world2act eval --policy compact:policy.pt --suite libero_goal_swap --out eval/swap
  world2act eval --policy "openpi://127.0.0.1:8000" --suite libero_10 --replan 5 --rendering stock --out eval/pi05
  world2act eval --policy demonstrator --suite libero_object --episodes 5 --out eval/yardstick
  world2act eval --policy demonstrator --suite robocasa_atomic --tasks 13 --episodes 5 --out eval/drawer"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--policy", metavar="ADDRESS", required=True,
        help="any policy's address; or 'demonstrator', the script that knows the simulator's truth, as a yardstick",
    )  # fmt: skip
    parser.add_argument("--suite", required=True, help="e.g. libero_goal, libero_10, robocasa_atomic")
    parser.add_argument("--tasks", type=_numbers, default=(), metavar="N,N", help="of the suite, from 0 (default all)")
    parser.add_argument("--episodes", type=int, default=50, metavar="N", help="a task (default 50, all states)")
    parser.add_argument(
        "--replan", type=int, default=0, metavar="N",
        help="steps of a chunk that are executed before the policy is asked again (default the contract's M); as "
        "published: 5 for openpi, 8 for GR00T, 16 for Cosmos Policy",
    )  # fmt: skip
    parser.add_argument("--workers", type=int, default=2, metavar="W", help="simulators at a time (default 2)")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="of the results")
    parser.add_argument("--against", type=Path, metavar="JSON", help="evaluation.json, or its folder, to compare with")
    parser.add_argument(
        "--image-size",
        type=int,
        metavar="PX",
        help="of each camera (default what the policy asks for, else the contract's)",
    )
    parser.add_argument(
        "--rendering", choices=("fast", "stock"), default="fast",
        help="stock: shadows and anti-aliasing as LIBERO's own, for published checkpoints (default fast)",
    )  # fmt: skip
    parser.add_argument(
        "--remote", action="store_true",
        help="every simulator in a process of its own, also one that could live in its worker; a crash costs one try",
    )  # fmt: skip
    parser.add_argument("--no-videos", action="store_true", help="film no failures")
    parser.add_argument(
        "--keep", action="store_true", help="keep video, bag and start of each failure for world2act replay-trial"
    )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(int(part) for part in text.split(",")))


def _file(named: Path) -> Path:
    return named / "evaluation.json" if named.is_dir() else named


def run(args: argparse.Namespace) -> int:
    from world2act_core.errors import World2ActError
    from world2act_core.evaluation.suite import against_table, read_suite, suite_table, write_suite
    from world2act_core.recipes.suite import Plan, evaluate_suite
    from world2act_core.simulators.workers import WorkerPool

    if args.image_size is not None and args.image_size < 1:
        raise World2ActError(
            f"--image-size {args.image_size} is no size of a frame: name 1 pixel or more, or leave it away for what "
            "the policy asks for"
        )
    other = None if args.against is None else read_suite(_file(args.against))
    plan = Plan(
        policy=args.policy,
        suite=args.suite,
        tasks=args.tasks,
        episodes=args.episodes,
        replan=args.replan,
        image_size=args.image_size or 0,
        rendering=args.rendering,
        videos=not args.no_videos,
        keep=args.keep,
    )
    with WorkerPool(args.workers, remote=args.remote) as pool:
        results = evaluate_suite(plan, args.out, pool)
    write_suite(args.out / "evaluation.json", results)
    print()
    print(suite_table(results))
    failures = sum(not trial.success for trial in results.trials)
    places = [*(["videos"] if plan.videos else []), *(["failures"] if plan.keep else [])]
    kept = f"; {failures} failures, see {' and '.join(str(args.out / place) for place in places)}"
    print(f"results: {args.out / 'evaluation.json'}{kept if failures and places else ''}")
    if other is not None:
        print()
        print(against_table(other, results))
    return 0
