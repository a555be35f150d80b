"""Fine-tuning in processes of its own: killed and started again, shared by two, sharded over two."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.world_model.cosmos_scene import Lenient
from tests.world_model.finetune_scene import QUICK, make_scene
from world2act_core.world_model.cosmos.finetune.train import finetune, read_log

pytestmark = pytest.mark.slow

SCRIPT = str(Path(__file__).with_name("finetune_run.py"))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Tiny weights and a cache."""
    return make_scene(tmp_path_factory.mktemp("scene"))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums over several threads differ in their last bits."""
    from accelerate.state import AcceleratorState

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    AcceleratorState._reset_state()
    yield
    AcceleratorState._reset_state()
    torch.set_num_threads(threads)


def in_process(run: Path, scene: tuple[Path, Path], method: str, batch: int = 2) -> None:
    weights, cache = scene
    finetune(run, cache, weights, replace(QUICK, method=method, batch=batch), safety_checker=Lenient())


def start(run: Path, scene: tuple[Path, Path], method: str, batch: int, moment: str, processes: int = 1) -> int:
    """The exit code of a run in ``processes`` processes of its own."""
    launcher = [sys.executable]
    if processes > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        launcher += ["-m", "torch.distributed.run", "--nproc_per_node", str(processes)]
        launcher += ["--master_addr", "127.0.0.1", "--master_port", str(port)]
    command = [*launcher, SCRIPT, str(run), str(scene[1]), str(scene[0]), method, str(batch), moment]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, timeout=170).returncode


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    (path,) = run.glob("*/*.safetensors")
    return load_file(path)


@pytest.mark.parametrize("method, moment, kept", [("lora", "step-5", 4), ("full", "save-4", 2)])
def test_a_killed_run_ends_as_if_nothing_had_happened(
    scene: tuple[Path, Path], tmp_path: Path, method: str, moment: str, kept: int
) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    assert start(killed, scene, method, 2, moment) == -signal.SIGKILL
    assert [path.name for path in (killed / "checkpoints").glob("step-*")] == [f"step-{kept:08d}"]
    in_process(killed, scene, method)
    in_process(whole, scene, method)
    one, other = weights_of(killed), weights_of(whole)
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert read_log(killed) == read_log(whole)


@pytest.mark.parametrize("method, moment", [("lora", ""), ("full", "sharded")])
def test_two_processes_learn_what_one_learns_from_the_same_batch(
    scene: tuple[Path, Path], tmp_path: Path, method: str, moment: str
) -> None:
    two, one = tmp_path / "two", tmp_path / "one"
    assert start(two, scene, method, 4, moment, processes=2) == 0
    in_process(one, scene, method, batch=4)
    assert '"processes": 2' in (two / "manifest.json").read_text()
    for shared, alone in zip(read_log(two), read_log(one), strict=True):
        assert shared == pytest.approx(alone, rel=1e-4)
    for name, weight in weights_of(one).items():
        torch.testing.assert_close(weights_of(two)[name], weight, atol=1e-5, rtol=1e-4)
