"""Small pictures of the first and last frame of each clip, made while an episode is in memory.

They are what the contact sheet of a dataset's report is made of. Only a few episodes of each kind get them, so that a
large dataset stays quick to write and its sheet can be looked through.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from world2act_core.errors import ContractError
from world2act_core.skills.journal import Record
from world2act_core.types import Array, Episode, Skill

THUMBNAILS = "thumbnails"
"""Their folder beside the journal."""
SIZE, QUALITY = 112, 85
"""Pixels of the longer side, and of JPEG: about 3 KB an image."""
OF_A_TASK, OF_A_DISCARD = 2, 4
"""How many episodes with the same instruction get thumbnails, and how many that were discarded for the same cause."""
MOST_KEPT = 300
"""Kept episodes with thumbnails in a whole dataset: it may have thousands of instructions."""


def kind_of(record: Record) -> tuple[bool, str]:
    """Which episodes stand for each other on a contact sheet: kept ones of a task, discarded ones of a phrase."""
    return record.kept, record.task if record.kept else record.discard


def wants_thumbnails(record: Record, before: Sequence[Record]) -> bool:
    """Whether an episode is one of the first of its kind; a build that is resumed chooses the same ones.

    Args:
        record: of the episode, not yet in the journal.
        before: the journal so far.
    """
    most, kind = OF_A_TASK if record.kept else OF_A_DISCARD, kind_of(record)
    # From the end: episodes of one task mostly follow each other, so the search is short.
    alike = islice((True for other in reversed(before) if kind_of(other) == kind), most)
    if sum(alike) == most:
        return False
    return not record.kept or sum(1 for other in before if other.kept and other.thumbnails) < MOST_KEPT


def clip_thumbnails(
    episode: Episode, skills: Sequence[Skill], folder: Path, camera: str | None = None, size: int = SIZE
) -> tuple[str, ...]:
    """Write the first and last frame of each clip, or of the whole episode if there are no clips.

    Frames are rarer than control steps: the latest frame that is not after the clip's first (last) step is taken.

    Args:
        skills: the clips.
        folder: of the dataset; the files go into ``thumbnails`` there.
        camera: whose frames; None takes the episode's first one: a view of the scene in all embodiments that ship.
        size: pixels of the longer side at most; smaller images stay as they are.

    Returns:
        File names relative to ``folder``: first, last, first, last ...; empty if the episode has no images.

    Raises:
        ContractError: the episode has images, but none of that camera.
    """
    if not episode.images or not len(episode.frame_steps):
        return ()
    name = next(iter(episode.images)) if camera is None else camera
    if name not in episode.images:
        raise ContractError(
            f"episode {episode.episode_id} has no camera {name!r}: take one of {', '.join(episode.images)}"
        )
    spans = [(skill.start, skill.end) for skill in skills] or [(0, episode.steps)]
    frames = [episode.images[name][_frame_at(episode, step)] for span in spans for step in span]
    files = [_jpeg(frame, size) for frame in frames]
    stem = _stem(episode.episode_id, files)
    names = [f"{THUMBNAILS}/{stem}-{i // 2 + 1:02d}-{('first', 'last')[i % 2]}.jpg" for i in range(len(files))]
    (folder / THUMBNAILS).mkdir(parents=True, exist_ok=True)
    for path, data in zip(names, files, strict=True):
        (folder / path).write_bytes(data)
    return tuple(names)


def _frame_at(episode: Episode, step: int) -> int:
    """Index of the latest frame at or before a step; the first frame if all are later."""
    return max(0, int(np.searchsorted(episode.frame_steps, step, side="right")) - 1)


def _jpeg(frame: Array, size: int) -> bytes:
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(frame))
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    memory = io.BytesIO()
    image.save(memory, "JPEG", quality=QUALITY)
    return memory.getvalue()


def _stem(episode_id: str, files: Sequence[bytes]) -> str:
    """A file name for any id that a person still recognises.

    What the pictures show is hashed too: files of two sources may hold episodes of the same id.
    """
    digest = hashlib.sha256(episode_id.encode("utf-8", "surrogatepass"))
    for data in files:
        digest.update(data)
    words = re.sub(r"[^A-Za-z0-9]+", "-", episode_id).strip("-")[:60]
    return f"{words or 'episode'}-{digest.hexdigest()[:12]}"
