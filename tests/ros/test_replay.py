"""Graph ``replay``: the policy that made a bag gives the same chunks again, another one does not."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.ros.support import make_episode, running
from world2act_core.embodiment import Embodiment
from world2act_core.episodes import BagWriter, read_bag
from world2act_core.runtime.graphs import describe

START = "libero_goal/8/i3"


def replayed(domain: int, **arguments: str) -> tuple[int, str]:
    """Exit code and output."""
    with running(describe("replay").build(arguments), domain) as (processes, output):
        code = processes.wait()
    return code, output.getvalue()


def different(bag: Path, folder: Path, embodiment: Embodiment, by: float) -> Path:
    """The same episode whose first action dimension is another."""
    (episode,) = read_bag(bag, embodiment).episodes
    assert episode.actions is not None
    actions = episode.actions.copy()
    actions[:, 0] = np.where(actions[:, 0] > 0, actions[:, 0] - by, actions[:, 0] + by)
    with BagWriter(folder, embodiment) as writer:
        writer.write_episode(replace(episode, actions=actions))
    return folder


def test_a_demonstration_against_itself_and_against_another(
    domain: int, made_bag: Path, panda: Embodiment, tmp_path: Path
) -> None:
    code, said = replayed(domain, bag=str(made_bag), policy=f"replay:{made_bag}", results=str(tmp_path / "r.json"))
    assert code == 0, said
    assert "4 chunks compared (16 steps), 0 chunks missing" in said and "within the tolerance of 0" in said
    assert json.loads((tmp_path / "r.json").read_text())["max_abs_difference"] == [0.0] * 7
    other = different(made_bag, tmp_path / "other", panda, by=0.25)
    code, said = replayed(domain, bag=str(made_bag), policy=f"replay:{other}")
    assert code == 1 and "NOT within the tolerance of 0" in said and "furthest apart, by 0.25" in said, said
    code, said = replayed(domain, bag=str(made_bag), policy=f"replay:{other}", tolerance="0.3")
    assert code == 0, said


def test_chunks_that_do_not_come_are_missing_with_the_policy_s_own_reason(
    domain: int, made_bag: Path, panda: Embodiment, tmp_path: Path
) -> None:
    with BagWriter(tmp_path / "short", panda) as writer:
        writer.write_episode(make_episode(panda, steps=8))
    policy = f"replay:{tmp_path / 'short'}"
    code, said = replayed(domain, bag=str(made_bag), policy=policy, answer_within_s="4")
    assert code == 1 and "2 chunks missing" in said and "missing 2: no chunk: the recording made is over" in said, said


@pytest.mark.libero
@pytest.mark.slow
def test_a_bag_of_the_simulated_arm_gives_no_difference_with_its_policy(
    domain: int, panda: Embodiment, tmp_path: Path
) -> None:
    demonstration, live = tmp_path / "demonstration", tmp_path / "live"
    script = Path(__file__).with_name("offline_episode.py")
    subprocess.run([sys.executable, str(script), str(demonstration), START], check=True, timeout=300)
    policy = f"replay:{demonstration}"
    graph = describe("sim_arm").build({"policy": policy, "starts": START, "record": str(live)})
    with running(graph, domain) as (processes, output):
        assert processes.wait() == 0, output.getvalue()
    code, said = replayed(domain, bag=str(live), policy=policy)
    assert code == 0 and ", 0 chunks missing" in said, said
    other = different(live, tmp_path / "other", panda, by=0.1)
    code, said = replayed(domain, bag=str(live), policy=f"replay:{other}")
    assert code == 1 and "NOT within the tolerance of 0" in said, said
