"""Show a running graph: nodes, skill, arm, latencies, holds, rates.

Follows the nodes of one namespace in the present ROS_DOMAIN_ID, whatever robot they drive, and only listens. Ctrl-C
ends it. Exit code 1 if there is no such graph.
"""

from __future__ import annotations

import argparse

EXAMPLES = """\
  world2act status
  world2act status --once
  world2act status --namespace left_arm
  ROS_DOMAIN_ID=7 world2act status --once --within 30"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--namespace", metavar="NS", default="", help="of the graph, as given to its launch")
    parser.add_argument("--once", action="store_true", help="print what three seconds show, and end")
    parser.add_argument(
        "--within", metavar="SECONDS", type=float, default=10.0, help="how long to look for a graph (default 10)"
    )


def run(args: argparse.Namespace) -> int:
    import subprocess

    from world2act_core.runtime.graphs import dds_environment
    from world2act_core.runtime.prefixes import find_executable, ros_environment

    arguments = ["--namespace", args.namespace, "--within", str(args.within), *(["--once"] if args.once else [])]
    environment = {**dds_environment(), **ros_environment()}  # what the user has set wins
    with subprocess.Popen([str(find_executable("world2act", "status")), *arguments], env=environment) as view:
        while True:
            try:
                return view.wait()
            except KeyboardInterrupt:
                continue  # the view got it too and ends
