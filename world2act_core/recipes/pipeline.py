"""The whole loop on one machine: bags → base policy → world model → Stage 1 → Stage 2 → paired gate → ROS 2 graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from world2act_core.evaluation.console import result_table
from world2act_core.evaluation.results import read_results
from world2act_core.recipes import deployment as deployment_module
from world2act_core.recipes import evaluation as evaluation_module
from world2act_core.recipes import reporting
from world2act_core.recipes.deployment import deployment_stage
from world2act_core.recipes.evaluation import RESULTS, evaluation_stage
from world2act_core.recipes.learning import Learning, evaluation_code
from world2act_core.recipes.overrides import as_json
from world2act_core.recipes.settings import Recipe
from world2act_core.recipes.stages import Stages, scene, stage_config
from world2act_core.residual import policy as residual_policy
from world2act_core.runs import Run, Stage
from world2act_core.simulators.workers import WorkerPool


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
    learning = Learning(Stages(recipe, pool), run.stage)
    stages = [
        learning.demonstrations,
        learning.pretraining,  # the demonstrations, where the base has seen no more
        learning.videos,
        learning.base,
        learning.free_pairs,
        learning.world_model,
        learning.stage1,
        *filter(None, [learning.told_by_states]),
        learning.stage2,
    ]
    learned = list({stage.name: stage for stage in stages}.values())
    instruction = reporting.instruction(learning.demonstrations, recipe)
    embodiment = learning.work.embodiment
    return run.stage(
        "evaluation",
        lambda stage: evaluation_stage(
            stage, recipe, pool, learning.base, learning.stage2, learned, instruction, embodiment
        ),
        config=stage_config(recipe, "evaluation"),
        inputs=learned,
        code=evaluation_code(evaluation_module),
    )
