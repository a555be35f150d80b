"""A world small enough to know the truth of: a bright square that an action pushes over a dark image."""

from __future__ import annotations

import numpy as np

from world2act_core.embodiment import load_embodiment
from world2act_core.episodes.chunks import ChunkTable, chunk_table
from world2act_core.types import Episode, Skill

EMBODIMENT = load_embodiment("libero_panda")
STREAMS = ("gripper_positions", "eef_position")
SIZE = 32


def square_image(x: float, y: float, size: int = SIZE) -> np.ndarray:
    """``(size, size, 3)`` uint8, a 6-pixel square with its corner at (x, y), rounded."""
    image = np.full((size, size, 3), 30, np.uint8)
    column, row = round(float(x)), round(float(y))
    image[row : row + 6, column : column + 6] = (220, 120, 40)
    return image


def square_episode(index: int, prompt: str = "push right", chunks: int = 6, labelled: bool = True) -> Episode:
    """The square moves by the first two action dimensions, in pixels a step; the prompt decides where to."""
    rng = np.random.default_rng(index)
    m, steps = EMBODIMENT.chunk_length, chunks * EMBODIMENT.chunk_length
    direction = {"push right": (0.7, 0.0), "push down": (0.0, 0.7)}[prompt]
    actions = np.zeros((steps, 7), np.float32)
    each_chunk = direction + 0.3 * rng.standard_normal((chunks, 2))
    actions[:, :2] = np.clip(np.repeat(each_chunk, m, 0), -1, 1)  # one push a chunk: steps within it cannot be seen
    path = rng.uniform(2, 5, 2) + np.concatenate([[[0, 0]], np.cumsum(actions[:, :2], 0)])
    path = path.clip(0, SIZE - 6)
    state = {name: np.zeros((steps + 1, stream.size), np.float32) for name, stream in EMBODIMENT.state.items()}
    state["eef_position"][:, :2] = path / SIZE
    frame_steps = np.arange(0, steps + 1, m)
    return Episode(
        episode_id=f"square-{index}",
        task=prompt,
        embodiment=EMBODIMENT.name,
        stamps=np.arange(steps + 1) / EMBODIMENT.control_rate_hz,
        state=state,
        actions=actions if labelled else None,
        frame_steps=frame_steps,
        images={"agentview": np.stack([square_image(*path[step]) for step in frame_steps])},
        start_id=f"toy/0/i{index}",
        skills=(Skill(prompt, 0, steps),),
    )


def square_table(episodes: int = 24, prompts: tuple[str, ...] = ("push right",), labelled: bool = True) -> ChunkTable:
    made = [square_episode(i, prompts[i % len(prompts)], labelled=labelled) for i in range(episodes)]
    return chunk_table(made, EMBODIMENT, ("agentview",), STREAMS, SIZE)
