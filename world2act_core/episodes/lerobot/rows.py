"""An episode as rows: one a control step, and a last one for the state after the last action.

LeRobot's rows pair an observation with the action that follows it. Row ``t < T`` is step ``t``. Row ``T`` is the state
that was reached, and since a row needs an action it carries the one that stays there (`holding_action`); ``next.done``
marks it. Whoever reads the data set back takes T + 1 states and the first T actions, which is also all that can be had
from data sets of others: there the last action leads to a state that nobody stored.

A video has a frame a row, but our cameras may be slower: the latest frame is held, as a robot sees it, and
``frame_age`` says for how many steps (0: taken at this step; negative: the first frame, shown before it was taken).
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa

from world2act_core.embodiment import Embodiment
from world2act_core.embodiment.contract import as_vector
from world2act_core.episodes.lerobot import layout
from world2act_core.episodes.lerobot.features import state_streams
from world2act_core.errors import ContractError
from world2act_core.types import Array, Episode, Skill


def check_episode(episode: Episode, embodiment: Embodiment) -> None:
    """Refuse what could not be read back equal.

    Raises:
        ContractError: names the episode and what contradicts the contract or the format.
    """
    where = f"episode {episode.episode_id}"
    if episode.embodiment != embodiment.name:
        raise ContractError(f"{where}: made with {episode.embodiment}, the data set is for {embodiment.name}")
    if not episode.steps:
        raise ContractError(f"{where}: it has no control step")
    unknown = set(episode.images) - set(embodiment.cameras) | set(episode.state) - set(embodiment.state)
    if unknown:
        raise ContractError(f"{where}: {embodiment.name} has no camera or stream {sorted(unknown)[0]!r}")
    if len(episode.frame_steps) and not episode.images:
        raise ContractError(f"{where}: frame_steps without images of any camera")
    _check_numbers(where, episode, embodiment)
    _check_images(where, episode, embodiment)
    _check_skills(where, episode)


def _check_numbers(where: str, episode: Episode, embodiment: Embodiment) -> None:
    if not episode.state:
        raise ContractError(f"{where}: it has no state stream")
    widths = {name: embodiment.state[name].size for name in episode.state}
    values = {f"state {name}": (episode.state[name], width) for name, width in widths.items()}
    if episode.actions is not None:
        values["actions"] = (episode.actions, embodiment.action.size)
    for name, (array, width) in values.items():
        if array.shape[1:] != (width,):
            raise ContractError(f"{where}: {name} has shape {array.shape}, {embodiment.name} expects (..., {width})")
        bad = np.argwhere(~np.isfinite(array))
        if len(bad):
            raise ContractError(f"{where}: {name} is not finite at step {bad[0][0]}")


def _check_images(where: str, episode: Episode, embodiment: Embodiment) -> None:
    for name, images in episode.images.items():
        camera = embodiment.cameras[name]
        upright = (camera.height, camera.width) if camera.rotation_deg % 180 == 0 else (camera.width, camera.height)
        if not len(images):
            raise ContractError(f"{where}: camera {name} has no frame, and every row of a video shows one")
        if images.dtype != np.uint8 or images.shape[1:] != (*upright, 3):
            raise ContractError(
                f"{where}: images of {name} are {images.dtype} {images.shape[1:]}, {embodiment.name} says uint8 "
                f"{(*upright, 3)}"
            )


def _check_skills(where: str, episode: Episode) -> None:
    free = 0
    for skill in episode.skills:
        if not free <= skill.start <= skill.end <= episode.steps:
            raise ContractError(
                f"{where}: skill {skill.prompt!r} covers steps {skill.start} to {skill.end}; skills must follow one "
                f"another within 0 to {episode.steps}, for a row has one subtask"
            )
        free = skill.end


def episode_table(
    episode: Episode, embodiment: Embodiment, schema: pa.Schema, *, episode_index: int, first_row: int, task_index: int,
    subtask_index: dict[str, int],
) -> pa.Table:  # fmt: skip
    """The rows of an episode, with the columns that the data set has.

    Args:
        episode: checked.
        embodiment: its contract.
        schema: of the data set's features.
        episode_index: number of the episode within the data set.
        first_row: number of its first row within the data set.
        task_index: of its instruction.
        subtask_index: prompt → index, with "" for steps under no skill.
    """
    rows = episode.steps + 1
    number = np.arange(rows)
    streams = tuple(stream.name for stream in state_streams(embodiment, episode))
    columns: dict[str, Any] = {
        layout.STATE: as_vector(embodiment, dict(episode.state), streams),
        layout.STAMP: np.asarray(episode.stamps, np.float64),
        layout.DONE: number == episode.steps,
        layout.SUBTASK_INDEX: np.array([subtask_index[prompt] for prompt in prompts(episode)]),
        "timestamp": (number / embodiment.control_rate_hz).astype(np.float32),
        "frame_index": number,
        "episode_index": np.full(rows, episode_index),
        "index": number + first_row,
        "task_index": np.full(rows, task_index),
    }
    if episode.actions is not None:
        last = holding_action(episode.actions[-1], embodiment)
        columns[layout.ACTION] = np.concatenate([episode.actions, last[None]]).astype(np.float32)
    if episode.images:
        columns[layout.FRAME_AGE] = number - np.asarray(episode.frame_steps)[held_frames(episode)]
    if layout.LANGUAGE in schema.names:
        columns[layout.LANGUAGE] = [language_rows(episode, embodiment)] * rows
    return pa.table([_column(columns[name], schema.field(name).type) for name in schema.names], schema=schema)


def holding_action(last: Array, embodiment: Embodiment) -> Array:
    """The action ``(A,)`` that stays where the last action led: no movement, or the same target; gripper as it was."""
    if not embodiment.action.is_delta:
        return last
    held = np.zeros_like(last)
    held[embodiment.gripper.index] = last[embodiment.gripper.index]
    return held


def held_frames(episode: Episode) -> Array:
    """``(T + 1,)`` which image each row shows: the latest that was taken, at first the first."""
    latest = np.searchsorted(episode.frame_steps, np.arange(episode.steps + 1), side="right") - 1
    return np.maximum(latest, 0)


def prompts(episode: Episode) -> list[str]:
    """The skill under way in each of the ``T + 1`` rows, "" under none; row T belongs to a skill that ends there."""
    under_way = [""] * (episode.steps + 1)
    for skill in episode.skills:
        end = skill.end + (skill.end == episode.steps and skill.end > skill.start)
        under_way[skill.start : end] = [skill.prompt] * (end - skill.start)
    return under_way


def language_rows(episode: Episode, embodiment: Embodiment) -> list[dict[str, Any]]:
    """Skills as LeRobot 0.6 keeps them: who says what from when on, the same list in every row of the episode."""
    said = [(prompt, t) for t, prompt in enumerate(prompts(episode))]
    changes = [entry for before, entry in zip([("", 0), *said[:-1]], said, strict=True) if entry[0] != before[0]]
    return [
        {"role": "assistant", "content": prompt, "style": "subtask", "timestamp": t / embodiment.control_rate_hz}
        for prompt, t in changes
    ]


def skills_json(skills: tuple[Skill, ...]) -> str:
    """Skills exactly, in the form of a bag's ``skills_json``: rows cannot tell two equal prompts in a row apart."""
    return json.dumps([[skill.prompt, skill.start, skill.end] for skill in skills], ensure_ascii=False)


def _column(values: Any, kind: pa.DataType) -> pa.Array:
    if isinstance(values, np.ndarray) and pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1), kind.value_type), kind.list_size)
    return pa.array(values.reshape(-1) if isinstance(values, np.ndarray) else values, kind)
