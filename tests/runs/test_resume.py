"""Training that is killed with SIGKILL and started again ends with the same weights, bit for bit."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("train_one.py")


def start(stage: str, folder: Path, pause: float) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, str(SCRIPT), stage, str(folder), str(pause)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(stage: str, folder: Path) -> bytes:
    process = start(stage, folder, 0.0)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    return (folder / "weights.bin").read_bytes()


def kill_after_two_checkpoints(stage: str, folder: Path) -> None:
    process = start(stage, folder, 0.3)
    assert process.stdout is not None
    for _ in range(2):
        assert process.stdout.readline().startswith("checkpoint")
    time.sleep(0.31)  # into the steps behind the checkpoint
    process.kill()
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    assert not (folder / "weights.bin").exists(), "the kill came too late to test anything"


@pytest.mark.parametrize("stage", ["base", "world_model", "stage1", "stage2"])
def test_killed_training_ends_with_the_same_weights(stage, tmp_path):
    whole = finish(stage, tmp_path / "whole")
    kill_after_two_checkpoints(stage, tmp_path / "killed")
    assert finish(stage, tmp_path / "killed") == whole
