"""The stages of the main recipe: what each reads, trains and writes. ``pipeline`` puts them in order."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from world2act_core.alignment.adapters import Alignment, load_alignment, save_alignment
from world2act_core.alignment.calibrate import calibrate
from world2act_core.alignment.train import action_r2, retrieval_accuracy, train_alignment, video_latents
from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.episodes.chunks import ChunkTable
from world2act_core.errors import World2ActError
from world2act_core.policies.compact import CompactPolicy, load_compact, save_compact, train_compact
from world2act_core.recipes.overrides import as_json
from world2act_core.recipes.recording import Attempt, collection_table, record
from world2act_core.recipes.settings import Recipe, Split
from world2act_core.residual.files import save_residual
from world2act_core.residual.network import Residual
from world2act_core.residual.train import EasyNegatives, PostTrainingSet, train_residual
from world2act_core.runs import Stage
from world2act_core.simulators.starts import Start
from world2act_core.simulators.workers import WorkerPool
from world2act_core.types import Array
from world2act_core.world_model.chunk_latents import ChunkLatents, imagined_latents, real_latents
from world2act_core.world_model.compact import (
    CompactWorldModel,
    latent_errors,
    load_world_model,
    save_world_model,
    train_world_model,
)
from world2act_core.world_model.matching import targets

BAGS, POLICY, WORLD_MODEL, ALIGNMENT, RESIDUAL = "bags", "policy.pt", "world_model.pt", "alignment.pt", "residual.pt"
HISTORY = "history.json"


def scene(recipe: Recipe) -> dict[str, object]:
    """Which task and robot a recipe is about, for a stage's configuration."""
    named = {name: getattr(recipe, name) for name in ("suite", "task", "embodiment", "cameras", "jitter_cm")}
    contract = hashlib.sha256(repr(load_embodiment(recipe.embodiment)).encode()).hexdigest()
    return {**named, "contract": contract}


def stage_config(recipe: Recipe, *names: str) -> dict[str, object]:
    """A stage's configuration: the scene, seed and threads, and the named settings of the recipe."""
    settings = as_json(recipe)
    return {**scene(recipe), **{name: settings[name] for name in (*names, "seed", "torch_threads")}}


class Stages:
    """The work of each stage for one recipe; every method writes one sealed folder."""

    def __init__(self, recipe: Recipe, pool: WorkerPool) -> None:
        self.recipe, self.pool = recipe, pool
        self.embodiment: Embodiment = load_embodiment(recipe.embodiment)

    def demonstrations(self, stage: Stage) -> None:
        """Clean demonstrations with actions: all that the base policy learns from."""
        extra = self.recipe.release_chunks
        self._record(stage, self.recipe.demonstrations, source="demonstrator", noises=(0.0,), extra_chunks=extra)

    def videos(self, stage: Stage) -> None:
        """Demonstrations under exploration noise; their actions are never read."""
        recipe = self.recipe
        self._record(stage, recipe.videos, "demonstrator", recipe.video_noise, extra_chunks=recipe.release_chunks)

    def base(self, stage: Stage, demonstrations: Stage) -> None:
        """The base policy: behaviour cloning on the demonstrations, then frozen."""
        table = self.table([demonstrations])
        config = self.recipe.base
        network, history = train_compact(
            table, self.embodiment, config, self.recipe.seed, stage.scratch / "checkpoint.pt", "base policy"
        )
        save_compact(stage.path(POLICY), network, config, self.embodiment)
        _finish(stage, history, {"chunks": len(table), "loss": history[-1]["loss"]})

    def free_pairs(self, stage: Stage, base: Stage) -> None:
        """The base policy acting by itself and under noise: pairs of video and action that no one had to label."""
        recipe, policy = self.recipe, str(base.path(POLICY))
        self._record(stage, recipe.free_pairs, "base", recipe.pair_noise, base=policy, max_steps=recipe.pair_steps)

    def world_model(self, stage: Stage, videos: Stage) -> None:
        """The world model, from action-free videos alone; the last tenth of them is kept for measuring it."""
        table = self.table([videos], with_actions=False)
        train, held_out = split_episodes(table, 0.9)
        tiled = replace(self.recipe.world_model, views=len(self.recipe.cameras), image_size=self.recipe.base.image_size)
        model, history = train_world_model(train, tiled, self.recipe.seed, stage.scratch / "checkpoint.pt")
        save_world_model(stage.path(WORLD_MODEL), model)
        errors = latent_errors(model.eval(), held_out)
        _finish(stage, history, {"chunks": len(train), **{f"held_out_{name}": value for name, value in errors.items()}})

    def stage1(self, stage: Stage, demonstrations: Stage, free_pairs: Stage, videos: Stage, world_model: Stage) -> None:
        """Stage 1: video and action adapters, on the demonstrations and the free pairs; an adapter of what is imagined
        behind the frames of the videos where the recipe asks for one."""
        model = load_world_model(world_model.path(WORLD_MODEL))
        train, held_out = split_episodes(labelled(self.table([demonstrations, free_pairs])), 0.9)
        demonstrated = train.episode < len(self.table([demonstrations]).episode_ids)
        unseen = real_latents(model, held_out)
        alignment, history = train_alignment(
            train,
            real_latents(model, train),
            self.recipe.stage1,
            self.recipe.seed,
            stage.scratch / "checkpoint.pt",
            held_out=(held_out, unseen),
            codec=model.codec,
            weight=np.where(demonstrated, self.recipe.demonstrations_weigh, 1.0),
        )
        if self.recipe.calibration.steps:
            self._calibrate(alignment, model, videos, stage.scratch / "calibration.pt")
        save_alignment(stage.path(ALIGNMENT), alignment)
        metrics = {"chunks": len(train), **action_r2(alignment, held_out, unseen)}
        metrics["retrieval"] = retrieval_accuracy(alignment, held_out, unseen)
        _finish(stage, history, metrics)

    def stage2(
        self,
        stage: Stage,
        demonstrations: Stage,
        base: Stage,
        videos: Stage,
        world_model: Stage,
        stage1: Stage,
        *,
        elsewhere: Sequence[Stage] = (),
    ) -> None:
        """Stage 2: rounds of rollouts with the newest policy, then training the residual on all of them, and at the
        frames of the videos and of the demonstrations too where the recipe says so.

        Args:
            elsewhere: demonstrations of other tasks, which the contrast takes as negatives.
        """
        trainer = self.trainer(demonstrations, base, world_model, stage1, videos)
        if elsewhere:
            trainer.keep_apart_from(self.table(list(elsewhere)))
        starts = self.recipe.starts(self.recipe.post_training)
        shares = np.array_split(np.arange(len(starts)), self.recipe.rounds)
        history: list[dict[str, float]] = []
        newest: Path | None = None
        for number, share in enumerate(shares):
            folder = stage.scratch / f"round{number + 1}"
            folder.mkdir(exist_ok=True)
            attempts = self.attempts(
                folder / BAGS,
                [starts[index] for index in share],
                "base" if newest is None else "post-trained",
                (0.0,),
                base=str(base.path(POLICY)),
                residual=str(newest or ""),
                max_steps=self.recipe.rollout_steps,
            )
            record(self.pool, attempts, f"stage 2, round {number + 1}: rollouts")
            table = self.folders_table([stage.scratch / f"round{n + 1}" / BAGS for n in range(number + 1)])
            data = trainer.rolled_out(table)
            history += trainer.train(data, folder, number)
            newest = folder / RESIDUAL
        assert newest is not None
        shutil.copyfile(newest, stage.path(RESIDUAL))
        stage.starts = [start.id for start in starts]
        _finish(stage, history, {"chunks": len(data), "cosine": history[-1]["cosine"]})

    def stage2_of_logs(
        self,
        stage: Stage,
        demonstrations: Stage,
        base: Stage,
        videos: Stage,
        world_model: Stage,
        stage1: Stage,
        logged: Stage,
    ) -> None:
        """Stage 2 without a simulator: the base is asked what it would do at every chunk of logged episodes."""
        trainer = self.trainer(demonstrations, base, world_model, stage1, videos)
        trainer.train_once(trainer.rolled_out(self.table([logged], with_actions=False)), stage)

    def trainer(
        self, demonstrations: Stage, base: Stage, world_model: Stage, stage1: Stage, videos: Stage | None = None
    ) -> Trainer:
        """Stage 2's residual, before its first step; with ``videos`` it learns at their frames and at those of the
        demonstrations, as the recipe says, beside the rollouts that it is given."""
        alignment, model = load_alignment(stage1.path(ALIGNMENT)), load_world_model(world_model.path(WORLD_MODEL))
        table = self.table([demonstrations])
        torch.manual_seed(self.recipe.seed)
        used = torch.from_numpy(self.used(table))
        moved = moved_dimensions(used, self.recipe.unused, self.embodiment)
        residual = Residual(self.recipe.residual, alignment, table.proprio.shape[1], moved, model.codec)
        trainer = Trainer(self.recipe, model, alignment, base.path(POLICY), self.embodiment, residual, used)
        if videos is not None:
            trainer.learn_beside(self.table([videos], with_actions=False), table)
        return trainer

    def used(self, demonstrations: ChunkTable) -> Array:
        """``(A,)`` bool: whether the demonstrations use an action dimension enough for an adapter to read it."""
        spread: Array = labelled(demonstrations).actions.std((0, 1)) > self.recipe.used_spread
        return spread

    def _calibrate(self, alignment: Alignment, model: CompactWorldModel, videos: Stage, checkpoint: Path) -> None:
        table, _ = split_episodes(self.table([videos], with_actions=False), 0.9)
        real, imagined = real_latents(model, table), imagined_latents(model, table)
        calibrate(alignment, real, imagined, len(table), self.recipe.calibration, self.recipe.seed, checkpoint)

    def _record(self, stage: Stage, split: Split, source: str, noises: tuple[float, ...], **how: Any) -> None:
        starts = self.recipe.starts(split)
        record(self.pool, self.attempts(stage.path(BAGS), starts, source, noises, **how), stage.name)
        stage.starts = [start.id for start in starts]
        stage.metrics = {"episodes": len(starts)}

    def attempts(
        self, bags: Path, starts: list[Start], source: str, noises: tuple[float, ...], **how: Any
    ) -> list[Attempt]:
        """One attempt a start, the noises in turn; ``how`` sets further fields of each ``Attempt``."""
        return [
            Attempt(
                start=start,
                source=source,
                noise=noises[index % len(noises)],
                bag=str(bags / f"{source}-{index:04d}"),
                cameras=self.recipe.cameras,
                embodiment=self.recipe.embodiment,
                **how,
            )
            for index, start in enumerate(starts)
        ]

    def table(self, stages: list[Stage], *, with_actions: bool = True) -> ChunkTable:
        return self.folders_table([stage.path(BAGS) for stage in stages], with_actions=with_actions)

    def folders_table(self, folders: list[Path], *, with_actions: bool = True) -> ChunkTable:
        config = self.recipe.base
        return collection_table(
            folders,
            self.embodiment,
            self.recipe.cameras,
            config.streams,
            config.image_size,
            with_actions=with_actions,
            whole_tasks=self.recipe.clips == "tasks",
        )


def labelled(table: ChunkTable) -> ChunkTable:
    """The chunks with actions; somebody's own logs may lack them here and there."""
    return table.select(np.flatnonzero(table.labelled))


def split_episodes(table: ChunkTable, share: float) -> tuple[ChunkTable, ChunkTable]:
    """The first ``share`` of the episodes that have chunks in the table and the rest; they have no frame in common."""
    present = np.unique(table.episode)
    first = present[: max(1, round(share * len(present)))]
    return (
        table.select(np.flatnonzero(np.isin(table.episode, first))),
        table.select(np.flatnonzero(~np.isin(table.episode, first))),
    )


def moved_dimensions(used: torch.Tensor, unused: str, embodiment: Embodiment) -> torch.Tensor:
    """``(A,)`` bool: which action dimensions a residual moves; to hold the unused ones still it moves them all.

    Raises:
        World2ActError: they cannot be held still by asking for 0.
    """
    if unused == "base":
        return used
    if not embodiment.action.kind.endswith("_delta"):
        raise World2ActError(
            f"unused: still asks for 0, which is no rest for {embodiment.name}, whose actions are"
            f" {embodiment.action.kind}: set unused: base"
        )
    return torch.ones_like(used)


class Trainer:
    """Trains one residual on one base, in rounds.

    Args:
        used: ``(A,)`` bool, the action dimensions in which an adapter is believed.
    """

    def __init__(
        self,
        recipe: Recipe,
        model: CompactWorldModel,
        alignment: Alignment,
        base: Path,
        embodiment: Embodiment,
        residual: Residual,
        used: torch.Tensor,
    ) -> None:
        self.recipe, self.model, self.alignment, self.residual = recipe, model, alignment, residual
        self.base, self.policy, self.used = base, load_compact(base, embodiment), used
        self._easy: EasyNegatives | None = None
        self._shown: PostTrainingSet | None = None
        self._demonstrated: PostTrainingSet | None = None

    def learn_beside(self, videos: ChunkTable, demonstrations: ChunkTable) -> None:
        """Take what videos and demonstrations show to every set of rollouts, as far as the recipe wants it."""
        self._shown, self._demonstrated = self._shown_by_videos(videos), self._of_demonstrations(demonstrations)

    @torch.no_grad()
    def keep_apart_from(self, table: ChunkTable) -> None:
        """Take the labelled chunks of other tasks as further negatives of the contrast."""
        rows = np.flatnonzero(table.labelled)
        video = video_latents(self.alignment, real_latents(self.model, table), rows)
        self._easy = EasyNegatives(video, self.alignment.action(torch.from_numpy(table.actions[rows])))

    def rolled_out(self, table: ChunkTable) -> PostTrainingSet:
        """Rollouts, and what is learned beside them; the demonstrations in the recipe's share of the draws."""
        data = self._imagined(table)
        if self._shown is not None:
            data = data.with_(self._shown)
        if self._demonstrated is None:
            return data
        return data.with_a_share_of(self.recipe.stage2_on_demonstrations, self._demonstrated)

    def _imagined(self, table: ChunkTable) -> PostTrainingSet:
        return self.chunks_of(table, targets(self.model, table, self.recipe.imagination), imagined=True)

    def _shown_by_videos(self, table: ChunkTable) -> PostTrainingSet | None:
        if self.recipe.stage2_on_videos == "none":
            return None
        if self.recipe.stage2_on_videos == "imagined":
            return self._imagined(table)
        return self.chunks_of(table, real_latents(self.model, table), imagined=False)

    def _of_demonstrations(self, table: ChunkTable) -> PostTrainingSet | None:
        """Their actions are known, so what is asked for is not read from latents."""
        if not self.recipe.stage2_on_demonstrations:
            return None
        table = labelled(table)
        data = self.chunks_of(table, real_latents(self.model, table), imagined=False)
        return replace(data, wanted=torch.from_numpy(table.actions) * self.used)

    def chunks_of(self, table: ChunkTable, latents: ChunkLatents, *, imagined: bool) -> PostTrainingSet:
        """What is read in dimensions that are not used is not asked for: there the mask keeps the base's, or 0 is."""
        data = post_training_set(table, self.policy, latents, self.alignment, imagined=imagined)
        assert data.wanted is not None
        return replace(data, wanted=data.wanted * self.used)

    def train_once(self, data: PostTrainingSet, stage: Stage) -> None:
        """The only round of a stage that needs no rollouts."""
        history = self.train(data, stage.scratch)
        shutil.copyfile(stage.scratch / RESIDUAL, stage.path(RESIDUAL))
        _finish(stage, history, {"chunks": len(data), "cosine": history[-1]["cosine"]})

    @property
    def action_range(self) -> tuple[torch.Tensor, torch.Tensor]:
        layout = self.policy.embodiment.action
        return torch.from_numpy(layout.low), torch.from_numpy(layout.high)

    def train(self, data: PostTrainingSet, folder: Path, number: int = 0) -> list[dict[str, float]]:
        """A round; writes the residual into ``folder`` and returns the history, steps counted over all rounds."""
        if number == 0:
            self.residual.standardise.fit(data.proprio)
        config = self.recipe.stage2
        done = train_residual(
            self.residual,
            self.alignment,
            data,
            self.action_range,
            config,
            self.recipe.seed + number,
            folder / "checkpoint.pt",
            f"stage 2, round {number + 1}",
            self._easy,
        )
        how = self.recipe.residual, self.alignment, self.base, self.policy.embodiment
        save_residual(folder / RESIDUAL, self.residual, *how)
        return [{**entry, "step": entry["step"] + number * config.steps} for entry in done]


@torch.no_grad()
def post_training_set(
    table: ChunkTable, policy: CompactPolicy, latents: ChunkLatents, alignment: Alignment, *, imagined: bool = True
) -> PostTrainingSet:
    """What the base does at every chunk of a table, and where the world model imagines it should lead; with real
    latents and ``imagined`` False, where it really led."""
    frames, proprio = torch.from_numpy(table.frames[table.before]), torch.from_numpy(table.proprio)
    parts = zip(frames.split(256), proprio.split(256), strict=True)
    base = torch.cat([policy.network(seen, state) for seen, state in parts])
    layout = policy.embodiment.action
    target = video_latents(alignment, latents, np.arange(len(table)), imagined=imagined)
    wanted = torch.from_numpy(policy.embodiment.decided(alignment.decoder(target).numpy()))
    base = base.clamp(torch.from_numpy(layout.low), torch.from_numpy(layout.high))
    return PostTrainingSet(frames, proprio, base, target, torch.from_numpy(table.episode), wanted)


def _finish(stage: Stage, history: list[dict[str, float]], metrics: dict[str, float]) -> None:
    stage.path(HISTORY).write_text(json.dumps(history))
    stage.metrics = metrics
