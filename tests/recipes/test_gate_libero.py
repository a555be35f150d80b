"""The gate's command with LIBERO and policies that know nothing, killed in the middle: minutes, so marked slow."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.learning.scenes import EMBODIMENT
from tests.recipes.gate_runs import make_run
from world2act_core.alignment.adapters import AdapterConfig, Alignment
from world2act_core.errors import RunError
from world2act_core.evaluation.signature import KEY_VARIABLE, read_gate, require_gate
from world2act_core.networks.codec import PatchCodec
from world2act_core.policies.compact import CompactConfig, new_network, save_compact
from world2act_core.policies.run_folder import policy_files
from world2act_core.residual.files import save_residual
from world2act_core.residual.network import Residual, ResidualConfig
from world2act_core.runs import file_digest

LIMIT_S = 500
pytestmark = [pytest.mark.slow, pytest.mark.libero, pytest.mark.timeout(2 * LIMIT_S)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("libero", reason="LIBERO is not installed: make setup")
    torch.manual_seed(0)
    config = CompactConfig(width=4, features=8)
    proprio = sum(EMBODIMENT.state[name].size for name in config.streams)
    folder = tmp_path_factory.mktemp("gate") / "run"

    def residual(path: Path) -> None:
        alignment = Alignment(AdapterConfig((4, 4, 4)))
        network = Residual(ResidualConfig(), alignment, proprio, torch.ones(7, dtype=torch.bool), PatchCodec(64, 2))
        identity = file_digest(policy_files(folder)["base"])
        save_residual(path, network, ResidualConfig(), alignment, identity, config, EMBODIMENT)

    def base(path: Path) -> None:
        save_compact(path, new_network(config, EMBODIMENT), config, EMBODIMENT)

    return make_run(folder, base, residual)


def start(run: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "world2act_core.cli", "gate", str(run), "--starts", "8", "--workers", "2"]
    environment = {name: value for name, value in os.environ.items() if name != KEY_VARIABLE}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def logged(run: Path) -> list[dict[str, object]]:
    """The whole lines of the trial log, without its first."""
    lines = [line for log in (run / "gate").glob("trials-*.jsonl") for line in log.read_text().splitlines(True)[1:]]
    return [json.loads(line) for line in lines if line.endswith("\n")]


def test_it_is_killed_goes_on_and_says_that_nothing_is_shown(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    killed, deadline = start(run), time.monotonic() + LIMIT_S
    while len(logged(run)) < 2:
        assert killed.poll() is None and time.monotonic() < deadline, killed.communicate()
        time.sleep(0.05)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    before = logged(run)
    assert not (run / "gate.json").exists()

    second = start(run)
    out, errors = second.communicate(timeout=LIMIT_S)
    assert second.returncode == 1, errors
    after = logged(run)
    assert after[: len(before)] == before and len(after) > len(before)
    gate = read_gate(run)
    assert gate.test.decision == "not shown"
    assert gate.trials.n == 3, "with 8 starts, 6 gains and no loss are needed: after 3 without a gain it is over"
    assert {(t["policy"], t["start_id"]) for t in before} <= {(t["policy"], t["start_id"]) for t in after}
    assert "Verdict: FAIL, it is not shown that the post-trained policy is better than the base policy" in out
    with pytest.raises(RunError, match="was not passed"):
        require_gate(run)
