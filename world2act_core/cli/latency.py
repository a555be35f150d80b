"""Say where the milliseconds went between camera and command, from any bag of the graph.

Reads the stamps that every action chunk carries and the first command that executes it. Of a damaged bag it takes what
lies in front of the damage, says where the damage is, and ends with exit code 1; a bag in which nothing can be timed
ends with 2 and one sentence. docs/observability.md explains the rows.
"""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLES = """\
  world2act latency bags/live
  world2act latency recording.mcap --plot latency.png
  world2act latency bags/live --json latency.json
  world2act latency bags/live --json -"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", metavar="BAG", type=Path, help="a bag's folder, or one .mcap file")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="draw every chunk into a .png, .svg or .pdf")
    parser.add_argument("--json", metavar="FILE", help="write the figures as JSON; -: print them instead of the table")


def run(args: argparse.Namespace) -> int:
    import json

    from world2act_core.errors import World2ActError
    from world2act_core.evaluation.latency import latency_json, latency_table, read_latency

    report = read_latency(args.bag)
    text = json.dumps(latency_json(report), indent=2, ensure_ascii=False)
    print(text if args.json == "-" else latency_table(report))
    if args.json and args.json != "-":
        try:
            Path(args.json).write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise World2ActError(f"{args.json} cannot be written: {error.strerror}") from error
    if args.plot:
        from world2act_core.evaluation.latency_picture import plot_latency

        plot_latency(report, args.plot)
    return 1 if report.damage else 0
