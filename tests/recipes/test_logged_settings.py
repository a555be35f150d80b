"""A robot's own logs are post-trained with care for a base that may be good."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from tests.embodiment.contracts import of_poses
from world2act_core.embodiment import load_embodiment
from world2act_core.errors import World2ActError
from world2act_core.recipes.offline import Logs, OfflineLearning
from world2act_core.recipes.overrides import as_json
from world2act_core.recipes.settings import NOT_OF_LOGS, Recipe, read_logged_recipe, read_recipe
from world2act_core.recipes.trainer import moved_dimensions
from world2act_core.runs import Run, Stage

ROOT = Path(__file__).resolve().parents[2]
USED = torch.tensor([True] * 3 + [False] * 3 + [True])


def test_a_recipe_goes_over_the_settings_for_logs(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("stage2: {steps: 20}\n")
    recipe, _ = read_logged_recipe(path)
    assert recipe == read_recipe(path), "the demo's form"
    assert (recipe.residual.correction, recipe.stage2.steps) == ("instead", 20)


def test_of_arms_commanded_by_positions_the_base_keeps_what_is_not_used_and_more_where_less_is_known(tmp_path):
    path, named = tmp_path / "mine.yaml", str(of_poses(tmp_path))
    path.write_text("embodiment: ur5e\n")
    assert read_logged_recipe(path)[0] == replace(Recipe(), embodiment="ur5e", unused="base"), "it would creep"
    recipe, _ = read_logged_recipe(path, named)
    assert (recipe.embodiment, recipe.unused) == (named, "base")
    assert (recipe.residual.correction, recipe.residual.hide_base) == ("added", 0.0)
    path.write_text("unused: still\nresidual: {correction: instead}\n")
    assert read_logged_recipe(path, "ur5e")[0].unused == "still"
    with pytest.raises(World2ActError, match=r"of every action dimension of pose_arm \(eef_pose\): set unused: base"):
        read_logged_recipe(path, named)


def test_what_nothing_on_logs_goes_by_is_refused_with_key_and_reason(tmp_path):
    path = tmp_path / "mine.yaml"
    for key, why in NOT_OF_LOGS.items():
        path.write_text(json.dumps({"seed": 3, key: as_json(Recipe())[key]}))
        with pytest.raises(World2ActError, match=rf"mine\.yaml: {key} means nothing on logs: {re.escape(why)}"):
            read_logged_recipe(path)


def test_every_other_setting_is_in_what_a_stage_on_logs_goes_by(tmp_path, monkeypatch):
    """Those of the command itself apart."""
    logs = Logs((tmp_path,), (tmp_path,))
    with Run(tmp_path / "run", announce=lambda line: None) as run:
        asked: set[str] = set()

        def noted(name, work, *, config=None, inputs=(), code=()):
            asked.update(config)
            return Stage(name, tmp_path, "", {}, {})

        monkeypatch.setattr(run, "stage", noted)
        monkeypatch.setattr(run, "is_sealed", lambda *name, **how: True)
        (tmp_path / "bag.mcap").touch()
        learning = OfflineLearning(Recipe(stage2_on_videos="states"), run, logs, None)
        assert learning.stage2.name == "stage2"
    assert {field.name for field in fields(Recipe)} - set(NOT_OF_LOGS) <= asked


def test_cameras_that_the_file_names_are_told_apart_from_those_it_does_not(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("cameras: [wrist]\n")
    recipe, cameras = read_logged_recipe(path)
    assert cameras == recipe.cameras == ("wrist",)
    path.write_text("seed: 7\n")
    recipe, cameras = read_logged_recipe(path)
    assert (recipe, cameras) == (replace(Recipe(), seed=7), None)
    assert read_logged_recipe(None) == (Recipe(), None)


@pytest.mark.parametrize("name", ["minutes.yaml"])
def test_shipped_recipes_for_logs_are_taken(name):
    read_logged_recipe(ROOT / "recipes" / name)


def test_what_is_not_used_is_the_bases_or_held_still():
    robot = load_embodiment("libero_panda")
    assert torch.equal(moved_dimensions(USED, "base", robot), USED)
    assert moved_dimensions(USED, "still", robot).all()
    pushing = USED & (torch.arange(7) != robot.gripper.index)
    assert moved_dimensions(pushing, "still", robot).tolist() == [True] * 6 + [False], "no value of a gripper is rest"


def test_an_arm_is_held_still_where_its_state_says_where_that_is(tmp_path):
    assert moved_dimensions(USED, "still", load_embodiment("ur5e")).all(), "joints: a displacement of 0"
    with pytest.raises(World2ActError, match=r"of every action dimension of pose_arm \(eef_pose\): set unused: base"):
        moved_dimensions(USED, "still", load_embodiment(of_poses(tmp_path)))
