"""The stages of learning, each made when it is first asked for: those of the main recipe and of a study's cell."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from importlib import import_module
from types import ModuleType
from typing import Any

from world2act_core.alignment import adapters, calibrate, losses, motion, sampling
from world2act_core.alignment import states as state_dynamics
from world2act_core.alignment import train as alignment_train
from world2act_core.embodiment import displacement
from world2act_core.episodes import chunks, reader, sources
from world2act_core.networks import blocks, codec, eyes
from world2act_core.policies import compact as compact_policy
from world2act_core.policies import seen
from world2act_core.recipes import recording, stages, trainer
from world2act_core.recipes.stages import Stages, stage_config
from world2act_core.residual import card as residual_card
from world2act_core.residual import files as residual_files
from world2act_core.residual import network as residual_network
from world2act_core.residual import policy as residual_policy
from world2act_core.residual import train as residual_train
from world2act_core.runs import Stage, training
from world2act_core.runs.stage import remember_sources
from world2act_core.simulators import control, libero, meshes, privileged, rendering, rollout, starts
from world2act_core.simulators.demonstrators import deliveries, grips, pick_and_place, script
from world2act_core.world_model import chunk_latents, matching
from world2act_core.world_model import compact as compact_world_model

# What a stage's result depends on besides its configuration and inputs: a change of these sources runs it again.
_DEMONSTRATOR: list[ModuleType] = [privileged, script, grips, pick_and_place, deliveries]
SIMULATION: list[ModuleType] = [libero, control, rendering, meshes, starts, rollout, *_DEMONSTRATOR, recording]
_EYES: list[ModuleType] = [blocks, codec, eyes]
_BASE: list[ModuleType] = [stages, compact_policy, displacement, seen, *_EYES, chunks, training]
_WORLD_MODEL: list[ModuleType] = [stages, compact_world_model, codec, chunks, training]
_ALIGNMENT: list[ModuleType] = [adapters, displacement, motion, losses, sampling, alignment_train, calibrate]
_STAGE1: list[ModuleType] = [stages, *_ALIGNMENT, blocks, chunk_latents, chunks, training]
_RESIDUAL_POLICY: list[ModuleType] = [displacement, residual_card, residual_files, residual_policy]
_RESIDUAL: list[ModuleType] = [*_EYES, residual_network, residual_train, *_RESIDUAL_POLICY, losses, training]
_STATES: list[ModuleType] = [stages, state_dynamics, blocks, displacement, chunks, training]
STAGE2_OF_LOGS: list[ModuleType] = [stages, trainer, chunk_latents, matching, state_dynamics, *_RESIDUAL]
_SYNCHRONISE = import_module("world2act_core.episodes.synchronise")  # its package calls its function the same
READING: list[ModuleType] = [sources, reader, _SYNCHRONISE, chunks]  # of logs: what can be used of them
_STAGE2: list[ModuleType] = [*STAGE2_OF_LOGS, *SIMULATION]
remember_sources(*_BASE, *_WORLD_MODEL, *_STAGE1, *_STAGE2, *READING)

OF_STAGE2 = ("stage2", "stage2_on_videos", "stage2_on_demonstrations", "imagination", "residual", "clips",
             "used_spread", "unused")  # fmt: skip
"""Settings that Stage 2 goes by, wherever its rollouts come from."""

MakeStage = Callable[..., Stage]
"""``Run.stage``, or a function of the same arguments."""


class Learning:
    """The stages of one recipe.

    Args:
        work, make: of everything that is trained anew with each seed.
        shared_work, shared: of what seeds have in common: demonstrations, videos, the base and its rollouts.
    """

    def __init__(
        self, work: Stages, make: MakeStage, shared_work: Stages | None = None, shared: MakeStage | None = None
    ) -> None:
        self.work, self.shared_work = work, shared_work or work
        self.recipe, self.shared_recipe = work.recipe, self.shared_work.recipe
        self._make, self._shared = make, shared or make

    @cached_property
    def demonstrations(self) -> Stage:
        return self._shared(
            "demonstrations",
            self.shared_work.demonstrations,
            config=stage_config(self.shared_recipe, "demonstrations", "release_chunks"),
            code=SIMULATION,
        )

    @cached_property
    def pretraining(self) -> Stage:
        """What the base is cloned from: the demonstrations, or more than these."""
        if not self.shared_recipe.pretraining.count:
            return self.demonstrations
        return self._shared(
            "pretraining",
            self.shared_work.pretraining,
            config=stage_config(self.shared_recipe, "pretraining", "video_noise", "release_chunks"),
            code=SIMULATION,
        )

    @cached_property
    def videos(self) -> Stage:
        return self._shared(
            "videos",
            self.shared_work.videos,
            config=stage_config(self.shared_recipe, "videos", "video_noise", "release_chunks"),
            code=SIMULATION,
        )

    @cached_property
    def base(self) -> Stage:
        pretraining = self.pretraining
        return self._shared(
            "base",
            lambda stage: self.shared_work.base(stage, pretraining),
            config=stage_config(self.shared_recipe, "base"),
            inputs=[pretraining],
            code=_BASE,
        )

    @cached_property
    def free_pairs(self) -> Stage:
        base = self.base
        return self._shared(
            "free_pairs",
            lambda stage: self.shared_work.free_pairs(stage, base),
            config=stage_config(self.shared_recipe, "free_pairs", "pair_noise", "pair_steps"),
            inputs=[base],
            code=SIMULATION,
        )

    @cached_property
    def world_model(self) -> Stage:
        return self.world_model_of("world_model", self.videos)

    def world_model_of(self, name: str, videos: Stage) -> Stage:
        """A world model that has seen the videos of one stage only."""
        return self._make(
            name,
            lambda stage: self.work.world_model(stage, videos),
            config=stage_config(self.recipe, "world_model", "clips", "base"),
            inputs=[videos],
            code=_WORLD_MODEL,
        )

    @cached_property
    def stage1(self) -> Stage:
        return self.stage1_of("stage1", self.world_model)

    def stage1_of(
        self, name: str, world_model: Stage, *, labelled: Stage | None = None, videos: Stage | None = None
    ) -> Stage:
        """Adapters for one world model, with another stage's actions than those that come free, or other videos."""
        read = [self.demonstrations, labelled or self.free_pairs, videos or self.videos, world_model]
        return self._make(
            name,
            lambda stage: self.work.stage1(stage, *read),
            config=stage_config(self.recipe, "stage1", "calibration", "clips", "base", "demonstrations_weigh"),
            inputs=list({stage.name: stage for stage in read}.values()),
            code=_STAGE1,
        )

    @cached_property
    def states(self) -> Stage:
        """What the robot's own state tells of actions, learned from the labelled pairs of Stage 1."""
        read = [self.demonstrations, self.free_pairs]
        return self._make(
            "states",
            lambda stage: self.work.states(stage, *read),
            config=stage_config(self.recipe, "states", "base", "clips", "demonstrations_weigh"),
            inputs=read,
            code=_STATES,
        )

    @property
    def told_by_states(self) -> Stage | None:
        """``states``, if Stage 2 is to go by it."""
        return self.states if self.recipe.stage2_on_videos == "states" else None

    @cached_property
    def stage2(self) -> Stage:
        read = [self.demonstrations, self.base, self.videos, self.world_model, self.stage1]
        told = self.told_by_states
        return self._make(
            "stage2",
            lambda stage: self.work.stage2(stage, *read, states=told),
            config=stage_config(self.recipe, *OF_STAGE2, "post_training", "rounds", "rollout_steps"),
            inputs=[*read, *([told] if told else [])],
            code=_STAGE2,
        )


def evaluation_code(*more: Any) -> list[ModuleType]:
    """Sources that the evaluation of a post-trained policy depends on."""
    return [*more, *_RESIDUAL_POLICY, *SIMULATION]
