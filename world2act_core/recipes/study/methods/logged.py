"""Post-training from logs alone: the base's own rollouts as they were logged, and no rollout of anything newer. What
``world2act post-train`` does, on the logs that all methods have."""

from __future__ import annotations

from dataclasses import replace

from world2act_core.recipes.settings import ON_LOGS, Recipe
from world2act_core.recipes.stage_files import POLICY, RESIDUAL
from world2act_core.recipes.stages import Stages
from world2act_core.recipes.study.cells import Context, Made
from world2act_core.recipes.study.methods.shared import Shared


def logged(context: Context) -> Made:
    """Added to a base that is told, at the logged frames alone, with a little of the contrast: ``--residual added``."""
    return _of_logs(context, _added(context.recipe))


def logged_decode(context: Context) -> Made:
    """The same without the contrast."""
    recipe = _added(context.recipe)
    return _of_logs(context, replace(recipe, stage2=replace(recipe.stage2, contrast=0.0)))


def logged_instead(context: Context) -> Made:
    """In the form of the plan's recipe: ``--residual instead``."""
    return _of_logs(context, context.recipe)


def _added(recipe: Recipe) -> Recipe:
    added = ON_LOGS["added"]
    length = {name: getattr(recipe.stage2, name) for name in ("steps", "batch", "learning_rate")}
    names = "unused", "stage2_on_videos", "stage2_on_demonstrations", "residual"
    form = {name: getattr(added, name) for name in names}
    return replace(recipe, stage2=replace(added.stage2, **length), **form)


def _of_logs(context: Context, recipe: Recipe) -> Made:
    shared, stage = Shared(context), context.stage
    learning, work = shared.learning, Stages(recipe, context.pool)
    trainer = work.trainer(
        learning.demonstrations, learning.base, learning.world_model, learning.stage1, learning.videos
    )
    trainer.train_once(trainer.rolled_out(work.table([learning.free_pairs], with_actions=False)), stage)
    files = learning.base.path(POLICY).resolve(), stage.path(RESIDUAL).resolve()
    figures = {f"stage1_{name}": value for name, value in learning.stage1.metrics.items()}
    return shared.made(f"post-trained:{files[0]},{files[1]}", **figures, **stage.metrics)
