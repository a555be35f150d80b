"""A task of two skills, from the command line: skills advance by what the gripper does, and the bag tells it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from world2act_core.embodiment import Embodiment
from world2act_core.episodes import describe_bag, read_bag
from world2act_core.episodes.messages import SKILL_PROMPT
from world2act_core.episodes.storage import bag_messages, decode

START = "libero_object/0/i0"
PROMPTS = ["pick up the alphabet soup", "place the alphabet soup in the basket"]

pytestmark = [pytest.mark.libero, pytest.mark.slow]


def world2act(domain: int, *arguments: str) -> str:
    command = [sys.executable, "-m", "world2act_core.cli", *arguments]
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_two_skill_task_through_real_arm_is_recorded_and_replayed(
    domain: int, panda: Embodiment, tmp_path: Path
) -> None:
    demonstration, live = tmp_path / "demonstration", tmp_path / "live"
    script = Path(__file__).with_name("offline_episode.py")
    subprocess.run([sys.executable, str(script), str(demonstration), START], check=True, timeout=300)
    policy = f"policy:=replay:{demonstration}"
    task = ["robot:=sim", "task:=libero_object/0", f"starts:={START}", "skills:=split"]
    said = world2act(domain, "up", "real_arm", *task, policy, f"record:={live}")
    assert "skill 2 of 2 begins: its events were seen" in said and '"outcome": "success"' in said
    (episode,) = describe_bag(live).episodes
    assert (episode.outcome, episode.chunks * panda.chunk_length) == ("success", episode.steps)
    assert [prompt for prompt, _, _ in episode.skills] == PROMPTS
    spoken = [decode(raw) for raw in bag_messages(live) if raw.type_name == SKILL_PROMPT]
    assert [(p.skill, p.index, p.count) for p in spoken[:2]] == [(PROMPTS[0], 0, 2), (PROMPTS[1], 1, 2)]
    # The demonstrator knows when it held the soup; the graph sees it in the fingers, at the end of a chunk of commands,
    # to which an arm on a slow machine has not come yet, or by which a slow prompter is late.
    (truth,) = read_bag(demonstration, panda).episodes
    second = truth.skills[1]
    assert -20 <= episode.skills[1][1] - second.start <= (second.end - second.start) / 2
    assert f"{episode.chunks} chunks compared" in world2act(domain, "up", "replay", f"bag:={live}", policy)
