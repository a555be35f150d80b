"""``world2act serve`` in one process and ``world2act eval`` in another, as docs/policies.md tells a newcomer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.learning.scenes import EMBODIMENT
from tests.policies.served import ROOT, serving
from world2act_core.episodes.chunks import chunk_table
from world2act_core.evaluation.suite import SuiteResults, read_suite
from world2act_core.policies.compact import CompactConfig, save_compact, train_compact
from world2act_core.simulators.demonstrators.library import demonstrator
from world2act_core.simulators.libero import LiberoSimulator
from world2act_core.simulators.rollout import rollout
from world2act_core.simulators.starts import Start

pytestmark = [pytest.mark.libero, pytest.mark.slow, pytest.mark.timeout(1800)]
pytest.importorskip("libero", reason="LIBERO is not installed: make setup")
LIMIT_S = 600
SUITE, TASK = "libero_goal", 8


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a small policy that looks through both cameras and knows one demonstration by heart."""
    folder = tmp_path_factory.mktemp("policy")
    config = CompactConfig(encoder="patches", steps=1500, batch=16)
    simulator = LiberoSimulator(SUITE, TASK)
    try:
        shown = rollout(
            simulator, demonstrator(SUITE, TASK), Start(SUITE, TASK, 0),
            episode_id="shown", source="demonstrator", cameras=config.cameras, extra_chunks=1,
        )  # fmt: skip
    finally:
        simulator.close()
    table = chunk_table([shown], EMBODIMENT, config.cameras, config.streams, config.image_size)
    network, _ = train_compact(table, EMBODIMENT, config, 0, folder / "checkpoint.pt")
    save_compact(folder / "policy.pt", network, config, EMBODIMENT)
    return f"compact:{folder / 'policy.pt'}"


@pytest.fixture(scope="module")
def in_process(policy: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("in_process")
    evaluated(policy, out)
    return out


def evaluated(policy: str, out: Path, *more: str) -> tuple[SuiteResults, str]:
    """What ``world2act eval`` wrote and printed."""
    named = ["--suite", SUITE, "--tasks", str(TASK), "--episodes", "3", "--out", str(out), "--no-videos"]
    command = [sys.executable, "-m", "world2act_core.cli", "eval", "--policy", policy, *named, *more]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=LIMIT_S)
    return read_suite(out / "evaluation.json"), done.stdout


def outcomes(results: SuiteResults) -> dict[str, tuple[bool, int]]:
    return {trial.start_id: (trial.success, trial.steps) for trial in results.trials}


@pytest.mark.parametrize("protocol", ["gr00t", "openpi"])
def test_a_served_policy_does_on_every_start_what_it_does_in_process(
    protocol: str, policy: str, in_process: Path, tmp_path: Path
) -> None:
    with serving("--policy", policy, "--protocol", protocol) as (_, port):
        served, said = evaluated(f"{protocol}://127.0.0.1:{port}", tmp_path, "--against", str(in_process))
    here = read_suite(in_process / "evaluation.json")
    assert outcomes(served) == outcomes(here)
    assert len(here.trials) == 3 and any(trial.success for trial in here.trials), "what always fails shows nothing"
    assert served.rendering == here.rendering and served.protocol == here.protocol
    assert list(served.policy["identity"].values()) == list(here.policy["identity"].values())
    assert "0 starts gained, 0 lost, 3 alike" in said
