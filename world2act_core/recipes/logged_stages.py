"""The stages of post-training on logs: episodes lie where they were logged, and a base behind an address is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.episodes.chunks import ChunkTable, chunk_table
from world2act_core.episodes.messages import HOW_EPISODES_ARE_MARKED
from world2act_core.episodes.reader import BagReport
from world2act_core.episodes.sources import find_sources, iterate_source
from world2act_core.errors import RunError, World2ActError
from world2act_core.policies.seen import SeenInputs
from world2act_core.recipes.given_base import AskedBase, ask
from world2act_core.recipes.settings import Recipe
from world2act_core.recipes.stage_files import BASE_ADDRESS
from world2act_core.recipes.stages import Stages
from world2act_core.recipes.trainer import FrozenBase
from world2act_core.residual.bases import read_base_address
from world2act_core.runs import Stage
from world2act_core.runs.stage import write_json
from world2act_core.types import Episode

SOURCES, LEFT_OUT, ANSWERS = "sources.json", "left_out.json", "answers.npy"

Inputs = Mapping[str, Sequence[Path]]
"""Paths by the option that names them."""


class LoggedStages(Stages):
    """The work of the stages on sources that lie where they were logged: a stage holds their names and hashes.

    Args:
        cameras: which every episode must have: what the models see, and what a base that is asked sees.
    """

    def __init__(self, recipe: Recipe, cameras: Sequence[str]) -> None:
        self.recipe, self.embodiment, self.cameras = recipe, load_embodiment(recipe.embodiment), tuple(cameras)
        self._sources: dict[str, list[str]] = {}

    def find(self, stage: str, inputs: Inputs) -> None:
        """Say where the episodes of a stage lie now; when they were noted they may have lain elsewhere."""
        self._sources[stage] = sources_of(flat(inputs))

    def check(self, inputs: Inputs, listed: Path) -> None:
        """Find an episode that can be used for each option that names any input.

        Args:
            listed: file for why those of an option cannot.

        Raises:
            World2ActError: no episode of an option can.
        """
        for option, paths in inputs.items():
            left_out: list[str] = []
            found = (e for s in sources_of(paths) for e in usable_episodes(s, self.embodiment, self.cameras, left_out))
            if paths and next(found, None) is None:
                raise nothing_of(option, paths, left_out, listed)

    def note(self, stage: Stage) -> None:
        """Seal how much of the inputs, which were checked, can be used, and where they lay; what they hold is in the
        stage's configuration."""
        sources, left_out = self._sources[stage.name], list[str]()
        write_json(stage.path(SOURCES), sources)
        usable = (e for s in sources for e in usable_episodes(s, self.embodiment, self.cameras, left_out))
        table = self._table(self._as_learned(episode, True) for episode in usable)
        write_json(stage.path(LEFT_OUT), left_out)
        labelled = [
            name for number, name in enumerate(table.episode_ids) if table.labelled[table.episode == number].any()
        ]
        found = {"episodes": len(table.episode_ids), "with_actions": len(labelled), "chunks": len(table)}
        stage.metrics = {**found, "left_out": len(left_out)}
        stage.starts = list(table.start_ids)  # "" of what was no simulator's

    def ask(self, stage: Stage, base: AskedBase, at: Stage) -> None:
        """What a base behind an address would do at every chunk of a stage's episodes, with the prompts that were
        carried out there, whatever the models' clips are."""
        chunks, label = int(at.metrics["chunks"]), f"asking the base: {at.name}"
        answers = ask(base.policy(), self._episodes(at), self.embodiment, stage.scratch / "answers", label, chunks)
        np.save(stage.path(ANSWERS), answers)
        stage.metrics = {"chunks": len(answers)}

    def stage2_of_logs(
        self,
        stage: Stage,
        demonstrations: Stage,
        base: Stage,
        world_model: Stage,
        stage1: Stage,
        logged: Stage,
        *answers: Stage,
        videos: Stage | None = None,
        states: Stage | None = None,
    ) -> None:
        """Stage 2 without a simulator: what would the base do at every chunk of logged episodes?

        Args:
            answers: of a base that is no file of ours: what it said at the chunks of other stages, see ``ask``.
            videos: at whose frames it learns too.
            states: see ``stage2``.
        """
        trainer = self.trainer(demonstrations, base, world_model, stage1, states=states)
        shown = None if videos is None else self._told(videos, answers, with_actions=False)
        trainer.learn_beside(shown, self._told(demonstrations, answers))
        trainer.train_once(trainer.rolled_out(self._told(logged, answers, with_actions=False)), stage)

    def asks_base_at(self, demonstrations: Stage, videos: Stage | None, logged: Stage) -> list[Stage]:
        """The stages at whose chunks Stage 2 must know what the base would do: none where nothing of that is left."""
        recipe = self.recipe
        if recipe.residual.deaf and not recipe.stage2.penalty and self.moved(self.table([demonstrations])).all():
            return []
        at_videos = [] if videos is None or recipe.stage2_on_videos == "none" else [videos]
        return [logged, *at_videos, *[demonstrations] * (recipe.stage2_on_demonstrations > 0)]

    def frozen(self, base: Stage) -> FrozenBase:
        elsewhere, config = base.path(BASE_ADDRESS), self.recipe.base
        if not elsewhere.is_file():
            return super().frozen(base)
        seen = SeenInputs(self.recipe.cameras, config.streams, config.image_size)
        return FrozenBase(read_base_address(elsewhere).identity, self.embodiment, seen, _as_it_answered)

    def _told(self, stage: Stage, answers: Sequence[Stage], *, with_actions: bool = True) -> ChunkTable:
        """The chunks of a stage, with what the base answered at each if it was asked there.

        Raises:
            RunError: the episodes are read otherwise than when it was asked.
        """
        table = self.table([stage], with_actions=with_actions)
        for asked in answers:
            if asked.name == asked_at(stage):
                base = np.load(asked.path(ANSWERS))
                if len(base) != len(table):
                    raise RunError(
                        f"{asked.folder} holds what the base said at {len(base)} chunks, but there are {len(table)} "
                        f"now: remove that folder, so that it is asked again"
                    )
                return replace(table, base=base)
        return table

    def table(self, stages: list[Stage], *, with_actions: bool = True) -> ChunkTable:
        return self._table(
            self._as_learned(episode, with_actions) for stage in stages for episode in self._episodes(stage)
        )

    def _table(self, episodes: Iterator[Episode]) -> ChunkTable:
        config = self.recipe.base
        return chunk_table(episodes, self.embodiment, self.recipe.cameras, config.streams, config.image_size)

    def _episodes(self, stage: Stage) -> Iterator[Episode]:
        for source in self._sources[stage.name]:
            yield from usable_episodes(source, self.embodiment, self.cameras, [])

    def _as_learned(self, episode: Episode, with_actions: bool) -> Episode:
        seen = episode if with_actions else episode.without_actions()
        return replace(seen, skills=()) if self.recipe.clips == "tasks" else seen


def asked_at(stage: Stage) -> str:
    """Name of the stage that keeps what the base said at the chunks of another."""
    return f"base_at_{stage.name}"


def _as_it_answered(table: ChunkTable) -> torch.Tensor:
    """What the base said; where it was not asked, nothing of that is left (see ``LoggedStages.asks_base_at``)."""
    return torch.from_numpy(np.zeros_like(table.actions) if table.base is None else table.base)


def flat(inputs: Inputs) -> tuple[Path, ...]:
    return tuple(path for paths in inputs.values() for path in paths)


def sources_of(paths: Sequence[Path]) -> list[str]:
    return list(dict.fromkeys(str(source.resolve()) for source in find_sources(paths)))


def usable_episodes(
    source: str, embodiment: Embodiment, cameras: Sequence[str] | None, left_out: list[str]
) -> Iterator[Episode]:
    """What a recording lost is left out, as everywhere; episodes shorter than a chunk too. Each with its reason."""
    m, report = embodiment.chunk_length, BagReport()
    for episode in iterate_source(source, embodiment, cameras, frame_every=m, report=report):
        if episode.images and any(True for _ in episode.chunk_starts(m)):
            yield episode
        else:
            left_out.append(f"{episode.episode_id} of {source}: no images, or shorter than a chunk of {m} steps")
    left_out += [f"{refused.episode_id} of {source}: {refused.reason}" for refused in report.refused]
    left_out += [str(report.damage)] if report.damage else []


def nothing_of(option: str, paths: Sequence[Path], left_out: list[str], file: Path) -> World2ActError:
    """Of an option none of whose episodes can be used; the reasons are listed in a file first."""
    write_json(file, left_out)
    if not left_out:
        where = ", ".join(map(str, paths))
        return World2ActError(
            f"no episode of {option} can be used: there is none in {where}; {HOW_EPISODES_ARE_MARKED}"
        )
    return World2ActError(
        f"no episode of {option} can be used: {len(left_out)} left out, the first is {left_out[0]}; all in {file}"
    )
