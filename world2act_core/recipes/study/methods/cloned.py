"""Behaviour cloning, in several ways to spend the same demonstrations, videos and rollouts: the base and baselines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from world2act_core.alignment.adapters import load_alignment
from world2act_core.alignment.states import load_state_dynamics
from world2act_core.baselines.cloning import pseudo_labelled, state_labelled, successful
from world2act_core.baselines.pixels import dreamed, train_idm
from world2act_core.episodes.chunks import ChunkTable, joined
from world2act_core.policies.compact import CompactConfig, save_compact, train_compact
from world2act_core.recipes.recording import read_collection
from world2act_core.recipes.stage_files import ALIGNMENT, BAGS, POLICY, STATE_DYNAMICS, WORLD_MODEL
from world2act_core.recipes.study.cells import Context, Made
from world2act_core.recipes.study.methods.shared import Shared
from world2act_core.world_model.chunk_latents import real_latents
from world2act_core.world_model.compact import load_world_model


def base(context: Context) -> Made:
    """The base policy: behaviour cloning on the task's demonstrations, then frozen."""
    shared = Shared(context)
    stage = shared.learning.base
    return shared.made(f"compact:{stage.path(POLICY).resolve()}", **stage.metrics)


def pseudo_labels(context: Context) -> Made:
    """Cloning on the videos with the actions that Stage 1's adapter reads from them, and on the demonstrations."""
    return _pseudo_labels(context, context.recipe.cloning)


def pseudo_labels_blind(context: Context) -> Made:
    """The same from images alone, for videos that came without the robot's state."""
    return _pseudo_labels(context, replace(context.recipe.cloning, proprioception=False))


def state_labels(context: Context) -> Made:
    """Cloning on the videos with the actions that the change of the robot's state tells, which is learned from the same
    labelled pairs, and on the demonstrations: what can be had without reading video, where states were logged."""
    shared = Shared(context)
    learning, work = shared.learning, shared.learning.work
    demonstrations, videos = work.table([learning.demonstrations]), work.table([learning.videos], with_actions=False)
    model = load_state_dynamics(learning.states.path(STATE_DYNAMICS))
    labelled = state_labelled(videos, model, context.embodiment, work.used(demonstrations))
    return _cloned(
        context, shared, [labelled, demonstrations], context.recipe.cloning, r2=learning.states.metrics["r2"]
    )


def filtered(context: Context) -> Made:
    """Cloning on the demonstrations and on those of the base's own rollouts that succeeded. It reads success."""
    shared = Shared(context)
    learning = shared.learning
    rollouts = learning.free_pairs
    table = learning.work.table([rollouts])
    episodes = read_collection(rollouts.path(BAGS), context.embodiment, context.recipe.cameras)
    success = np.array([bool(episode.success) for episode in episodes])
    parts = [learning.work.table([learning.demonstrations])]
    if success.any():
        parts.append(successful(table, success))
    return _cloned(context, shared, parts, context.recipe.cloning, successes=int(success.sum()))


def pixels(context: Context) -> Made:
    """In the style of DreamGen: cloning on videos that the world model dreams and an inverse dynamics model labels."""
    shared = Shared(context)
    learning, work = shared.learning, shared.learning.work
    demonstrations = work.table([learning.demonstrations])
    pairs = joined([demonstrations, work.table([learning.free_pairs])])
    checkpoint = context.stage.scratch / "inverse_dynamics.pt"
    idm, _ = train_idm(pairs, context.recipe.inverse_dynamics, context.recipe.seed, checkpoint)
    model = load_world_model(learning.world_model.path(WORLD_MODEL)).eval()
    videos = work.table([learning.videos], with_actions=False)
    length = round(len(videos) / len(videos.episode_ids))
    dreams = dreamed(model, idm.eval(), videos, length, context.embodiment, work.used(demonstrations))
    config = replace(context.recipe.cloning, proprioception=False)
    return _cloned(context, shared, [dreams, demonstrations], config)


def _pseudo_labels(context: Context, config: CompactConfig) -> Made:
    shared = Shared(context)
    learning, work = shared.learning, shared.learning.work
    demonstrations, videos = work.table([learning.demonstrations]), work.table([learning.videos], with_actions=False)
    model = load_world_model(learning.world_model.path(WORLD_MODEL))
    alignment = load_alignment(learning.stage1.path(ALIGNMENT)).eval()
    latents = real_latents(model, videos)
    labelled = pseudo_labelled(videos, alignment, latents, context.embodiment, work.used(demonstrations))
    return _cloned(context, shared, [labelled, demonstrations], config, r2=learning.stage1.metrics["r2"])


def _cloned(context: Context, shared: Shared, parts: list[ChunkTable], config: CompactConfig, **figures: float) -> Made:
    """Clone all parts; the smaller ones are repeated until none has less than about half the chunks of the largest."""
    most = max(map(len, parts))
    table = joined([part for part in parts for _ in range(max(1, round(most / 2 / len(part))))])
    stage, seed = context.stage, context.recipe.seed
    network, history = train_compact(
        table, context.embodiment, config, seed, stage.scratch / "checkpoint.pt", stage.name
    )
    save_compact(stage.path(POLICY), network, config, context.embodiment)
    policy = f"compact:{stage.path(POLICY).resolve()}"
    return shared.made(policy, chunks=len(table), loss=history[-1]["loss"], **figures)
