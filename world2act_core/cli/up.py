"""Start a graph of ROS 2 nodes on this machine, without ros2 launch.

The same nodes, parameters and arguments as 'ros2 launch world2act GRAPH.launch.py'. Ctrl-C ends them all.
"""

from __future__ import annotations

import argparse
import sys

from world2act_core.errors import World2ActError

EXAMPLES = """\
  world2act up sim_arm --run runs/demo
  world2act up sim_arm --policy replay:bags/demo --starts libero_goal/8/i12 --record bags/live
  world2act up real_arm --robot emulator --cameras agentview,wrist --policy replay:bags/fr3
  world2act up real_arm --run runs/demo --cameras agentview=usb:/dev/video0 --dry-run true
  world2act up replay bag:=bags/live policy:=run:runs/demo tolerance:=0.001"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from world2act_core.runtime.graphs import GRAPHS

    parser.add_argument(
        "--with-parent", action="store_true", help="end the graph when the process that started this command ends"
    )
    graphs = parser.add_subparsers(dest="graph", metavar="GRAPH", required=True)
    for graph in GRAPHS.values():
        options = graphs.add_parser(graph.name, help=graph.summary, description=f"Start {graph.summary}.")
        for argument in graph.arguments:
            flag = f"--{argument.name.replace('_', '-')}"
            shown = f"{argument.help} (default {argument.default})" if argument.default else argument.help
            options.add_argument(
                flag, dest=f"graph_{argument.name}", default=argument.default, metavar="VALUE", help=shown
            )
        options.add_argument("assignments", nargs="*", metavar="NAME:=VALUE", help="the same as ros2 launch takes it")
        names = [argument.name for argument in graph.arguments]
        options.set_defaults(graph_arguments=names)


def run(args: argparse.Namespace) -> int:
    from world2act_core.runtime.graphs import describe
    from world2act_core.runtime.processes import end_with_parent, run_graph

    if args.with_parent:
        end_with_parent()
    values = {name: getattr(args, f"graph_{name}") for name in args.graph_arguments}
    for assignment in args.assignments:
        name, separator, value = assignment.partition(":=")
        if not separator:
            raise World2ActError(f"{assignment!r} is neither an option nor NAME:=VALUE")
        values[name] = value
    graph = describe(args.graph).build(values)
    for text in graph.notices:
        print(f"WARNING: {text}", file=sys.stderr)
    return run_graph(graph)
