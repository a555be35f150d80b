"""Split episodes into atomic skill clips, and look at the result.

`build` reads bags, LIBERO or RoboCasa HDF5 files and LeRobot v3 datasets, finds the events of each episode (the gripper
takes hold, lets go, something was pushed), splits its instruction into steps, and keeps the episodes in which both
agree. It writes a LeRobot v3 dataset or bags, a journal, and report.html with a contact sheet. A build that was killed
goes on when it is started again. `inspect` prints the figures of a dataset and writes its report anew.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from world2act_core.skills.types import Decomposer, MeasuredGripper, Segmenter

EXAMPLES = """\
  world2act skills build runs/demo/demonstrations --out runs/skills
  world2act skills build libero_10/*.hdf5 --out runs/libero-skill --codec h264
  world2act skills build logs/ --out runs/skills --form bags --embodiment my_arm.yaml --decomposer endpoint
  world2act skills inspect runs/skills --discarded"""

DECOMPOSERS = ("grammar", "endpoint", "local")
SEGMENTERS = ("contact", "gripper")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    build = actions.add_parser("build", help="make a skill dataset", epilog=f"examples:\n{EXAMPLES}",
                               formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    build.add_argument("inputs", metavar="INPUT", nargs="+", type=Path, help="file or folder, also one that holds many")
    build.add_argument("--out", required=True, type=Path, help="folder of the dataset")
    build.add_argument("--embodiment", default="libero_panda", help="contract of the robot (default libero_panda)")
    build.add_argument("--form", choices=("lerobot", "bags"), default="lerobot", help="default lerobot (v3)")
    build.add_argument("--codec", help="of the videos of a LeRobot dataset")
    build.add_argument("--cameras", nargs="+", help="which to keep (default: those that an episode has)")
    build.add_argument("--frame-every", type=int, default=1, metavar="N", help="frames only at every N-th control step")
    build.add_argument("--failures", action="store_true", help="keep episodes that are marked as failed attempts")
    build.add_argument(
        "--segmenter", choices=SEGMENTERS, default="contact", help="contact: ours (default); gripper: the paper's rule"
    )
    _add_gripper(build.add_argument_group("widths of the gripper"))
    _add_decomposer(build.add_argument_group("decomposition of instructions"))
    inspect = actions.add_parser("inspect", help="figures of a dataset; writes its report anew")
    inspect.add_argument("dataset", metavar="DATASET", type=Path, help="folder that build wrote")
    inspect.add_argument("--discarded", action="store_true", help="list the discarded episodes with their reasons")


def run(args: argparse.Namespace) -> int:
    return _build(args) if args.action == "build" else _inspect(args)


def _build(args: argparse.Namespace) -> int:
    from world2act_core.skills.build import BuildSettings, build_skills
    from world2act_core.skills.report import as_text

    given = {"codec": args.codec} if args.codec else {}
    gripper = _gripper(args)
    settings = BuildSettings(
        embodiment=args.embodiment,
        form=args.form,
        cameras=tuple(args.cameras) if args.cameras else None,
        frame_every=args.frame_every,
        failures=args.failures,
        gripper=gripper,
        **given,
    )
    summary = build_skills(
        args.inputs,
        args.out,
        settings,
        segmenter=_segmenter(args, gripper),
        decomposer=_decomposer(args),
        progress=True,
    )
    print(as_text(summary))
    print(f"report: {args.out / 'report.html'}")
    return 0 if summary.kept else 1


def _inspect(args: argparse.Namespace) -> int:
    from world2act_core.errors import RunError
    from world2act_core.skills.journal import JOURNAL, read_journal
    from world2act_core.skills.report import as_text, summarise, write_report

    if not (args.dataset / JOURNAL).exists():
        raise RunError(
            f"{args.dataset} is no skill dataset ({JOURNAL} is missing): make one with world2act skills build"
        )
    records = read_journal(args.dataset)
    print(as_text(summarise(records)))
    if args.discarded:
        for record in records:
            if not record.kept:
                print(f"{record.episode_id or record.source}: {record.reason}")
    print(f"report: {write_report(args.dataset)}")
    return 0


def _gripper(args: argparse.Namespace) -> MeasuredGripper | None:
    """w_0 and Delta: by the options, else as measured for this robot, else None; says which."""
    from dataclasses import replace

    from world2act_core.calibration.files import GRIPPER_FILE
    from world2act_core.calibration.store import measured_gripper
    from world2act_core.embodiment import load_embodiment
    from world2act_core.skills.gripper import DELTA_M
    from world2act_core.skills.types import MeasuredGripper

    robot = load_embodiment(args.embodiment)
    folder = args.calibration or Path("calibration") / robot.name
    stored = args.calibration or (folder / GRIPPER_FILE).is_file()
    found = measured_gripper(folder) if stored else MeasuredGripper(robot.gripper.fully_open_width_m, DELTA_M)
    whence = {"fully_open_m": str(folder / GRIPPER_FILE) if stored else "the contract",
              "delta_m": str(folder / GRIPPER_FILE) if stored else "the paper"}  # fmt: skip
    given = {name: getattr(args, name) for name in whence if getattr(args, name) is not None}
    found, whence = replace(found, **given), {**whence, **dict.fromkeys(given, "as given")}
    said = f"gripper: w_0 {1000 * found.fully_open_m:.2f} mm ({whence['fully_open_m']})"
    if args.segmenter == "gripper":
        said += f", Delta {1000 * found.delta_m:.2f} mm ({whence['delta_m']})"
    print(said)
    return found if stored or given else None


def _segmenter(args: argparse.Namespace, measured: MeasuredGripper | None) -> Segmenter:
    from world2act_core.skills.contact import ContactSegmenter
    from world2act_core.skills.gripper import GripperSegmenter

    if args.segmenter == "contact":
        return ContactSegmenter()
    return GripperSegmenter(measured.delta_m) if measured else GripperSegmenter()


def _decomposer(args: argparse.Namespace) -> Decomposer:
    from world2act_core.errors import World2ActError

    if args.decomposer == "endpoint":
        from world2act_core.skills.language.endpoint import DEEPSEEK, DEEPSEEK_MODEL, EndpointDecomposer, Prices

        return EndpointDecomposer(
            args.model or DEEPSEEK_MODEL,
            base_url=args.base_url or DEEPSEEK,
            key_variable=args.key_variable,
            prices=Prices(*args.prices) if args.prices else None,
        )
    if args.decomposer == "local":
        from world2act_core.skills.language.local import LocalDecomposer

        if not args.model:
            raise World2ActError("--decomposer local needs --model: a folder of weights, or a name that was downloaded")
        return LocalDecomposer(args.model)
    from world2act_core.skills.grammar import GrammarDecomposer

    return GrammarDecomposer()


def _metres(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is no width of a gripper: metres are wanted")
    return value


def _add_gripper(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--calibration",
        type=Path,
        metavar="FOLDER",
        help="what world2act calibrate gripper stored (default calibration/ROBOT, if it is there)",
    )
    group.add_argument(
        "--fully-open",
        dest="fully_open_m",
        type=_metres,
        metavar="M",
        help="w_0 (default: stored, else the contract's)",
    )
    group.add_argument(
        "--delta", dest="delta_m", type=_metres, metavar="M",
        help="Delta of --segmenter gripper (default: stored, else the paper's 0.05)",
    )  # fmt: skip


def _add_decomposer(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--decomposer",
        choices=DECOMPOSERS,
        default="grammar",
        help="grammar: needs no model (default); endpoint: OpenAI-compatible; local: transformers on this machine",
    )
    group.add_argument(
        "--model", help="of the endpoint (default DeepSeek's that reasons), or name or folder of a local one"
    )
    group.add_argument(
        "--base-url", metavar="URL", help="of the endpoint, without /chat/completions (default DeepSeek)"
    )
    group.add_argument(
        "--key-variable", metavar="NAME", default="WORLD2ACT_LLM_API_KEY", help="environment variable with the key"
    )
    group.add_argument(
        "--prices",
        nargs=2,
        type=float,
        metavar=("PROMPT", "COMPLETION"),
        help="per million tokens: the report shows costs",
    )
