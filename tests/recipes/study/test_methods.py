"""Every method that a plan may name, for real but with next to no learning: it makes a policy that can be tried."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from world2act_core.recipes.study.cells import run_cell
from world2act_core.recipes.study.methods import METHODS
from world2act_core.recipes.study.plan import read_plan
from world2act_core.runs.stage import read_stage
from world2act_core.simulators.workers import WorkerPool

pytestmark = [pytest.mark.slow, pytest.mark.libero, pytest.mark.timeout(1200)]

PLAN = f"""
name: all methods
tasks: [libero_goal/8, libero_object/0] # of the second only demonstrations are made, for the first's contrast
held_out: {{first: 35, last: 49, count: 1, seed: 50000, jitter_cm: 3}}
max_steps: 8
methods: [{", ".join(METHODS)}]
shifted_methods: []
recipe:
  workers: 1
  torch_threads: 1
  demonstrations: {{count: 6}}
  pretraining: {{count: 2}}
  videos: {{count: 12}} # with the demonstrations enough to keep two for measuring true_adapter
  free_pairs: {{count: 12}}
  post_training: {{count: 2}}
  pair_steps: 24
  rollout_steps: 24
  rounds: 2
  stage2_on_videos: states
  base: {{steps: 20}}
  cloning: {{steps: 20}}
  inverse_dynamics: {{steps: 20, width: 8}}
  world_model: {{width: 16, steps: 20, batch: 8}}
  stage1: {{steps: 20}}
  states: {{steps: 20}}
  calibration: {{steps: 20}}
  stage2: {{steps: 20, batch: 32}}
  residual: {{encoder: patches}}
"""


def test_every_method_makes_a_policy_and_what_they_share_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    plan = read_plan(path)
    said: list[str] = []
    with WorkerPool(1) as pool:
        record = run_cell(plan, plan.cells[0], tmp_path / "out", pool, METHODS, announce=said.append)
    assert set(record.methods) == set(METHODS)
    made_by = {name: record.methods[name].minutes for name in METHODS}
    assert made_by["post_trained"] > made_by["base"] > 0, "what a method costs counts what it stands on"
    assert "checkpoints" in record.methods["post_trained"].figures
    shared = tmp_path / "out" / "tasks" / "libero_goal_8"
    assert {path.parent.name for path in shared.glob("*/manifest.json")} == {
        "demonstrations", "pretraining", "videos", "base", "free_pairs"}  # fmt: skip
    assert read_stage(shared / "videos").starts, "the evaluation must know which starts were seen"
    assert set(json.loads((shared / "base" / "manifest.json").read_text())["inputs"]) == {"pretraining"}


def test_an_arm_under_joint_commands_goes_the_whole_way(tmp_path: Path) -> None:
    """What goes by the contract of the task, not of the plan's recipe: reading rollouts, labels, trials."""
    wanted = ("base", "post_trained", "state_labels", "logged_instead")
    path = tmp_path / "plan.yaml"
    plain = PLAN.replace("tasks: [libero_goal/8, libero_object/0]", "tasks: [libero_goal@libero_panda_joints/8]")
    path.write_text(plain.replace(", ".join(METHODS), ", ".join(wanted)).replace("pretraining: {count: 2}", ""))
    plan = read_plan(path)
    with WorkerPool(1) as pool:
        record = run_cell(plan, plan.cells[0], tmp_path / "out", pool, METHODS, announce=print)
    assert set(record.methods) == set(wanted)
    started = [start for method in record.methods.values() for start in method.trials["held_out"]]
    assert all(trial.start_id.startswith("libero_goal@libero_panda_joints/8/") for trial in started)
