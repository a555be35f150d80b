"""Show every stored result of some folders on one page, with filters.

Reads what `eval`, `gate`, `study` and runs have stored, through the readers that check it, and writes one HTML file
that needs nothing else: a table that is filtered by suite, task, policy, commit, embodiment and assets, success over
time, links to videos, and a paired comparison of any two rows on the starts that both have. Files that cannot be read
are listed with the reason.
"""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLES = """\
  world2act results runs eval
  world2act results runs eval docs/study --out reports/results.html"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", metavar="FOLDER", nargs="+", type=Path, help="in which results lie, however deep")
    default = Path("results.html")
    parser.add_argument("--out", type=Path, default=default, metavar="HTML", help=f"the page (default {default})")


def run(args: argparse.Namespace) -> int:
    from world2act_core.recipes.results.page import write_results_page

    found, rows = write_results_page(args.folders, args.out)
    for path, why in found.unread.items():
        print(f"not read: {path}: {why}")
    print(f"{len(found.stored)} files of results, {rows} rows; {len(found.unread)} not read; page: {args.out}")
    return 0
