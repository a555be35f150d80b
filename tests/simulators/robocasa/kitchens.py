"""Where tests find RoboCasa: its environment, and kitchens for it."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from world2act_core.errors import MissingExtraError
from world2act_core.simulators.opening import CHECKOUT, family_of
from world2act_core.simulators.robocasa.assets import VARIABLE

PACK = CHECKOUT.parent / "shared" / "robocasa-pack" / "pack.tar.gz"
"""One kitchen of stand-ins, beside the checkout and never in it."""


def interpreter_or_skip() -> Path:
    """RoboCasa's Python; skips with the reason where there is none."""
    try:
        return family_of("robocasa_atomic").interpreter()
    except MissingExtraError as error:
        pytest.skip(str(error))


def kitchens_or_skip(unpack_into: Path) -> Path:
    """A folder of kitchens: the one that is named, or the pack; skips with the reason where there is neither."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    if not PACK.is_file():
        pytest.skip(f"no kitchens: {VARIABLE} is not set and {PACK} is not there")
    with tarfile.open(PACK) as pack:
        pack.extractall(unpack_into, filter="data")
    return unpack_into / "pack"
