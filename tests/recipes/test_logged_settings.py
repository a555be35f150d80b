"""A robot's own logs are post-trained with care for a base that may be good."""

from __future__ import annotations

import pytest
import torch

from world2act_core.embodiment import load_embodiment
from world2act_core.errors import World2ActError
from world2act_core.recipes.settings import LOGGED, read_recipe
from world2act_core.recipes.stages import moved_dimensions

USED = torch.tensor([True] * 3 + [False] * 3 + [True])


def test_a_recipe_goes_over_the_settings_for_logs(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("stage2: {steps: 20}\n")
    recipe = read_recipe(path, LOGGED)
    assert recipe.stage2.steps == 20
    assert (recipe.residual.correction, recipe.residual.hide_base, recipe.unused) == ("added", 0.0, "base")
    assert (recipe.stage2_on_videos, recipe.stage2_on_demonstrations) == ("none", 0.0)
    assert read_recipe(path).residual.correction == "instead"


def test_what_is_not_used_is_the_bases_or_held_still():
    robot = load_embodiment("libero_panda")
    assert torch.equal(moved_dimensions(USED, "base", robot), USED)
    assert moved_dimensions(USED, "still", robot).all()


def test_positions_are_not_held_still_by_asking_for_zero():
    robot = load_embodiment("ur5e")
    assert not robot.action.kind.endswith("_delta")
    with pytest.raises(World2ActError, match="no rest for ur5e, whose actions are joint_positions: set unused: base"):
        moved_dimensions(USED, "still", robot)
