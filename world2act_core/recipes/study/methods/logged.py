"""Post-training from logs alone: the base's own rollouts as they were logged, and no rollout of anything newer. As
``world2act post-train`` does it, on the logs that all methods have."""

from __future__ import annotations

from dataclasses import replace

from world2act_core.recipes.settings import Recipe
from world2act_core.recipes.stage_files import POLICY, RESIDUAL
from world2act_core.recipes.stages import Stages
from world2act_core.recipes.study.cells import Context, Made
from world2act_core.recipes.study.methods.shared import Shared
from world2act_core.residual.network import ResidualConfig


def logged(context: Context) -> Made:
    """Added to a base that is told, at the logged frames alone, with a little of the contrast; what is not used is the
    base's. The default of ``world2act post-train`` until it was compared with ``logged_instead``."""
    return _of_logs(context, _with_care_for_the_base(context.recipe, contrast=0.02))


def logged_decode(context: Context) -> Made:
    """The same without the contrast."""
    return _of_logs(context, _with_care_for_the_base(context.recipe, contrast=0.0))


def logged_instead(context: Context) -> Made:
    """In the form of the plan's recipe, as ``world2act post-train``."""
    return _of_logs(context, context.recipe)


def _with_care_for_the_base(recipe: Recipe, contrast: float) -> Recipe:
    return replace(
        recipe,
        unused="base",
        stage2_on_videos="none",
        stage2_on_demonstrations=0.0,
        residual=ResidualConfig(encoder="patches", features=128),
        stage2=replace(recipe.stage2, contrast=contrast, penalty=0.01),
    )


def _of_logs(context: Context, recipe: Recipe) -> Made:
    shared, stage = Shared(context), context.stage
    learning, work = shared.learning, Stages(recipe, context.pool)
    read = learning.demonstrations, learning.base, learning.world_model, learning.stage1, learning.videos
    trainer = work.trainer(*read, learning.told_by_states)
    trainer.train_once(trainer.rolled_out(work.table([learning.free_pairs], with_actions=False)), stage)
    files = learning.base.path(POLICY).resolve(), stage.path(RESIDUAL).resolve()
    figures = {f"stage1_{name}": value for name, value in learning.stage1.metrics.items()}
    return shared.made(f"post-trained:{files[0]},{files[1]}", **figures, **stage.metrics)
