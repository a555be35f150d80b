"""Logged episodes of a hand that carries things, small enough to build a data set of in a test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.embodiment.contracts import shipped, written
from tests.episodes.example import random_episode, small_embodiment
from world2act_core.embodiment import Embodiment
from world2act_core.episodes import BagWriter
from world2act_core.types import Array, Episode

EMBODIMENT: Embodiment = small_embodiment()
TASK = "pick up the bowl and place it on the plate"
PERIOD = 64
"""Control steps of one cycle: reach, close around step 20, carry, let go around step 48, withdraw."""
CLOSE, OPEN = 20, 48


def carrying(number: int, cycles: int = 1, task: str = TASK, success: bool | None = True) -> Episode:
    """An episode of so many things carried, each from another place to another one."""
    steps = cycles * PERIOD
    width = np.concatenate([_width() for _ in range(cycles)] + [[0.08]])
    path = np.concatenate([_path(0.3 * cycle) for cycle in range(cycles)] + [[[0.3 * cycles, 0.0, 0.3]]])
    actions = np.zeros((steps, 7), np.float32)
    actions[:, :3] = np.clip(np.diff(path, axis=0) / EMBODIMENT.action.scale[:3], -1, 1)
    told = np.tile([CLOSE <= step < OPEN for step in range(PERIOD)], cycles)
    actions[:, 6] = np.where(told, EMBODIMENT.gripper.close, EMBODIMENT.gripper.open)
    episode = random_episode(EMBODIMENT, steps, number, task=task, success=success, skills=(), actions=actions)
    state = dict(episode.state)
    state["gripper_positions"] = np.stack([width / 2, -width / 2], 1).astype(np.float32)
    state["eef_position"] = path.astype(np.float32)
    state["eef_orientation"] = np.tile(np.array([1, 0, 0, 0], np.float32), (steps + 1, 1))
    return replace(episode, episode_id=f"logged-{number}", state=state)


def _width() -> Array:
    """Metres between the fingers in one cycle: 8 cm, a 3 cm wide thing is held from step 25 on."""
    steps = np.arange(PERIOD)
    closing = np.clip(0.08 - 0.01 * (steps - CLOSE), 0.03, 0.08)
    opening = np.clip(0.03 + 0.01 * (steps - OPEN), 0.03, 0.08)
    return np.where(steps < OPEN, closing, opening)


def _path(x: float) -> Array:
    """Down at ``x``, up and 15 cm aside while holding, down, up again and on to the next place."""
    steps = [0, 15, CLOSE + 8, 36, OPEN - 4, OPEN + 4, PERIOD]
    places = [[x, 0, 0.3], [x, 0, 0.0], [x, 0, 0.0], [x + 0.15, 0.1, 0.2], [x + 0.15, 0.1, 0.0], [x + 0.15, 0.1, 0.0],
              [x + 0.3, 0, 0.3]]  # fmt: skip
    return np.stack([np.interp(np.arange(PERIOD), steps, column) for column in np.array(places).T], 1)


def contract_file(folder: Path) -> str:
    """LIBERO's Panda with the small images of these episodes, as a file."""
    content = shipped("libero_panda")
    for camera in content["cameras"].values():
        camera |= {"width": 12, "height": 8}
    return str(written(content, folder))


def write_bag(path: Path, *episodes: Episode) -> Path:
    with BagWriter(path, EMBODIMENT) as writer:
        for episode in episodes:
            writer.write_episode(episode)
    return path
