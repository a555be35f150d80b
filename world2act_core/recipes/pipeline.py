"""The whole loop on one machine: bags → base policy → world model → Stage 1 → Stage 2 → paired gate → ROS 2 graph."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import torch

from world2act_core.alignment import adapters, calibrate, losses, sampling
from world2act_core.alignment import train as alignment_train
from world2act_core.episodes import chunks
from world2act_core.evaluation.console import result_table
from world2act_core.evaluation.results import read_results
from world2act_core.networks import blocks, codec, eyes
from world2act_core.policies import compact as compact_policy
from world2act_core.recipes import deployment as deployment_module
from world2act_core.recipes import evaluation as evaluation_module
from world2act_core.recipes import recording, reporting, stages
from world2act_core.recipes.deployment import deployment_stage
from world2act_core.recipes.evaluation import RESULTS, evaluation_stage
from world2act_core.recipes.overrides import as_json
from world2act_core.recipes.settings import Recipe
from world2act_core.recipes.stages import Stages, scene, stage_config
from world2act_core.residual import network as residual_network
from world2act_core.residual import policy as residual_policy
from world2act_core.residual import train as residual_train
from world2act_core.runs import Run, Stage, training
from world2act_core.simulators import control, libero, privileged, rendering, rollout, starts
from world2act_core.simulators.demonstrators import deliveries, grips, pick_and_place, script
from world2act_core.simulators.workers import WorkerPool
from world2act_core.world_model import chunk_latents
from world2act_core.world_model import compact as compact_world_model

# What a stage's result depends on besides its configuration and inputs: a change of these sources runs it again.
_DEMONSTRATOR: list[ModuleType] = [privileged, script, grips, pick_and_place, deliveries]
_SIMULATION: list[ModuleType] = [libero, control, rendering, starts, rollout, *_DEMONSTRATOR, recording]
_EYES: list[ModuleType] = [blocks, codec, eyes]
_BASE: list[ModuleType] = [stages, compact_policy, *_EYES, chunks, training]
_WORLD_MODEL: list[ModuleType] = [stages, compact_world_model, codec, chunks, training]
_ALIGNMENT: list[ModuleType] = [adapters, losses, sampling, alignment_train, calibrate]
_STAGE1: list[ModuleType] = [stages, *_ALIGNMENT, chunk_latents, chunks, training]
_EVALUATION: list[ModuleType] = [evaluation_module, residual_policy, *_SIMULATION]
_RESIDUAL: list[ModuleType] = [*_EYES, residual_network, residual_train, residual_policy, losses, training]
_STAGE2: list[ModuleType] = [stages, chunk_latents, *_RESIDUAL, *_SIMULATION]


def run_pipeline(folder: Path, recipe: Recipe, announce: Callable[[str], None] = print) -> Path:
    """Run or resume the recipe in a folder; returns the report's path.

    Every stage that is done with the same configuration, code and inputs is skipped; a killed one resumes.
    """
    torch.set_num_threads(recipe.torch_threads)
    run = Run(folder, announce)
    with WorkerPool(recipe.workers) as pool:
        evaluation = _learn_and_evaluate(run, recipe, pool)
    deployment = run.stage(
        "deployment",
        lambda stage: deployment_stage(stage, recipe, folder),
        config={"episodes": recipe.deployment_episodes, "evaluation": as_json(recipe)["evaluation"], **scene(recipe)},
        inputs=[run.stages["stage2"]],
        code=[deployment_module, residual_policy],
    )
    report = reporting.write_report(folder, recipe, run.stages)
    results = read_results(evaluation.path(RESULTS))
    announce("")
    announce(result_table(results.trials, task=results.task))
    announce("")
    announce(reporting.deployment_line(deployment, results.trials))
    announce(f"report: {report}")
    return report


def _learn_and_evaluate(run: Run, recipe: Recipe, pool: WorkerPool) -> Stage:
    work = Stages(recipe, pool)
    config = partial(stage_config, recipe)
    demonstrations = run.stage(
        "demonstrations", work.demonstrations, config=config("demonstrations", "release_chunks"), code=_SIMULATION
    )
    videos = run.stage(
        "videos", work.videos, config=config("videos", "video_noise", "release_chunks"), code=_SIMULATION
    )
    base = run.stage(
        "base",
        lambda stage: work.base(stage, demonstrations),
        config=config("base"),
        inputs=[demonstrations],
        code=_BASE,
    )
    free_pairs = run.stage(
        "free_pairs",
        lambda stage: work.free_pairs(stage, base),
        config=config("free_pairs", "pair_noise", "pair_steps"),
        inputs=[base],
        code=_SIMULATION,
    )
    world_model = run.stage(
        "world_model",
        lambda stage: work.world_model(stage, videos),
        config=config("world_model", "clips", "base"),
        inputs=[videos],
        code=_WORLD_MODEL,
    )
    stage1 = run.stage(
        "stage1",
        lambda stage: work.stage1(stage, demonstrations, free_pairs, videos, world_model),
        config=config("stage1", "calibration", "clips", "base"),
        inputs=[demonstrations, free_pairs, videos, world_model],
        code=_STAGE1,
    )
    stage2 = run.stage(
        "stage2",
        lambda stage: work.stage2(stage, demonstrations, base, world_model, stage1),
        config=config("stage2", "residual", "clips", "used_spread", "post_training", "rounds", "rollout_steps"),
        inputs=[demonstrations, base, world_model, stage1],
        code=_STAGE2,
    )
    learned = [demonstrations, videos, base, free_pairs, world_model, stage1, stage2]
    evaluation = run.stage(
        "evaluation",
        lambda stage: evaluation_stage(
            stage, recipe, pool, base, stage2, learned, reporting.instruction(demonstrations, recipe), work.embodiment
        ),
        config=config("evaluation"),
        inputs=learned,
        code=_EVALUATION,
    )
    return evaluation
