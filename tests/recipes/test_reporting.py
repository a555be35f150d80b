"""The line on deployment that ends a run."""

from __future__ import annotations

import json

import pytest

from world2act_core.evaluation import Trial, pair_trials
from world2act_core.recipes.deployment import OUTCOMES, read_outcomes
from world2act_core.recipes.evaluation import BASE, POST, commit, example_starts
from world2act_core.recipes.reporting import deployment_line
from world2act_core.runs import Stage

STARTS = [f"libero_goal/8/i{index}+3cm#{index}" for index in range(4)]


@pytest.fixture
def deployment(tmp_path):
    stage = Stage("deployment", tmp_path, "key", {}, {})
    ends = ("success", "failure", "success")
    entries = [{"start_id": start, "outcome": end} for start, end in zip(STARTS, ends, strict=False)]
    stage.path(OUTCOMES).write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    stage.metrics = {"episodes": 3, "successes": 2}
    return stage


def test_it_counts_the_episodes_that_end_as_the_same_starts_did_in_process(deployment):
    base = [Trial(start, BASE, False, 300, 1.0) for start in STARTS]
    solved = (True, False, False, True)
    post = [Trial(start, POST, success, 90, 1.0) for start, success in zip(STARTS, solved, strict=True)]
    line = deployment_line(deployment, pair_trials(base, post))
    assert line.startswith("ROS 2 graph: 2 of 3 episodes solved with the post-trained policy")
    assert line.endswith("2 of 3 end as the same starts did in process")


def test_outcomes_are_read_in_order_and_none_are_none(deployment, tmp_path):
    assert [entry["start_id"] for entry in read_outcomes(deployment)] == STARTS[:3]
    assert read_outcomes(Stage("other", tmp_path / "nowhere", "key", {}, {})) == []


def test_the_commit_is_a_hash_or_nothing():
    assert commit() == "" or (len(commit()) == 40 and int(commit(), 16))


@pytest.mark.parametrize(("outcomes", "shown"), [("bpppn", ["s1", "s4"]), ("pbbbn", ["s1", "s4"]), ("nnn", ["s0"])])
def test_the_examples_show_the_commoner_difference_not_the_kinder_one(outcomes, shown):
    """b: only the base solves it, p: only the post-trained policy, n: neither."""
    starts = [f"s{index}" for index in range(len(outcomes))]
    base = [Trial(start, "base", outcome == "b", 10, 1.0) for start, outcome in zip(starts, outcomes, strict=True)]
    post = [Trial(start, "post", outcome == "p", 10, 1.0) for start, outcome in zip(starts, outcomes, strict=True)]
    assert example_starts(pair_trials(base, post)) == shown
