"""One LIBERO simulator for all tests of this folder: a process holds only one, and making it takes seconds."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest

from world2act_core.simulators.libero import LiberoSimulator


@pytest.fixture(scope="package")
def simulator() -> Iterator[LiberoSimulator]:
    if importlib.util.find_spec("libero") is None:
        pytest.skip("LIBERO is not installed (extra: libero)")
    simulator = LiberoSimulator("libero_goal", 8)
    yield simulator
    simulator.close()
