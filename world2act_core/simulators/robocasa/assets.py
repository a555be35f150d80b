"""RoboCasa's kitchens on disk: where they are, whether they are there, and whether they are RoboCasa's own.

The packages bring code and descriptions only; meshes and textures (10 GB) come from RoboCasa's own download script.
What was simulated with stand-ins for them is no result about RoboCasa, so every result says what it was made with.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from world2act_core.errors import MissingExtraError
from world2act_core.simulators.protocol import PLACEHOLDER

VARIABLE = "ROBOCASA_ASSETS_PATH"
"""Environment variable that the wheel honours; without it the assets are looked for inside the package."""
OWN = "robocasa"
"""Assets that are RoboCasa's own, beside ``PLACEHOLDER``."""
DOWNLOAD = ".venv-robocasa/bin/python -m robocasa.scripts.download_kitchen_assets --type all"

DOWNLOADED = ("objects", "textures")
"""Folders that the download brings; of fixtures the wheel has some already."""

_BOX = 8
"""Vertices of a box; a mesh with no more stands in for another."""
_LOOKED_AT = 200
"""Meshes of fixtures, and as many of objects, that are looked at: enough to tell, and quick with all 10 GB."""


def assets_folder(package: Path) -> Path:
    """Where RoboCasa will look.

    Args:
        package: folder of the installed package ``robocasa``.

    Raises:
        MissingExtraError: nothing is there, or it cannot be written to (RoboCasa rewrites descriptions beside the
            originals).
    """
    named = os.environ.get(VARIABLE)
    folder = Path(named) if named else package / "models" / "assets"
    if not all((folder / part).is_dir() for part in DOWNLOADED) or next(_meshes(folder / "fixtures"), None) is None:
        where = f"{VARIABLE}={named}" if named else f"the package, and {VARIABLE} is not set"
        raise MissingExtraError(
            f"RoboCasa's kitchen assets are not in {where}: download them (10 GB) with its own script, {DOWNLOAD}"
        )
    if not os.access(folder, os.W_OK):
        raise MissingExtraError(
            f"RoboCasa's assets in {folder} cannot be written to, and RoboCasa rewrites descriptions beside the "
            f"originals: copy them to a folder of your own and name it in {VARIABLE}"
        )
    return folder


def kind_of_assets(folder: Path) -> str:
    """``OWN``, or ``PLACEHOLDER`` if most meshes of fixtures, or most of objects, are mere boxes.

    Meshes of RoboCasa's own have hundreds of vertices. Nothing has to be declared, so that stand-ins of any origin are
    found, and a folder that mixes them with RoboCasa's own is not taken for RoboCasa's.
    """
    for part in ("fixtures", "objects"):
        boxes = [_is_box(mesh) for mesh in islice(_meshes(folder / part), _LOOKED_AT)]
        if 2 * sum(boxes) > len(boxes):
            return PLACEHOLDER
    return OWN


def _meshes(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders.sort()
        yield from (Path(parent, name) for name in sorted(files) if name.endswith(".obj"))


def _is_box(mesh: Path) -> bool:
    with mesh.open(encoding="utf-8", errors="replace") as lines:
        return len(list(islice((line for line in lines if line.startswith("v ")), _BOX + 1))) <= _BOX
