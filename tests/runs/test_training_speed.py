"""What makes a step of training cheap changes no number and keeps the memory that a step frees."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from world2act_core.runs import training

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_the_seed_of_a_step_is_torchs(seed: int) -> None:
    torch.manual_seed(seed)
    expected = torch.rand(5)
    training._seed_torch(seed)
    assert torch.equal(torch.rand(5), expected)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_freed_memory_is_used_again_without_new_pages() -> None:
    """Three tensors of 12 MB, freed together: by itself glibc gives their 9000 pages back every time."""
    code = """
import resource, torch
from world2act_core.runs.training import _keep_freed_memory
_keep_freed_memory()
def step():
    tensors = [torch.empty(3 << 20).fill_(1.0) for _ in range(3)]
for _ in range(5):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 20)"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 900
