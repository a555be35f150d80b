"""World2Act's post-training, what it is without one of its parts, and its imagination executed directly."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from world2act_core.baselines.finetuning import FinetuningConfig, finetune
from world2act_core.policies.compact import load_compact, save_compact
from world2act_core.recipes.recording import read_collection, record
from world2act_core.recipes.settings import Recipe
from world2act_core.recipes.stage_files import ALIGNMENT, BAGS, HISTORY, POLICY, RESIDUAL, WORLD_MODEL
from world2act_core.recipes.stages import Stages
from world2act_core.recipes.study.cells import Context, Made
from world2act_core.recipes.study.methods.shared import Shared
from world2act_core.residual.train import Objective
from world2act_core.runs import Stage


def post_trained(context: Context) -> Made:
    """As the plan's recipe says."""
    return _stage2(context, context.recipe)


def decode_only(context: Context) -> Made:
    """Without the contrast."""
    return _stage2(context, _with(context.recipe, contrast=0.0))


def with_contrast(context: Context) -> Made:
    """With a little of the contrast beside the decode term."""
    return _stage2(context, _with(context.recipe, contrast=0.02))


def contrast_across(context: Context) -> Made:
    """The same, where chunks of the plan's other tasks are negatives too."""
    return _stage2(context, _with(context.recipe, contrast=0.02), across=True)


def added(context: Context) -> Made:
    """What f_theta says is added to the base's action, which it is told."""
    return _stage2(context, _adding(context.recipe))


def added_with_contrast(context: Context) -> Made:
    """The same, with a little of the contrast."""
    return _stage2(context, _with(_adding(context.recipe), contrast=0.02))


def contrast_only(context: Context) -> Made:
    """The paper's Stage 2 (section 3.3): the contrastive loss over sequences alone, on rollouts alone."""
    return _stage2(context, _contrast_only(context.recipe))


def masked(context: Context) -> Made:
    """Unused action dimensions left to the base, where the recipe holds them still."""
    return _stage2(context, replace(context.recipe, unused="base"))


def bounded(context: Context) -> Made:
    """No action moved further from the base's than by 0.5, a quarter of its range."""
    return _stage2(context, _bounded(context.recipe))


def added_bounded(context: Context) -> Made:
    """The same of what is added."""
    return _stage2(context, _bounded(_adding(context.recipe)))


def added_penalised(context: Context) -> Made:
    """Added, and asked to be no larger than it need be."""
    return _stage2(context, _with(_adding(context.recipe), penalty=0.01))


def contrast_on_manifold(context: Context) -> Made:
    """The paper's Stage 2, and the final action should be one that D_a can say."""
    return _stage2(context, _with(_contrast_only(context.recipe), manifold=1.0))


def without_demonstrations(context: Context) -> Made:
    """Without the frames of the demonstrations."""
    return _stage2(context, replace(context.recipe, stage2_on_demonstrations=0.0))


def read_from_video(context: Context) -> Made:
    """At the videos' frames the actions are read from what the video shows, not from how the robot's state changed."""
    return _stage2(context, replace(context.recipe, stage2_on_videos="real"))


def rollouts_only(context: Context) -> Made:
    """Without frames of videos and demonstrations, which Stage 2 of the paper does not see either."""
    return _stage2(context, _on_rollouts_alone(context.recipe))


def imagined_once(context: Context) -> Made:
    """Each skill imagined once, from its first frame, and matched chunk by chunk: the paper's targets (section 3.3).
    Where a recipe's clips are whole tasks, the episode is the skill."""
    return _stage2(context, _imagining(context.recipe, start="skill"))


def by_progress(context: Context) -> Made:
    """Each skill imagined once, matched by how far the rollout has come."""
    return _stage2(context, _imagining(context.recipe, start="skill", match="progress"))


def without_videos(context: Context) -> Made:
    """With a world model that saw the demonstrations only: what the action-free videos are worth."""
    shared = Shared(context)
    learning = shared.learning
    world_model = learning.world_model_of("world_model_of_demonstrations", learning.demonstrations)
    stage1 = learning.stage1_of("stage1_of_demonstrations", world_model, videos=learning.demonstrations)
    recipe = replace(context.recipe, stage2_on_videos="none")
    work = Stages(recipe, context.pool)
    work.stage2(context.stage, learning.demonstrations, learning.base, learning.videos, world_model, stage1)
    return _made(shared, context, recipe, stage1)


def fine_tuned(context: Context) -> Made:
    """All weights of the base, trained with the same objective on the same starts and videos, in one round."""
    shared, stage, recipe = Shared(context), context.stage, context.recipe
    learning, work = shared.learning, shared.learning.work
    base = learning.base.path(POLICY)
    policy = load_compact(base, context.embodiment)
    read = learning.demonstrations, learning.base, learning.world_model, learning.stage1, learning.videos
    trainer = work.trainer(*read, learning.told_by_states)
    bags, starts = stage.scratch / BAGS, recipe.starts(recipe.post_training)
    attempts = work.attempts(bags, starts, "base", (0.0,), base=str(base), max_steps=recipe.rollout_steps)
    record(context.pool, attempts, "rollouts")
    data = trainer.rolled_out(work.folders_table([bags]))
    assert data.wanted is not None
    used = trainer.used  # no mask holds a base's other action dimensions: it is asked to go on there as it did
    data = replace(data, wanted=torch.where(used, data.wanted, data.base))
    config = replace(recipe.stage2, steps=recipe.rounds * recipe.stage2.steps)
    objective = Objective(trainer.alignment, data, trainer.base.action_range, torch.ones_like(used), config)
    how = FinetuningConfig("full", learning_rate=recipe.stage2.learning_rate)
    network, history = finetune(policy.network, objective, how, recipe.seed, stage.scratch / "checkpoint.pt")
    save_compact(stage.path(POLICY), network, policy.config, context.embodiment)
    stage.starts = [start.id for start in starts]
    return shared.made(f"compact:{stage.path(POLICY).resolve()}", cosine=history[-1]["cosine"])


def imagination(context: Context) -> Made:
    """What the adapter reads from the imagined latents, executed directly in the dimensions that are used."""
    shared = Shared(context)
    learning = shared.learning
    used = learning.work.used(learning.work.table([learning.demonstrations]))
    used_file = context.stage.path("used.json")
    used_file.write_text(json.dumps(used.tolist()))
    files = learning.world_model.path(WORLD_MODEL), learning.stage1.path(ALIGNMENT), used_file
    return shared.made(f"imagination:{','.join(str(file.resolve()) for file in files)}", **learning.stage1.metrics)


def _with(recipe: Recipe, **stage2: Any) -> Recipe:
    return replace(recipe, stage2=replace(recipe.stage2, **stage2))


def _adding(recipe: Recipe) -> Recipe:
    """The residual of the paper: three tokens, the base's action among them."""
    return replace(recipe, residual=replace(recipe.residual, trunk="tokens", correction="added", hide_base=0.0))


def _contrast_only(recipe: Recipe) -> Recipe:
    """Nothing in that loss holds an unused action dimension still, so the residual's mask leaves it to the base."""
    recipe = _with(_adding(recipe), decode=0.0, contrast=1.0, over="sequences", penalty=0.0)
    return _on_rollouts_alone(replace(recipe, unused="base"))


def _bounded(recipe: Recipe) -> Recipe:
    return replace(recipe, residual=replace(recipe.residual, bound=0.5))


def _on_rollouts_alone(recipe: Recipe) -> Recipe:
    return replace(recipe, stage2_on_videos="none", stage2_on_demonstrations=0.0)


def _imagining(recipe: Recipe, **how: Any) -> Recipe:
    return replace(recipe, imagination=replace(recipe.imagination, **how))


def _stage2(context: Context, recipe: Recipe, *, across: bool = False) -> Made:
    shared = Shared(context)
    learning = shared.learning
    read = learning.demonstrations, learning.base, learning.videos, learning.world_model, learning.stage1
    elsewhere = shared.demonstrations_elsewhere() if across else ()
    work = Stages(recipe, context.pool)
    work.stage2(context.stage, *read, elsewhere=elsewhere, states=learning.told_by_states)
    return _made(shared, context, recipe, learning.stage1)


def _made(shared: Shared, context: Context, recipe: Recipe, stage1: Stage) -> Made:
    stage = context.stage
    files = shared.learning.base.path(POLICY).resolve(), stage.path(RESIDUAL).resolve()
    figures = {**{f"stage1_{name}": value for name, value in stage1.metrics.items()}, **stage.metrics}
    return shared.made(f"post-trained:{files[0]},{files[1]}", **figures, checkpoints=_checkpoints(context, recipe))


def _checkpoints(context: Context, recipe: Recipe) -> list[dict[str, float]]:
    """Cosine after each round but the last, and the success of that policy in the rollouts of the next round, which
    training recorded but never read."""
    history = json.loads(context.stage.path(HISTORY).read_text())
    points = []
    for number in range(1, recipe.rounds):
        step = number * recipe.stage2.steps
        cosine = [entry["cosine"] for entry in history if entry["step"] <= step][-1]
        bags = context.stage.scratch / f"round{number + 1}" / BAGS
        success = [bool(episode.success) for episode in read_collection(bags, context.embodiment, recipe.cameras)]
        points.append({"step": step, "cosine": cosine, "success": float(np.mean(success))})
    return points
