"""The stages of the main recipe: what each reads, trains and writes. ``pipeline`` puts them in order."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from world2act_core.alignment.adapters import Alignment, load_alignment, save_alignment
from world2act_core.alignment.calibrate import calibrate
from world2act_core.alignment.states import (
    load_state_dynamics,
    save_state_dynamics,
    state_r2,
    train_state_dynamics,
)
from world2act_core.alignment.train import action_r2, retrieval_accuracy, train_alignment
from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.embodiment.displacement import LEAST_UNIT, Displacement, placed_dimensions
from world2act_core.episodes.chunks import ChunkTable, displaced, labelled, split_episodes
from world2act_core.policies.compact import save_compact, train_compact
from world2act_core.recipes.overrides import as_json
from world2act_core.recipes.recording import Attempt, collection_table, record
from world2act_core.recipes.settings import Recipe, Split
from world2act_core.recipes.stage_files import (
    ALIGNMENT,
    BAGS,
    POLICY,
    RESIDUAL,
    STATE_DYNAMICS,
    WORLD_MODEL,
    finish,
)
from world2act_core.recipes.trainer import FrozenBase, Trainer, compact_base, moved_dimensions
from world2act_core.residual.network import Residual
from world2act_core.runs import Stage
from world2act_core.simulators.starts import Start
from world2act_core.simulators.workers import WorkerPool
from world2act_core.types import Array
from world2act_core.world_model.chunk_latents import imagined_latents, real_latents
from world2act_core.world_model.compact import (
    CompactWorldModel,
    latent_errors,
    load_world_model,
    save_world_model,
    train_world_model,
)


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

    def pretraining(self, stage: Stage) -> None:
        """What a base is cloned from that knows more than the demonstrations; under noise, so that it can recover."""
        recipe = self.recipe
        self._record(stage, recipe.pretraining, "demonstrator", recipe.video_noise, extra_chunks=recipe.release_chunks)

    def videos(self, stage: Stage) -> None:
        """Demonstrations under exploration noise; their actions are never read."""
        recipe = self.recipe
        self._record(stage, recipe.videos, "demonstrator", recipe.video_noise, extra_chunks=recipe.release_chunks)

    def base(self, stage: Stage, demonstrations: Stage) -> None:
        """The base policy: behaviour cloning on demonstrations, then frozen."""
        table = self.table([demonstrations])
        config = self.recipe.base
        network, history = train_compact(
            table, self.embodiment, config, self.recipe.seed, stage.scratch / "checkpoint.pt", "base policy"
        )
        save_compact(stage.path(POLICY), network, config, self.embodiment)
        finish(stage, history, {"chunks": len(table), "loss": history[-1]["loss"]})

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
        finish(stage, history, {"chunks": len(train), **{f"held_out_{name}": value for name, value in errors.items()}})

    def stage1(self, stage: Stage, demonstrations: Stage, free_pairs: Stage, videos: Stage, world_model: Stage) -> None:
        """Stage 1: video and action adapters, on the demonstrations and the free pairs; an adapter of what is imagined
        behind the frames of the videos where the recipe asks for one."""
        model = load_world_model(world_model.path(WORLD_MODEL))
        train, held_out, displacement, weight = self._pairs(demonstrations, free_pairs)
        train, held_out = (displaced(part, displacement) for part in (train, held_out))
        unseen = real_latents(model, held_out)
        alignment, history = train_alignment(
            train,
            real_latents(model, train),
            self.recipe.stage1,
            self.recipe.seed,
            stage.scratch / "checkpoint.pt",
            held_out=(held_out, unseen),
            codec=model.codec,
            weight=weight,
            units=displacement.units,
        )
        if self.recipe.calibration.steps:
            self._calibrate(alignment, model, videos, stage.scratch / "calibration.pt")
        save_alignment(stage.path(ALIGNMENT), alignment)
        metrics = {"chunks": len(train), **action_r2(alignment, held_out, unseen)}
        metrics["retrieval"] = retrieval_accuracy(alignment, held_out, unseen)
        finish(stage, history, metrics)

    def _pairs(self, demonstrations: Stage, free_pairs: Stage) -> tuple[ChunkTable, ChunkTable, Displacement, Array]:
        """Labelled chunks to train on and the last tenth of the episodes to measure on; as which displacements
        to take their actions; and how much each of the first weighs."""
        pairs = labelled(self.table([demonstrations, free_pairs]))
        displacement = Displacement.between(self.embodiment, pairs.actions, pairs.standing)
        train, held_out = split_episodes(pairs, 0.9)
        demonstrated = train.episode < len(self.table([demonstrations]).episode_ids)
        return train, held_out, displacement, np.where(demonstrated, self.recipe.demonstrations_weigh, 1.0)

    def states(self, stage: Stage, demonstrations: Stage, free_pairs: Stage) -> None:
        """What the robot's own state tells of actions, from the pairs that Stage 1 learns from; the last tenth of their
        episodes is kept for measuring it."""
        train, held_out, displacement, weight = self._pairs(demonstrations, free_pairs)
        model, history = train_state_dynamics(
            train,
            self.recipe.states,
            self.recipe.seed,
            stage.scratch / "checkpoint.pt",
            displacement=displacement,
            weight=weight,
        )
        save_state_dynamics(stage.path(STATE_DYNAMICS), model)
        finish(stage, history, {"chunks": len(train), "r2": state_r2(model, held_out)})

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
        states: Stage | None = None,
    ) -> None:
        """Stage 2: rounds of rollouts with the newest policy, then training the residual on all of them, and at the
        frames of the videos and of the demonstrations too where the recipe says so.

        Args:
            elsewhere: demonstrations of other tasks, which the contrast takes as negatives.
            states: what the robot's state tells of actions, where the recipe goes by that at the frames of the videos.
        """
        trainer = self.trainer(demonstrations, base, world_model, stage1, videos, states)
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
        finish(stage, history, {"chunks": len(data), "cosine": history[-1]["cosine"]})

    def trainer(
        self,
        demonstrations: Stage,
        base: Stage,
        world_model: Stage,
        stage1: Stage,
        videos: Stage | None = None,
        states: Stage | None = None,
    ) -> Trainer:
        """Stage 2's residual, before its first step; with ``videos`` it learns at their frames and at those of the
        demonstrations, as the recipe says, beside the rollouts that it is given."""
        alignment, model = load_alignment(stage1.path(ALIGNMENT)), load_world_model(world_model.path(WORLD_MODEL))
        table = self.table([demonstrations])
        torch.manual_seed(self.recipe.seed)
        used = torch.from_numpy(self.used(table))
        residual = Residual(self.recipe.residual, alignment, table.proprio.shape[1], self.moved(table), model.codec)
        by_states = states if self.recipe.stage2_on_videos == "states" else None
        told = load_state_dynamics(by_states.path(STATE_DYNAMICS)) if by_states else None
        trainer = Trainer(self.recipe, model, alignment, self.frozen(base), residual, used, told)
        if videos is not None:
            trainer.learn_beside(self.table([videos], with_actions=False), table)
        return trainer

    def frozen(self, base: Stage) -> FrozenBase:
        """The base as Stage 2 goes by it."""
        return compact_base(base.path(POLICY), self.embodiment)

    def moved(self, demonstrations: ChunkTable) -> torch.Tensor:
        """``(A,)`` bool: the action dimensions in which the residual has a say."""
        return moved_dimensions(torch.from_numpy(self.used(demonstrations)), self.recipe.unused, self.embodiment)

    def used(self, demonstrations: ChunkTable) -> Array:
        """``(A,)`` bool: whether the demonstrations use an action dimension enough for an adapter to read it.
        Dimensions that say where to go have no range to compare with but that of the one that goes furthest."""
        spread: Array = labelled(demonstrations).actions.std((0, 1))
        placed = placed_dimensions(self.embodiment)
        if placed:
            spread[placed] /= max(float(spread[placed].max()), LEAST_UNIT)
        return spread > self.recipe.used_spread

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
