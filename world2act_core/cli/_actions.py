"""Actions of a command, `world2act COMMAND ACTION`, that explain themselves as commands do."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any


def add_action(
    actions: Any, name: str, said: str, examples: str, work: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    """A parser for one action.

    Args:
        actions: what ``add_subparsers`` returned, whose type has no public name.
        said: what it does: the first line is the summary in the command's ``--help``, all of it the description.
        examples: lines shown at the end of ``--help``.
        work: does it; the command finds it in ``args.work``.
    """
    parser: argparse.ArgumentParser = actions.add_parser(
        name,
        help=said.partition("\n")[0].rstrip("."),
        description=said,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(work=work)
    return parser
