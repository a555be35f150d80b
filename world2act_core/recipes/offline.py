"""Post-training from logged episodes alone: no simulator, no robot. ``world2act post-train``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.episodes.chunks import ChunkTable, chunk_table
from world2act_core.episodes.messages import HOW_EPISODES_ARE_MARKED
from world2act_core.episodes.reader import BagReport
from world2act_core.episodes.sources import find_sources, iterate_source
from world2act_core.errors import World2ActError
from world2act_core.policies.compact import open_compact_policy
from world2act_core.recipes.learning import OF_STAGE2, STAGE2_OF_LOGS, Learning
from world2act_core.recipes.settings import Recipe
from world2act_core.recipes.stage_files import POLICY
from world2act_core.recipes.stages import Stages, stage_config
from world2act_core.runs import Run, Stage
from world2act_core.runs.stage import file_digest, write_json
from world2act_core.types import Episode
from world2act_core.world_model.videos import digest_of

SOURCES, LEFT_OUT = "sources.json", "left_out.json"
LEAST_LABELLED = 16
"""Episodes with actions: a tenth of them is kept for measuring, and must not be one alone (of 15 it would be)."""

LEAST_SHOWN = 5
"""Episodes that show the skill: a tenth of them is kept for measuring the world model (of 4 it would be none)."""

Inputs = Mapping[str, Sequence[Path]]
"""Paths by the option that names them."""

READS_LITTLE = 0.5
"""Share of the actions' variance."""

OF_A_SIMULATOR = ("suite", "task", "jitter_cm")
"""Of a recipe's scene: the logs were taken wherever they were, and a manifest must not say that it was there."""


@dataclass(frozen=True)
class Logs:
    """What was logged: bags, HDF5 files, LeRobot data sets, or folders of them.

    Attributes:
        demonstrations: with actions; what the base is cloned from, and what says which action dimensions are used.
        logged: the base at work, with the actions that were executed, successful or not. Where there are none yet, the
            base is made and nothing is post-trained.
        videos: without actions, or with actions that are not read.
        base: file of a compact base policy, whose cameras, streams and image size all models then share; None clones
            one from the demonstrations.
    """

    demonstrations: tuple[Path, ...]
    logged: tuple[Path, ...] = ()
    videos: tuple[Path, ...] = ()
    base: Path | None = None


class LoggedStages(Stages):
    """The work of the stages on sources that lie where they were logged: a stage holds their names and hashes."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.embodiment = recipe, load_embodiment(recipe.embodiment)

    def note(self, stage: Stage, inputs: Inputs) -> None:
        """Seal what the inputs are called; their contents are in the stage's configuration.

        Raises:
            World2ActError: no episode of an option can be used; why is listed in the stage's folder.
        """
        stage.path(SOURCES).write_text(json.dumps(_sources(_flat(inputs))))
        left_out: list[str] = []
        table = self._table(self._as_learned(episode, True) for episode in self._of_each(inputs, stage, left_out))
        write_json(stage.path(LEFT_OUT), left_out)
        labelled = [
            name for number, name in enumerate(table.episode_ids) if table.labelled[table.episode == number].any()
        ]
        found = {"episodes": len(table.episode_ids), "with_actions": len(labelled), "chunks": len(table)}
        stage.metrics = {**found, "left_out": len(left_out)}
        stage.starts = list(table.start_ids)  # "" of what was no simulator's

    def table(self, stages: list[Stage], *, with_actions: bool = True) -> ChunkTable:
        return self._table(
            self._as_learned(episode, with_actions) for stage in stages for episode in self._episodes(stage)
        )

    def _table(self, episodes: Iterator[Episode]) -> ChunkTable:
        config = self.recipe.base
        return chunk_table(episodes, self.embodiment, self.recipe.cameras, config.streams, config.image_size)

    def _of_each(self, inputs: Inputs, stage: Stage, left_out: list[str]) -> Iterator[Episode]:
        """The usable episodes of each option's sources; a source that two options name is read once."""
        usable: dict[str, bool] = {}
        for option, paths in inputs.items():
            sources, told_before = _sources(paths), len(left_out)
            for source in (source for source in sources if source not in usable):
                usable[source] = False
                for episode in _usable(source, self.embodiment, self.recipe.cameras, left_out):
                    usable[source] = True
                    yield episode
            if sources and not any(usable[source] for source in sources):
                raise _nothing_of(option, paths, left_out[told_before:], stage.path(LEFT_OUT))

    def _episodes(self, stage: Stage) -> Iterator[Episode]:
        for source in json.loads(stage.path(SOURCES).read_text()):
            yield from _usable(source, self.embodiment, self.recipe.cameras, [])

    def _as_learned(self, episode: Episode, with_actions: bool) -> Episode:
        seen = episode if with_actions else episode.without_actions()
        return replace(seen, skills=()) if self.recipe.clips == "tasks" else seen


def _flat(inputs: Inputs) -> tuple[Path, ...]:
    return tuple(path for paths in inputs.values() for path in paths)


def _sources(paths: Sequence[Path]) -> list[str]:
    return list(dict.fromkeys(str(source.resolve()) for source in find_sources(paths)))


def _usable(
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


def _nothing_of(option: str, paths: Sequence[Path], left_out: list[str], file: Path) -> World2ActError:
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


class OfflineLearning(Learning):
    """The stages of learning, on logs."""

    def __init__(self, recipe: Recipe, run: Run, logs: Logs) -> None:
        self.logged_work, self.run, self.logs = LoggedStages(recipe), run, logs
        super().__init__(self.logged_work, self._stage)

    def _stage(self, name: str, work: Callable[[Stage], None], *, config: dict[str, Any], **how: Any) -> Stage:
        kept = {key: value for key, value in config.items() if key not in OF_A_SIMULATOR}
        return self.run.stage(name, work, config=kept, **how)

    def _noted(self, name: str, inputs: Inputs) -> Stage:
        config = {**stage_config(self.recipe, "clips"), "inputs_sha256": digest_of(_flat(inputs))}
        return self._stage(name, lambda stage: self.logged_work.note(stage, inputs), config=config)

    @cached_property
    def demonstrations(self) -> Stage:
        return self._noted("demonstrations", {"--demonstrations": self.logs.demonstrations})

    @cached_property
    def free_pairs(self) -> Stage:
        return self._noted("logged", {"--logged": self.logs.logged})

    @cached_property
    def videos(self) -> Stage:
        """All that shows the skill being carried out."""
        return self._noted("videos", {"--videos": self.logs.videos, "--demonstrations": self.logs.demonstrations})

    @cached_property
    def base(self) -> Stage:
        given = self.logs.base
        if given is None:
            return super().base
        config = {"base_sha256": file_digest(given)}
        return self.run.stage("base", lambda stage: _copy(given, stage.path(POLICY)), config=config)

    @cached_property
    def stage2(self) -> Stage:
        read = [self.demonstrations, self.base, self.videos, self.world_model, self.stage1, self.free_pairs]
        return self._stage(
            "stage2",
            lambda stage: self.logged_work.stage2_of_logs(stage, *read),
            config=stage_config(self.recipe, *OF_STAGE2),
            inputs=read,
            code=STAGE2_OF_LOGS,
        )


def post_train(
    logs: Logs,
    folder: Path,
    recipe: Recipe,
    cameras: Sequence[str] | None = None,
    announce: Callable[[str], None] = print,
) -> dict[str, Stage]:
    """Run or resume post-training on logs in a run folder, which ``run:FOLDER`` opens; returns its stages by name:
    the demonstrations and the base alone where nothing of the base at work was logged yet.

    Raises:
        World2ActError: nothing usable in the logs, unknown cameras, too few episodes in all or with actions, or another
            base.
    """
    recipe = _as_seen(logs, recipe, cameras, folder)
    torch.set_num_threads(recipe.torch_threads)
    with Run(folder, announce) as run:
        learning = OfflineLearning(recipe, run, logs)
        _check(learning)
        if not logs.logged:
            return {stage.name: stage for stage in (learning.demonstrations, learning.base)}
        made = [learning.demonstrations, learning.free_pairs, learning.videos, learning.base, learning.world_model,
                learning.stage1, learning.stage2]  # fmt: skip
    return {stage.name: stage for stage in made}


def _as_seen(logs: Logs, recipe: Recipe, cameras: Sequence[str] | None, folder: Path) -> Recipe:
    """The recipe with what all models are to see: what a given base does, or the cameras that are asked for, or those
    of the first demonstration."""
    robot = load_embodiment(recipe.embodiment)
    if logs.base is not None and not logs.base.is_file():
        raise World2ActError(f"--base {logs.base} is not a file: name that of the policy, as RUN/base/{POLICY}")
    base = recipe.base if logs.base is None else open_compact_policy(str(logs.base), robot).config
    asked = tuple(cameras or ())
    if logs.base is not None and asked not in ((), base.cameras):
        raise World2ActError(
            f"{logs.base} sees the cameras {', '.join(base.cameras)}, but post-training was to see {', '.join(asked)}: "
            f"do not ask for cameras, or name a base that sees these"
        )
    seen_by = base.cameras if logs.base is not None else asked or _first_seen(logs, robot, folder)
    unknown = [name for name in seen_by if name not in robot.cameras]
    if unknown:
        known = ", ".join(robot.cameras)
        raise World2ActError(f"{robot.name} has no camera {', '.join(unknown)}: it has {known}")
    return replace(recipe, cameras=seen_by, base=replace(base, cameras=seen_by))


def _first_seen(logs: Logs, robot: Embodiment, folder: Path) -> tuple[str, ...]:
    """The cameras of the first usable demonstration, in the order of the contract."""
    left_out: list[str] = []
    for source in _sources(logs.demonstrations):
        for episode in _usable(source, robot, None, left_out):
            return tuple(name for name in robot.cameras if name in episode.images)
    folder.mkdir(parents=True, exist_ok=True)
    raise _nothing_of("--demonstrations", logs.demonstrations, left_out, folder / LEFT_OUT)


def _check(learning: OfflineLearning) -> None:
    demonstrations = learning.demonstrations.metrics["with_actions"]
    if not demonstrations:
        raise World2ActError(
            "no demonstration has actions: record them with the commands that were executed"
            + _left_out([learning.demonstrations], "; ")
        )
    if not learning.logs.logged:
        return
    logged = learning.free_pairs.metrics["with_actions"]
    if demonstrations + logged < LEAST_LABELLED:
        raise World2ActError(
            f"{demonstrations} demonstrations and {logged} logged episodes have actions: post-training needs at least "
            f"{LEAST_LABELLED} together, a tenth of which it keeps for measuring; log more of the base at work"
            + _left_out([learning.demonstrations, learning.free_pairs], "; ")
        )
    shown = learning.videos.metrics["episodes"]
    if shown < LEAST_SHOWN:
        raise World2ActError(
            f"{shown} episodes show the skill (--demonstrations and --videos): the world model needs at least "
            f"{LEAST_SHOWN}, a tenth of which it keeps for measuring; record more of either"
            + _left_out([learning.videos], "; ")
        )


def _left_out(stages: Sequence[Stage], before: str = "\n") -> str:
    """What of the logs could not be used, with the first reason; "" if everything could."""
    said = ""
    for stage in stages:
        file = stage.path(LEFT_OUT)
        reasons = json.loads(file.read_text())
        if reasons:
            said += f"{before}left out of {stage.name}: {len(reasons)}, the first is {reasons[0]}; all in {file}"
    return said


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def summary(stages: dict[str, Stage], folder: Path) -> str:
    """What was learned from what, and what to do with it."""
    lost = _left_out([stages[name] for name in ("demonstrations", "logged", "videos") if name in stages])
    if "stage2" not in stages:
        return (
            f"{stages['demonstrations'].metrics['episodes']} demonstrations; base: run:{folder}#base{lost}\n"
            f"post-training learns from the base at work too: log it (policy:=run:{folder}#base record:=FOLDER), then "
            f"give the same command with --logged FOLDER"
        )
    one, two = stages["stage1"].metrics, stages["stage2"].metrics
    counts = ", ".join(
        f"{stages[name].metrics['episodes']} {said}"
        for name, said in (("demonstrations", "demonstrations"), ("logged", "logged episodes"), ("videos", "videos"))
    )
    read = f"actions read from held-out video: R² {one['r2']:.2f}, retrieval {one['retrieval']:.2f}"
    if one["r2"] < READS_LITTLE:
        read += "; that is little, so Stage 2 had little to learn from: log more, or move more"
    return (
        f"{counts}{lost}\n{read}\n"
        f"residual: {two['chunks']} chunks, cosine {two['cosine']:.2f} (no measure of success: try it)\n"
        f"policy: run:{folder}   base: run:{folder}#base"
    )
