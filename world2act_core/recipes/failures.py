"""A failed trial as a folder: ``video.mp4``, ``bag/`` (rosbag2, with what was seen) and ``trial.json``, which holds the
start and whatever else repeats it. The folder appears under its name only when it is whole."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from world2act_core.embodiment import Embodiment
from world2act_core.episodes import BagWriter
from world2act_core.errors import RunError
from world2act_core.evaluation import Trial
from world2act_core.evaluation.results import read_with_schema, trial_from_json, trial_to_json
from world2act_core.recipes.evaluation import commit
from world2act_core.runs.stage import versions, write_json
from world2act_core.types import Array, Episode

SCHEMA = "world2act.failure/1"
VIDEO, BAG, TRIAL = "video.mp4", "bag", "trial.json"


@dataclass(frozen=True)
class Failure:
    """What ``trial.json`` holds.

    Attributes:
        trial: start, outcome, steps, and the digest of its states.
        policy, identity: address, and the hashes of its files (``policies.identity``).
        embodiment: name of the contract.
        look: ``image_size`` and ``rendering``, as the policy saw it.
        images: whether the bag has them; frames of another size than the contract's are in the video alone.
        reached: SHA-256 of the whole physical state at the end, "" where the simulator does not tell it.
    """

    folder: Path
    trial: Trial
    policy: str
    identity: Mapping[str, str]
    embodiment: str
    look: Mapping[str, Any]
    images: bool
    reached: str
    versions: Mapping[str, str]
    commit: str


def keep_failure(
    folder: Path,
    episode: Episode,
    embodiment: Embodiment,
    trial: Trial,
    film: bytes,
    reached: Array | None,
    policy: str,
    identity: Mapping[str, str],
    look: Mapping[str, Any],
) -> None:
    """Write the folder of a failed trial; one that is there already is replaced."""
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    (partial / VIDEO).write_bytes(film)
    images = all(
        frames.shape[1:3] == (embodiment.cameras[camera].height, embodiment.cameras[camera].width)
        for camera, frames in episode.images.items()
    )
    logged = episode if images else replace(episode, images={}, frame_steps=episode.frame_steps[:0])
    with BagWriter(partial / BAG, embodiment) as bag:
        bag.write_episode(logged)
    content = {
        "schema": SCHEMA,
        "trial": trial_to_json(trial),
        "policy": policy,
        "identity": dict(identity),
        "embodiment": embodiment.name,
        "look": dict(look),
        "images": images,
        "reached": state_digest(reached),
        "versions": versions(),
        "commit": commit(),
    }
    write_json(partial / TRIAL, content)
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def state_digest(state: Array | None) -> str:
    """SHA-256 of a whole physical state; "" of None."""
    return "" if state is None else hashlib.sha256(state.tobytes()).hexdigest()


def read_failure(folder: Path) -> Failure:
    """Read a failed trial's folder.

    Raises:
        RunError: it is none, or is damaged.
    """
    file = folder / TRIAL
    if not file.is_file():
        raise RunError(f"{folder} has no {TRIAL}: name the folder of one failed trial, for example OUT/failures/NAME")
    raw = read_with_schema(file, SCHEMA, "evaluate again")
    try:
        names = ("policy", "identity", "embodiment", "look", "images", "reached", "versions", "commit")
        return Failure(folder, trial_from_json(raw["trial"]), **{name: raw[name] for name in names})
    except (KeyError, TypeError) as error:
        raise RunError(f"{file} is incomplete (at {error}): evaluate again") from None
