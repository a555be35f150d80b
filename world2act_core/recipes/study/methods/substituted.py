"""What limits post-training: the truth in the place of one part at a time (ours).

All four train the residual at the frames of the action-free videos, because there the truth is known: what really
followed, and what was really done; in one round, of as many steps as all of Stage 2 has. ``at_videos`` is the reference
that has no truth in it.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from world2act_core.episodes.chunks import displaced
from world2act_core.recipes.stage_files import POLICY, RESIDUAL
from world2act_core.recipes.stages import Stages
from world2act_core.recipes.study.cells import Context, Made
from world2act_core.recipes.study.methods.shared import Shared
from world2act_core.runs import Stage
from world2act_core.world_model.chunk_latents import imagined_latents, real_latents


def at_videos(context: Context) -> Made:
    """Imagined latents, read by the adapter: Stage 2 at the frames of the videos and nowhere else."""
    shared = Shared(context)
    return _trained(context, shared, shared.learning.stage1)


def true_latents(context: Context) -> Made:
    """The latents that really followed in the place of the world model's."""
    shared = Shared(context)
    return _trained(context, shared, shared.learning.stage1, true_latents=True)


def true_adapter(context: Context) -> Made:
    """An adapter that was trained on the true actions of the videos, reading imagined latents."""
    shared = Shared(context)
    learning = shared.learning
    stage1 = learning.stage1_of("stage1_of_true_actions", learning.world_model, labelled=learning.videos)
    return _trained(context, shared, stage1)


def true_actions(context: Context) -> Made:
    """The actions that were really done as what the decode term asks for, and no contrast, which would ask for what the
    adapter reads: what is left is the residual's own limit."""
    shared = Shared(context)
    return _trained(context, shared, shared.learning.stage1, true_actions=True)


def _trained(
    context: Context, shared: Shared, stage1: Stage, *, true_latents: bool = False, true_actions: bool = False
) -> Made:
    learning, stage = shared.learning, context.stage
    table = learning.work.table([learning.videos])
    recipe = context.recipe
    stage2 = replace(recipe.stage2, steps=recipe.rounds * recipe.stage2.steps)
    if true_actions:
        stage2 = replace(stage2, contrast=0.0)
    work = Stages(replace(recipe, stage2=stage2), context.pool)
    trainer = work.trainer(learning.demonstrations, learning.base, learning.world_model, stage1)
    latents = (real_latents if true_latents else imagined_latents)(trainer.model, table)
    data = trainer.chunks_of(table, latents, imagined=not true_latents)
    if true_actions:
        data = replace(data, wanted=torch.from_numpy(displaced(table, trainer.alignment.displacement).actions))
    trainer.train_once(data, stage)
    files = learning.base.path(POLICY).resolve(), stage.path(RESIDUAL).resolve()
    figures = {f"stage1_{name}": value for name, value in stage1.metrics.items()}
    return shared.made(f"post-trained:{files[0]},{files[1]}", **figures, **stage.metrics)
