"""Training that is killed with SIGKILL and started again ends with the same weights, bit for bit."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.runs.train_all import CHECKPOINT_EVERY, STAGES, STEPS

PROGRAM = Path(__file__).with_name("train_all.py")
KILLED_AT = CHECKPOINT_EVERY + 3
"""Between two checkpoints, so that steps are lost and must be made again."""


def train(folder: Path, *deadly: str) -> int:
    """Start the four stages in a process of their own, or go on with them; returns the exit code."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, str(PROGRAM), str(folder), *deadly]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    assert train(folder) == 0
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Killed once in every stage."""
    folder = tmp_path_factory.mktemp("killed")
    for stage in STAGES:
        assert train(folder, stage, str(KILLED_AT)) == -signal.SIGKILL
        left = torch.load(folder / f"{stage}.pt", weights_only=True)
        assert left["step"] == CHECKPOINT_EVERY, "nothing was left half-way, so nothing would be tested"
    assert train(folder) == 0
    return folder


@pytest.mark.parametrize("stage", STAGES)
def test_killed_training_ends_with_the_same_weights(stage, killed, uninterrupted):
    assert (killed / f"{stage}.weights").read_bytes() == (uninterrupted / f"{stage}.weights").read_bytes()


@pytest.mark.parametrize("stage", STAGES)
def test_killed_training_tells_the_same_history(stage, killed, uninterrupted):
    """A stage that had started afresh, or had made some steps twice, could still agree in its last weights."""
    saved = [torch.load(folder / f"{stage}.pt", weights_only=True) for folder in (killed, uninterrupted)]
    assert [entry["step"] for entry in saved] == [STEPS, STEPS]
    assert saved[0]["history"] == saved[1]["history"]
