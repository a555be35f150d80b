"""The recipe's report: one HTML file and the picture that opens the README."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from world2act_core.embodiment import load_embodiment
from world2act_core.episodes.chunks import ChunkTable, chunk_table
from world2act_core.evaluation import PairedTrials, read_results
from world2act_core.evaluation.picture import summary_picture
from world2act_core.evaluation.report import Report
from world2act_core.evaluation.video import Panel, encode_mp4, side_by_side
from world2act_core.recipes.deployment import read_outcomes
from world2act_core.recipes.evaluation import BASE, POST, RESULTS, read_history
from world2act_core.recipes.overrides import as_json
from world2act_core.recipes.recording import read_collection
from world2act_core.recipes.settings import Recipe
from world2act_core.recipes.stage_files import BAGS, WORLD_MODEL
from world2act_core.runs import Stage
from world2act_core.types import Array, Episode
from world2act_core.world_model.compact import load_world_model

REPORT, PICTURE = "report.html", "picture.png"
AHEAD = 5  # chunks that the report lets the world model imagine without looking again
SHOWN_FPS = 10


def write_report(folder: Path, recipe: Recipe, stages: Mapping[str, Stage]) -> Path:
    """Write ``report.html`` and ``picture.png`` into the run folder; returns the report's path."""
    results = read_results(stages["evaluation"].path(RESULTS))
    trials = results.trials
    examples = list(
        read_collection(stages["evaluation"].path(BAGS), load_embodiment(recipe.embodiment), recipe.cameras)
    )
    imagined, happened, steps = _imagination(recipe, stages, examples)

    report = Report(f"{recipe.suite}: {results.task}")
    report.add_summary(trials, _facts(recipe, stages, results.commit))
    for number in range(len(examples) // 2):
        base, post = examples[2 * number], examples[2 * number + 1]
        report.add_video(f"Same start, both policies: {base.start_id}", _both(base, post, recipe.cameras[0]), half=True)
    report.add_paired_table(trials, training_starts=results.training_starts)
    rows = {"imagined": imagined, "happened": happened}
    report.add_images("What the world model imagined, and what happened", rows, columns=[f"step {s}" for s in steps],
                      caption=f"From the frame at step {steps[0]} the model imagines {AHEAD} chunks without looking "
                              "again; below is what the post-trained policy then really did.")  # fmt: skip
    _add_curves(report, stages)
    _add_stages(report, stages)
    _add_deployment(report, stages["deployment"], trials)
    report.add_manifest({"recipe": as_json(recipe), **{name: _provenance(stage) for name, stage in stages.items()}})
    report.write(folder / REPORT)
    (folder / PICTURE).write_bytes(
        _picture(results.task, trials, examples, imagined, happened, steps, recipe.cameras[0])
    )
    return folder / REPORT


def instruction(demonstrations: Stage, recipe: Recipe) -> str:
    """The task in words, as the demonstrations' bags say it."""
    episodes = read_collection(demonstrations.path(BAGS), load_embodiment(recipe.embodiment), recipe.cameras)
    return next(iter(episodes)).task


def deployment_line(deployment: Stage, trials: PairedTrials) -> str:
    """One line: how the graph's episodes ended, and whether that agrees with the same starts in process."""
    outcomes = read_outcomes(deployment)
    in_process = {trial.start_id: trial.success for trial in trials.post}
    agree = sum((entry["outcome"] == "success") == in_process[str(entry["start_id"])] for entry in outcomes)
    won = deployment.metrics["successes"]
    return (
        f"ROS 2 graph: {won} of {len(outcomes)} episodes solved with the post-trained policy; "
        f"{agree} of {len(outcomes)} end as the same starts did in process"
    )


def _facts(recipe: Recipe, stages: Mapping[str, Stage], commit: str) -> dict[str, str]:
    minutes = sum(stage.seconds for stage in stages.values()) / 60
    return {
        "labelled demonstrations": str(recipe.demonstrations.count),
        "action-free videos": str(recipe.videos.count),
        "robot": recipe.embodiment,
        "time": f"{minutes:.1f} min",
        "seed": str(recipe.seed),
        "commit": commit[:10] or "unknown",
    }


def _ending(episode: Episode) -> str:
    return f"solved at step {episode.steps}" if episode.success else f"not solved in {episode.steps} steps"


def _both(base: Episode, post: Episode, camera: str) -> bytes:
    panels = [
        Panel(episode.images[camera], name, _ending(episode), bool(episode.success))
        for name, episode in (("base", base), ("post-trained", post))
    ]
    return encode_mp4(side_by_side(panels, hold=SHOWN_FPS), SHOWN_FPS)


def _imagination(
    recipe: Recipe, stages: Mapping[str, Stage], examples: list[Episode]
) -> tuple[Array, Array, list[int]]:
    """Frames ``(AHEAD + 1, S, S, 3)`` imagined and real, from the second chunk of the first post-trained example."""
    model = load_world_model(stages["world_model"].path(WORLD_MODEL))
    embodiment = load_embodiment(recipe.embodiment)
    table: ChunkTable = chunk_table(
        [examples[1]], embodiment, recipe.cameras, recipe.base.streams, recipe.base.image_size
    )
    ahead = min(AHEAD, len(table) - 1)
    latents = model.encode_frames(torch.from_numpy(table.frames))
    row = min(1, len(table) - 1)
    first = int(table.before[row])
    imagined = model.predict(
        latents[table.previous[[row]]],
        latents[[first]],
        [table.prompts[row]],
        torch.from_numpy(table.clock[[row]]),
        ahead,
    )
    frames = model.decode(imagined)[0].numpy()
    happened = np.stack([table.frames[first + k] for k in range(ahead + 1)])
    return frames, happened, [int(examples[1].frame_steps[first + k]) for k in range(ahead + 1)]


def _add_curves(report: Report, stages: Mapping[str, Stage]) -> None:
    shown = {
        "base": ("Base policy: behaviour cloning", ("loss",)),
        "world_model": ("World model: latent error one chunk ahead", ("loss",)),
        "stage1": ("Stage 1: alignment", ("reconstruction", "contrast", "decode")),
        "stage2": ("Stage 2: residual", ("decode", "contrast", "cosine")),
    }
    for name, (title, terms) in shown.items():
        history = read_history(stages[name])
        steps = [entry["step"] for entry in history]
        curves = {term: (steps, [entry[term] for entry in history]) for term in terms}
        report.add_curves(title, curves, "step", "loss" if terms == ("loss",) else "value")


def _add_stages(report: Report, stages: Mapping[str, Stage]) -> None:
    rows = [
        (name, f"{stage.seconds:.0f}", len(stage.starts), ", ".join(_figure(k, v) for k, v in stage.metrics.items()))
        for name, stage in stages.items()
    ]
    report.add_table(("stage", "seconds", "starts used", "figures"), rows, title="Stages")


def _figure(name: str, value: float) -> str:
    return f"{name.replace('_', ' ')} {value:.3g}" if isinstance(value, float) else f"{name.replace('_', ' ')} {value}"


def _add_deployment(report: Report, deployment: Stage, trials: PairedTrials) -> None:
    columns = ("start_id", "outcome", "steps", "duration_s")
    rows = [tuple(entry[column] for column in columns) for entry in read_outcomes(deployment)]
    report.add_table(("start", "outcome", "steps", "seconds"), rows, title="Deployment over ROS 2",
                     caption=deployment_line(deployment, trials))  # fmt: skip


def _provenance(stage: Stage) -> dict[str, object]:
    return {"digest": stage.digest, "inputs": stage.inputs, "config": stage.config, "metrics": stage.metrics}


def _picture(
    task: str, trials: PairedTrials, examples: list[Episode], imagined: Array, happened: Array, steps: list[int],
    camera: str,
) -> bytes:  # fmt: skip
    base, post = examples[0], examples[1]
    assert (base.source, post.source) == (BASE, POST)
    size = imagined.shape[1]  # the views are tiled side by side; the picture has room for the first
    return summary_picture(
        trials,
        base.images[camera],
        post.images[camera],
        imagined[1:, :, :size],
        happened[1:, :, :size],
        title=task,
        base_ending=_ending(base),
        post_ending=_ending(post),
        base_steps=base.frame_steps,
        post_steps=post.frame_steps,
        imagined_steps=steps[1:],
    )
