"""Post-training from logged episodes alone: no simulator, no robot. ``world2act post-train``."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.episodes import chunks
from world2act_core.errors import World2ActError
from world2act_core.policies.compact import open_compact_policy
from world2act_core.recipes import given_base
from world2act_core.recipes.given_base import AskedBase
from world2act_core.recipes.learning import OF_STAGE2, READING, STAGE2_OF_LOGS, Learning
from world2act_core.recipes.logged_stages import (
    LEFT_OUT,
    Inputs,
    LoggedStages,
    asked_at,
    flat,
    nothing_of,
    sources_of,
    usable_episodes,
)
from world2act_core.recipes.settings import Recipe
from world2act_core.recipes.stage_files import BASE_ADDRESS, POLICY
from world2act_core.recipes.stages import scene, stage_config
from world2act_core.residual.bases import write_base_address
from world2act_core.runs import Run, Stage
from world2act_core.runs.stage import file_digest
from world2act_core.world_model.videos import digest_of

LEAST_LABELLED = 16
"""Episodes with actions: a tenth of them is kept for measuring, and must not be one alone (of 15 it would be)."""

LEAST_SHOWN = 5
"""Episodes that show the skill: a tenth of them is kept for measuring the world model (of 4 it would be none)."""

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
        base: file of a compact base policy, whose cameras, streams and image size all models then share; or the address
            of any policy, whose cameras they share unless others are asked for. None clones one from demonstrations.
    """

    demonstrations: tuple[Path, ...]
    logged: tuple[Path, ...] = ()
    videos: tuple[Path, ...] = ()
    base: str | None = None


class OfflineLearning(Learning):
    """The stages of learning, on logs."""

    def __init__(self, recipe: Recipe, run: Run, logs: Logs, base: Path | AskedBase | None) -> None:
        asked = base.named.cameras if isinstance(base, AskedBase) else ()
        self.logged_work = LoggedStages(recipe, tuple(dict.fromkeys((*recipe.cameras, *asked))))
        self.run, self.logs, self.given = run, logs, base
        super().__init__(self.logged_work, self._stage)

    def _stage(self, name: str, work: Callable[[Stage], None], *, config: dict[str, Any], **how: Any) -> Stage:
        return self.run.stage(name, work, config=_kept(config), **how)

    def _noted(self, name: str, inputs: Inputs) -> Stage:
        read = {"inputs_sha256": digest_of(flat(inputs)), "read": list(self.logged_work.cameras)}
        how: dict[str, Any] = {"config": _kept({**scene(self.recipe), **read}), "code": READING}
        self.logged_work.find(name, inputs)
        if not self.run.is_sealed(name, **how):  # a mistaken path must not clear what was learned from others
            self.logged_work.check(inputs, self.run.folder / LEFT_OUT)
        return self.run.stage(name, self.logged_work.note, **how)

    @cached_property
    def demonstrations(self) -> Stage:
        return self._noted("demonstrations", {"--demonstrations": self.logs.demonstrations})

    @cached_property
    def free_pairs(self) -> Stage:
        return self._noted("logged", {"--logged": self.logs.logged})

    @cached_property
    def videos(self) -> Stage:
        """All that shows the skill being carried out, which the world model learns from."""
        return self._noted("videos", {"--videos": self.logs.videos, "--demonstrations": self.logs.demonstrations})

    @cached_property
    def shown(self) -> Stage | None:
        """What Stage 2 learns at from what it shows: no demonstrations, where these are asked for their true actions;
        None where there is nothing else."""
        if not self.recipe.stage2_on_demonstrations:
            return self.videos
        known = sources_of(self.logs.demonstrations)
        others = [Path(source) for source in sources_of(self.logs.videos) if source not in known]
        return self._noted("shown", {"--videos": others}) if others else None

    @cached_property
    def base(self) -> Stage:
        given = self.given
        if given is None:
            return super().base
        if isinstance(given, AskedBase):
            named = given.named
            return self.run.stage(
                "base", lambda stage: write_base_address(stage.path(BASE_ADDRESS), named), config=asdict(named)
            )
        config = {"base_sha256": file_digest(given)}
        return self.run.stage("base", lambda stage: _copy(given, stage.path(POLICY)), config=config)

    @cached_property
    def answers(self) -> list[Stage]:
        """What the base would do wherever Stage 2 needs to know, if it has to be asked for that."""
        given = self.given
        if not isinstance(given, AskedBase):
            return []
        stages = self.logged_work.asks_base_at(self.demonstrations, self.shown, self.free_pairs)
        return [self._answers_at(at, given) for at in stages]

    def _answers_at(self, at: Stage, base: AskedBase) -> Stage:
        """Which policy answered by which mapping decides, not where it was; what was learned from it does not."""
        known = {name: value for name, value in asdict(base.named).items() if name != "address"}
        how: dict[str, Any] = {"config": known, "inputs": [at], "code": [given_base, chunks]}
        if not self.run.is_sealed(asked_at(at), **how):
            base.policy()  # before anything is cleared that it said
        return self.run.stage(asked_at(at), lambda stage: self.logged_work.ask(stage, base, at), **how)

    @cached_property
    def stage2(self) -> Stage:
        read = [self.demonstrations, self.base, self.world_model, self.stage1, self.free_pairs, *self.answers]
        shown, told = self.shown, self.told_by_states
        return self._stage(
            "stage2",
            lambda stage: self.logged_work.stage2_of_logs(stage, *read, videos=shown, states=told),
            config=stage_config(self.recipe, *OF_STAGE2),
            inputs=[*read, *filter(None, [shown, told])],
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
        World2ActError: nothing usable in the logs, something in them that is named for two things, unknown cameras, too
            few episodes in all or with actions, or another base.
    """
    robot = load_embodiment(recipe.embodiment)
    _check_apart(logs)
    with contextlib.ExitStack() as opened, contextlib.ExitStack() as asked:
        base = None if logs.base is None else given_base.given_base(logs.base, robot, folder, announce)
        if isinstance(base, AskedBase):
            asked.callback(base.close)
        recipe = _as_seen(logs, base, recipe, cameras, folder)
        torch.set_num_threads(recipe.torch_threads)
        learning = OfflineLearning(recipe, opened.enter_context(Run(folder, announce)), logs, base)
        (folder / LEFT_OUT).unlink(missing_ok=True)  # of a command that was refused before this one
        _check(learning)
        if not logs.logged:
            return {stage.name: stage for stage in (learning.demonstrations, learning.base)}
        made = [learning.demonstrations, learning.free_pairs, learning.videos, *filter(None, [learning.shown])]
        made.append(learning.base)
        made += learning.answers
        asked.close()  # a base that lives here takes memory, and is not needed any more
        made += [learning.world_model, learning.stage1, *filter(None, [learning.told_by_states]), learning.stage2]
    return {stage.name: stage for stage in made}


def _as_seen(
    logs: Logs, base: Path | AskedBase | None, recipe: Recipe, cameras: Sequence[str] | None, folder: Path
) -> Recipe:
    """The recipe with what all models are to see: what a given base does, or the cameras that are asked for, or those
    of the first demonstration."""
    robot, asked = load_embodiment(recipe.embodiment), tuple(cameras or ())
    config = open_compact_policy(str(base), robot).config if isinstance(base, Path) else recipe.base
    if isinstance(base, Path) and asked not in ((), config.cameras):
        raise World2ActError(
            f"{base} sees the cameras {', '.join(config.cameras)}, but post-training was to see {', '.join(asked)}: "
            f"do not ask for cameras, or name a base that sees these"
        )
    if isinstance(base, Path):
        asked = config.cameras
    elif isinstance(base, AskedBase):
        asked = asked or base.named.cameras
    seen_by = asked or _first_seen(logs, robot, folder)
    unknown = [name for name in seen_by if name not in robot.cameras]
    if unknown:
        known = ", ".join(robot.cameras)
        raise World2ActError(f"{robot.name} has no camera {', '.join(unknown)}: it has {known}")
    return replace(recipe, cameras=seen_by, base=replace(config, cameras=seen_by))


def _first_seen(logs: Logs, robot: Embodiment, folder: Path) -> tuple[str, ...]:
    """The cameras of the first usable demonstration, in the order of the contract."""
    left_out: list[str] = []
    for source in sources_of(logs.demonstrations):
        for episode in usable_episodes(source, robot, None, left_out):
            return tuple(name for name in robot.cameras if name in episode.images)
    folder.mkdir(parents=True, exist_ok=True)
    raise nothing_of("--demonstrations", logs.demonstrations, left_out, folder / LEFT_OUT)


def _check_apart(logs: Logs) -> None:
    """An episode must not be learned from and measured on, nor be taken for what it is not."""
    logged = set(sources_of(logs.logged))
    for option, paths in (("--demonstrations", logs.demonstrations), ("--videos", logs.videos)):
        for source in sources_of(paths):
            if source in logged:
                raise World2ActError(
                    f"{source} is among {option} and among --logged: the base at work is neither a demonstration nor a "
                    f"video of the skill; keep them in folders of their own and name each once"
                )


def _check(learning: OfflineLearning) -> None:
    demonstrations = learning.demonstrations.metrics["with_actions"]
    if not demonstrations:
        raise World2ActError(
            "no demonstration has actions: record them with the commands that were executed"
            + _left_out([learning.demonstrations], "; ")
        )
    if not learning.logs.logged:
        learning.logged_work.check({"--videos": learning.logs.videos}, learning.run.folder / LEFT_OUT)
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


def _kept(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in OF_A_SIMULATOR}


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def _little(r2: float) -> str:
    return "; that is little, so Stage 2 had little to learn from: log more, or move more" * (r2 < READS_LITTLE)


def untried(embodiment: str) -> str:
    """A warning of an arm on which no gain has been measured; "" for one that is commanded by displacements."""
    robot = load_embodiment(embodiment)
    if robot.action.is_delta:
        return ""
    return (
        f"\n{robot.name} is commanded by positions ({robot.action.kind}): on the only such arm that was tried, "
        f"post-training did not help (docs/post-training.md), so expect nothing before paired trials say so"
    )


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
    read = f"actions read from held-out video: R² {one['r2']:.2f}, retrieval {one['retrieval']:.2f}{_little(one['r2'])}"
    if "states" in stages:
        r2 = stages["states"].metrics["r2"]
        read += f"\nactions read from how the robot's state changed: R² {r2:.2f}{_little(r2)}"
    return (
        f"{counts}{lost}\n{read}{untried(str(stages['stage2'].config['embodiment']))}\n"
        f"residual: {two['chunks']} chunks, cosine {two['cosine']:.2f} (no measure of success: try it)\n"
        f"policy: run:{folder}   base: run:{folder}#base"
    )
