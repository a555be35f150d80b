"""The toy's interpreter, and a toy in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulators.remote import toy
from world2act_core.simulators.opening import Patience
from world2act_core.simulators.remote.client import RemoteSimulator


@pytest.fixture(autouse=True)
def interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = toy.write_interpreter(tmp_path / "python")
    monkeypatch.setenv(toy.VARIABLE, str(path))
    return path


@pytest.fixture
def remote(interpreter: Path) -> Iterator[RemoteSimulator]:
    simulator = RemoteSimulator(toy.SUITE, 0)
    yield simulator
    simulator.close()


@pytest.fixture
def hasty(interpreter: Path) -> Iterator[RemoteSimulator]:
    """One whose client soon loses patience with a call."""
    simulator = RemoteSimulator(toy.SUITE, 0, patience=Patience(call_s=0.5))
    yield simulator
    simulator.close()
