"""`live` of `world2act calibrate`: starts the node that listens to a camera's topic."""

from __future__ import annotations

import argparse
from pathlib import Path

from world2act_core.cli import _calibrate_shared as shared


def run_live(args: argparse.Namespace, cell: shared.Cell, mode: str) -> int:
    """Until there are enough views, then the result; needs ROS 2 and nodes that publish images (and the arm)."""
    from world2act_core.runtime.graphs import Graph, NodeSpec, Value, dds_environment
    from world2act_core.runtime.processes import run_graph

    parameters: dict[str, Value] = {
        "robot": args.embodiment,
        "camera": cell.camera.name,
        "mode": mode,
        "board": str(Path(args.board).absolute()),
        "calibration": str(cell.folder.absolute()),
        "serial": getattr(args, "serial", ""),
    }
    if mode == "intrinsics":
        parameters["model"] = args.model
    elif mode == "hand_eye":
        parameters |= _arm(args, cell)
    node = NodeSpec("calibrator", "calibrator", parameters=parameters, env=dds_environment(), essential=True)
    return run_graph(Graph("calibrate", (node,)))


def _arm(args: argparse.Namespace, cell: shared.Cell) -> dict[str, str]:
    """What the node must know of the arm; wrong options are refused before anything starts."""
    topic, _ = shared.arm_of(args, cell.robot)
    in_hand = args.kind == "eye_in_hand"
    return {
        "kind": args.kind,
        "parent": args.link if in_hand else shared.base_frame(args, cell.robot),
        "arm_topic": topic,
        "robot_model": str(Path(args.model).absolute()) if args.model else "",
        "link": args.link,
        "base": args.base,
    }
