"""Export a run's post-trained policy to ONNX graphs, which run without torch.

Writes the base, the residual and Stage 1's adapters with a free batch dimension, and a manifest with what they were
trained for. Each graph is run by ONNX Runtime on recorded observations and compared with torch first: if one differs by
more than the tolerance, nothing is written. The address onnx:FOLDER opens the result; which hardware runs it is chosen
by what is there (TensorRT, CUDA, CPU) or named, onnx:FOLDER#cuda. An export of the same name is replaced.
"""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLES = """\
  world2act export runs/demo --out exports/demo
  world2act export runs/mine --out exports/mine --observations logs/base
  world2act export runs/mine --out exports/mine --embodiment cell3.yaml --tolerance 1e-5
  world2act eval --policy onnx:exports/demo --suite libero_goal --tasks 8 --out eval/demo
  world2act up real_arm policy:=onnx:exports/demo#cuda dry_run:=true"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="RUN", type=Path, help="run folder")
    parser.add_argument("--out", metavar="FOLDER", type=Path, required=True, help="of the graphs")
    parser.add_argument(
        "--observations", nargs="+", type=Path, default=[], metavar="INPUT",
        help="bags or data sets to compare on (default: what the run recorded)",
    )  # fmt: skip
    parser.add_argument("--embodiment", default="", help="contract of the robot (default: the run's)")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="largest difference let pass (default 1e-4)")


def run(args: argparse.Namespace) -> int:
    import torch

    from world2act_core.embodiment import load_embodiment
    from world2act_core.policies.run_folder import existing_run
    from world2act_core.residual.export import OPSET, export_run, runtime_version
    from world2act_core.runs.stage import read_manifest

    torch.set_num_threads(1)
    name = args.embodiment or read_manifest(existing_run(args.folder) / "stage2").config["embodiment"]
    done = export_run(args.folder, args.out, load_embodiment(name), args.observations, args.tolerance)
    print(f"{args.folder} to {args.out}: opset {OPSET}, ONNX Runtime {runtime_version()}")
    print(f"{'graph':22}{'KB':>8}  largest difference from torch on {done.observations} recorded observations")
    for file, difference in done.differences.items():
        size = sum(part.stat().st_size for part in args.out.glob(f"{file}*"))
        print(f"{file:22}{size / 1e3:8.0f}  {difference:.1e}")
    print(f"all within {args.tolerance:g}; open it by the address onnx:{args.out}")
    return 0
