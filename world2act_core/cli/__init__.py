"""The ``world2act`` command.

Every module of this package is one command of the same name (``_`` is ``-`` there). It offers

- its docstring: the first line is the summary in ``world2act --help``, all of it the description in ``--help``;
- ``EXAMPLES``: lines shown at the end of ``--help``;
- ``add_arguments(parser)``: declares the arguments;
- ``run(args) -> int``: does the work and returns the exit code.

A new command is a new file. Modules import what is heavy (torch, LIBERO, matplotlib) inside ``run``, so that
``world2act --help`` answers at once.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence

from world2act_core import __version__
from world2act_core.errors import World2ActError

USAGE_ERROR = 2
INTERRUPTED = 130


def commands() -> list[str]:
    """Names of the commands there are."""
    names = (module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
    return sorted(name.replace("_", "-") for name in names)


def build_parser(names: Sequence[str]) -> argparse.ArgumentParser:
    """A parser that knows the named commands; only their modules are imported."""
    parser = argparse.ArgumentParser(
        prog="world2act",
        description="Post-train a vision-language-action policy against a world model and put it on a robot.",
        epilog="world2act COMMAND --help shows examples.",
    )
    parser.add_argument("--version", action="version", version=f"world2act {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in names:
        module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
        description = (module.__doc__ or "").strip()
        command = subparsers.add_parser(
            name,
            help=description.partition("\n")[0].rstrip("."),
            description=description,
            epilog=f"examples:\n{module.EXAMPLES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 done, 1 the answer is no, 2 the user can mend it (one sentence on stderr)."""
    given = list(sys.argv[1:] if argv is None else argv)
    named = [name for name in commands() if given[:1] == [name]]
    args = build_parser(named or commands()).parse_args(given)
    try:
        return int(args.run(args))
    except World2ActError as error:
        if os.environ.get("WORLD2ACT_DEBUG") == "1":
            raise
        print(f"world2act {args.command}: {error}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        print(f"world2act {args.command}: interrupted", file=sys.stderr)
        return INTERRUPTED
