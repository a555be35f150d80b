"""Train, measure and use the compact world model on logged videos: the jobs behind ``world2act wm``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.errors import RunError, World2ActError
from world2act_core.networks import codec
from world2act_core.runs import Run, Stage
from world2act_core.runs.stage import MANIFEST, file_digest, read_stage
from world2act_core.types import Episode
from world2act_core.world_model import compact, videos
from world2act_core.world_model.compact import (
    CompactWorldModel,
    CompactWorldModelConfig,
    load_world_model,
    save_world_model,
    train_world_model,
)
from world2act_core.world_model.imagination import From, KeyedClip, encode_episode, imagine_episode, write_clips
from world2act_core.world_model.scores import Example, Scores, examples, score
from world2act_core.world_model.store import LatentWriter
from world2act_core.world_model.videos import cameras_of, digest_of, read_videos, split, videos_in

STAGE, WEIGHTS = "world_model", "world_model.pt"
EXAMPLES = 6
"""Episodes that are shown."""


@dataclass(frozen=True)
class TrainedModel:
    """A world model that `train` has sealed, and how its videos are to be read."""

    stage: Stage
    model: CompactWorldModel
    embodiment: Embodiment
    cameras: tuple[str, ...]

    @property
    def size(self) -> int:
        """Rows and columns of one view."""
        return self.model.config.image_size


def train(
    inputs: Sequence[Path], folder: Path, *, embodiment: str, cameras: Sequence[str] | None, steps: int, seed: int
) -> Stage:
    """Train on skill clips and seal the result; a killed training resumes, a finished one is not repeated.

    Raises:
        World2ActError: no videos, unknown cameras, or only one episode.
    """
    robot = load_embodiment(embodiment)
    seen_by = _known(cameras, robot) if cameras else cameras_of(inputs, robot)
    settings = CompactWorldModelConfig(views=len(seen_by), steps=steps)
    config = {
        "embodiment": embodiment,
        "cameras": list(seen_by),
        "seed": seed,
        "model": asdict(settings),
        "inputs_sha256": digest_of(inputs),
    }

    def work(stage: Stage) -> None:
        everything = read_videos(inputs, robot, seen_by, settings.image_size, progress=True)
        trained, held_out = split(everything)
        table = everything.only(trained)
        model, history = train_world_model(table, settings, seed, stage.scratch / "checkpoint.pt", "world model")
        save_world_model(stage.path(WEIGHTS), model)
        stage.metrics = {
            "inputs": [str(path.resolve()) for path in inputs],
            "trained": trained,
            "held_out": held_out,
            "chunks": len(table),
            "loss": history[-1]["loss"],
        }

    return Run(folder).stage(STAGE, work, config=config, code=(compact, codec, videos))


def open_trained(folder: Path) -> TrainedModel:
    """The sealed model of a folder, its files checked.

    Raises:
        RunError: there is none, its training has not finished, or a file has changed.
    """
    if not (folder / STAGE).is_dir():
        raise RunError(f"{folder} holds no world model: make one with world2act wm train ... --out {folder}")
    if not (folder / STAGE / MANIFEST).is_file():
        raise RunError(f"the training in {folder} has not finished: run the same world2act wm train again to resume")
    stage = read_stage(folder / STAGE)
    model = load_world_model(stage.path(WEIGHTS))
    return TrainedModel(stage, model, load_embodiment(stage.config["embodiment"]), tuple(stage.config["cameras"]))


def evaluate(trained: TrainedModel, inputs: Sequence[Path] = ()) -> tuple[Scores, list[Example]]:
    """Measure on the held-out episodes, or on all episodes of other inputs.

    Raises:
        World2ActError: the inputs hold no episode, or one that the model was trained on.
    """
    known = trained.stage.metrics
    wanted = known["held_out"]
    everything = read_videos(
        inputs or [Path(path) for path in known["inputs"]],
        trained.embodiment,
        trained.cameras,
        trained.size,
        progress=True,
    )
    if inputs:
        wanted = [name for name in everything.table.episode_ids if name not in set(known["trained"])]
    table = everything.only(wanted)
    if not len(table):
        raise World2ActError(
            "there is nothing to measure on: "
            + ("the model was trained on every one of these episodes" if inputs else "the held-out episodes are gone")
        )
    return score(trained.model, table), examples(trained.model, table, EXAMPLES)


def imagine(trained: TrainedModel, inputs: Sequence[Path], out: Path, begin: From) -> tuple[int, int]:
    """Write the imagined latents of all episodes; how many clips were made, and how many were there already.

    Raises:
        World2ActError: no episode has the cameras of the model, or two have the same id.
        RunError: the store holds latents that were made otherwise.
    """
    m, size = trained.embodiment.chunk_length, trained.size

    def clips_of(episode: Episode) -> Iterator[KeyedClip]:
        return imagine_episode(trained.model, episode, trained.cameras, size=size, chunk_length=m, begin=begin)

    return _write(trained, inputs, out, clips_of, {"from": begin.value})


def encode(trained: TrainedModel, inputs: Sequence[Path], out: Path) -> tuple[int, int]:
    """Write the latents of the real frames of all episodes; else as `imagine`."""
    m, size = trained.embodiment.chunk_length, trained.size

    def clips_of(episode: Episode) -> Iterator[KeyedClip]:
        return encode_episode(trained.model, episode, trained.cameras, size=size, chunk_length=m)

    return _write(trained, inputs, out, clips_of, {"real": True})


def _write(
    trained: TrainedModel,
    inputs: Sequence[Path],
    out: Path,
    clips_of: Callable[[Episode], Iterator[KeyedClip]],
    how: dict[str, Any],
) -> tuple[int, int]:
    """``how`` the latents were made tells stores of one model apart."""
    m = trained.embodiment.chunk_length
    identity = {
        "model": file_digest(trained.stage.path(WEIGHTS)),
        "embodiment": trained.embodiment.name,
        "cameras": list(trained.cameras),
        "steps_per_latent": m,
        **how,
    }
    episodes = videos_in(inputs, trained.embodiment, trained.cameras, progress=True)
    with LatentWriter(out, identity) as writer:
        made, there = write_clips(writer, episodes, clips_of, m)
    if not made + there:
        raise World2ActError(
            f"no episode of {', '.join(map(str, inputs))} has frames from {', '.join(trained.cameras)}, which the "
            "model was trained on"
        )
    return made, there


def _known(cameras: Sequence[str], embodiment: Embodiment) -> tuple[str, ...]:
    for name in cameras:
        if name not in embodiment.cameras:
            has = ", ".join(embodiment.cameras)
            raise World2ActError(f"{embodiment.name} has no camera {name!r}, only {has}")
    return tuple(cameras)
