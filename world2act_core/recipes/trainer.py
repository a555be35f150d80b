"""Stage 2 in rounds: what a frozen base does at every chunk, what is asked for there, and the residual in between."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from world2act_core.alignment.adapters import Alignment
from world2act_core.alignment.states import StateDynamics, read_states
from world2act_core.alignment.train import video_latents
from world2act_core.embodiment import Embodiment
from world2act_core.episodes.chunks import ChunkTable, displaced, labelled
from world2act_core.policies.compact import CompactPolicy, load_compact
from world2act_core.policies.seen import Inputs
from world2act_core.recipes.settings import Recipe, check_rest
from world2act_core.recipes.stage_files import RESIDUAL, finish
from world2act_core.residual.files import save_residual
from world2act_core.residual.network import Residual
from world2act_core.residual.train import EasyNegatives, PostTrainingSet, train_residual
from world2act_core.runs import Stage, file_digest
from world2act_core.world_model.chunk_latents import ChunkLatents, real_latents
from world2act_core.world_model.compact import CompactWorldModel
from world2act_core.world_model.matching import targets


@dataclass(frozen=True)
class FrozenBase:
    """The base that a residual is trained on.

    Attributes:
        identity: which one: SHA-256 of its file, or what a base without a file states.
        embodiment: that it acts for.
        inputs: what the residual is shown beside its chunks.
        acts: a table of ``N`` chunks → ``(N, M, A)``, what the base does at each, in range.
    """

    identity: str
    embodiment: Embodiment
    inputs: Inputs
    acts: Callable[[ChunkTable], torch.Tensor]

    @property
    def action_range(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Lowest and highest values, ``(A,)`` each."""
        layout = self.embodiment.action
        return torch.from_numpy(layout.low), torch.from_numpy(layout.high)


def compact_base(file: Path, embodiment: Embodiment) -> FrozenBase:
    """A compact policy, which acts on the frames of the table; models see what it sees."""
    return frozen_compact(load_compact(file, embodiment), file_digest(file))


def frozen_compact(policy: CompactPolicy, identity: str) -> FrozenBase:
    """The same of a policy that is loaded."""
    layout = policy.embodiment.action

    @torch.no_grad()
    def acts(table: ChunkTable) -> torch.Tensor:
        frames, proprio = torch.from_numpy(table.frames[table.before]), torch.from_numpy(table.proprio)
        parts = zip(frames.split(256), proprio.split(256), strict=True)
        chunks = torch.cat([policy.network(seen, state) for seen, state in parts])
        return chunks.clamp(torch.from_numpy(layout.low), torch.from_numpy(layout.high))

    return FrozenBase(identity, policy.embodiment, policy.config, acts)


def moved_dimensions(used: torch.Tensor, unused: str, embodiment: Embodiment) -> torch.Tensor:
    """``(A,)`` bool: which action dimensions a residual moves; to hold the unused ones still it moves them all, but for
    a gripper that is not used: no value of it is rest, so it stays the base's.

    Raises:
        World2ActError: they cannot be held still by asking for 0.
    """
    if unused == "base":
        return used
    check_rest(embodiment)
    moved = torch.ones_like(used)
    moved[embodiment.gripper.index] = used[embodiment.gripper.index]
    return moved


class Trainer:
    """Trains one residual on one base, in rounds.

    Args:
        used: ``(A,)`` bool, the action dimensions in which an adapter is believed.
        states: what the robot's state tells of actions, where the recipe goes by that at the frames of the videos.
    """

    def __init__(
        self,
        recipe: Recipe,
        model: CompactWorldModel,
        alignment: Alignment,
        base: FrozenBase,
        residual: Residual,
        used: torch.Tensor,
        states: StateDynamics | None = None,
    ) -> None:
        self.recipe, self.model, self.alignment, self.residual = recipe, model, alignment, residual
        self.base, self.used, self.states = base, used, states
        self._easy: EasyNegatives | None = None
        self._shown: PostTrainingSet | None = None
        self._demonstrated: PostTrainingSet | None = None

    def learn_beside(self, videos: ChunkTable | None, demonstrations: ChunkTable) -> None:
        """Take what videos and demonstrations show to every set of rollouts, as far as the recipe wants it."""
        self._shown = None if videos is None else self._shown_by_videos(videos)
        self._demonstrated = self._of_demonstrations(demonstrations)

    @torch.no_grad()
    def keep_apart_from(self, table: ChunkTable) -> None:
        """Take the labelled chunks of other tasks as further negatives of the contrast."""
        rows = np.flatnonzero(table.labelled)
        video = video_latents(self.alignment, real_latents(self.model, table), rows)
        actions = displaced(table, self.alignment.displacement).actions[rows]
        self._easy = EasyNegatives(video, self.alignment.action(torch.from_numpy(actions)))

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
        shown = self.chunks_of(table, real_latents(self.model, table), imagined=False)
        if self.recipe.stage2_on_videos == "real":
            return shown
        assert self.states is not None, "nothing was said of states"
        return self._as_told(shown, table, self.states)

    def _as_told(self, shown: PostTrainingSet, table: ChunkTable, states: StateDynamics) -> PostTrainingSet:
        """What is asked for is what the course of the state tells."""
        actions = read_states(states, table, self.base.embodiment)
        told = self.alignment.displacement.of(actions, table.standing)
        return replace(shown, wanted=torch.from_numpy(told) * self.used)

    def _of_demonstrations(self, table: ChunkTable) -> PostTrainingSet | None:
        """Their actions are known, so what is asked for is not read from latents."""
        if not self.recipe.stage2_on_demonstrations:
            return None
        table = labelled(table)
        data = self.chunks_of(table, real_latents(self.model, table), imagined=False)
        actions = displaced(table, self.alignment.displacement).actions
        return replace(data, wanted=torch.from_numpy(actions) * self.used)

    def chunks_of(self, table: ChunkTable, latents: ChunkLatents, *, imagined: bool) -> PostTrainingSet:
        """What is read in dimensions that are not used is not asked for: there the mask keeps the base's, or 0 is."""
        data = post_training_set(table, self.base, latents, self.alignment, imagined=imagined)
        assert data.wanted is not None
        return replace(data, wanted=data.wanted * self.used)

    def train_once(self, data: PostTrainingSet, stage: Stage) -> None:
        """The only round of a stage that needs no rollouts."""
        history = self.train(data, stage.scratch)
        shutil.copyfile(stage.scratch / RESIDUAL, stage.path(RESIDUAL))
        finish(stage, history, {"chunks": len(data), "cosine": history[-1]["cosine"]})

    @property
    def _range(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Of what the residual says; of displacements any, because the policy clamps where they lead."""
        placed = torch.tensor(self.alignment.displacement.units or [0.0]) > 0
        low, high = self.base.action_range
        return low.masked_fill(placed, -torch.inf), high.masked_fill(placed, torch.inf)

    def train(self, data: PostTrainingSet, folder: Path, number: int = 0) -> list[dict[str, float]]:
        """A round; writes the residual into ``folder`` and returns the history, steps counted over all rounds."""
        if number == 0:
            self.residual.standardise.fit(data.proprio)
        config = self.recipe.stage2
        done = train_residual(
            self.residual,
            self.alignment,
            data,
            self._range,
            config,
            self.recipe.seed + number,
            folder / "checkpoint.pt",
            f"stage 2, round {number + 1}",
            self._easy,
        )
        how = self.recipe.residual, self.alignment, self.base.identity, self.base.inputs, self.base.embodiment
        save_residual(folder / RESIDUAL, self.residual, *how)
        return [{**entry, "step": entry["step"] + number * config.steps} for entry in done]


@torch.no_grad()
def post_training_set(
    table: ChunkTable, base: FrozenBase, latents: ChunkLatents, alignment: Alignment, *, imagined: bool = True
) -> PostTrainingSet:
    """What the base does at every chunk of a table, and where the world model imagines it should lead; with real
    latents and ``imagined`` False, where it really led. Actions as the adapters go by them."""
    displacement, stood = alignment.displacement, table.standing
    target = video_latents(alignment, latents, np.arange(len(table)), imagined=imagined)
    read = base.embodiment.decided(displacement.back(alignment.decoder(target).numpy(), stood))
    does, wanted = (torch.from_numpy(displacement.of(x, stood)) for x in (base.acts(table).numpy(), read))
    frames, proprio = torch.from_numpy(table.frames[table.before]), torch.from_numpy(table.proprio)
    return PostTrainingSet(frames, proprio, does, target, torch.from_numpy(table.episode), wanted)
