"""RoboCasa in its own environment, driven from this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulators.robocasa.kitchens import interpreter_or_skip, kitchens_or_skip
from world2act_core.simulators.remote.client import RemoteSimulator
from world2act_core.simulators.robocasa.assets import VARIABLE

DRAWER = ("robocasa_atomic", 13)
"""Suite and task: CloseDrawer."""


@pytest.fixture(scope="package")
def robocasa(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """RoboCasa's Python, with kitchens for it in the environment variables."""
    interpreter = interpreter_or_skip()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(kitchens_or_skip(tmp_path_factory.mktemp("kitchens"))))
        patch.setenv("MUJOCO_GL", os.environ.get("MUJOCO_GL", "osmesa"))
        yield interpreter


@pytest.fixture(scope="package")
def drawer(robocasa: Path) -> Iterator[RemoteSimulator]:
    """One simulator for all tests of this folder: each start of it takes seconds."""
    simulator = RemoteSimulator(*DRAWER)
    yield simulator
    simulator.close()
