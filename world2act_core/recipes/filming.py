"""Failures as films: what the policy saw, or its actions once more with a camera on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from world2act_core.embodiment import Embodiment
from world2act_core.evaluation.video import Panel, encode_mp4, side_by_side
from world2act_core.simulators.protocol import Simulator
from world2act_core.simulators.starts import Start
from world2act_core.types import Array, Episode

FILMED = "agentview"


def film_camera(embodiment: Embodiment) -> str:
    """The camera through which a failure is filmed."""
    return FILMED if FILMED in embodiment.cameras else next(iter(embodiment.cameras))


def with_frames(episode: Episode, simulator: Simulator, start: Start) -> Episode:
    """The episode with frames at its chunk boundaries; of a policy that is blind, by its actions once more with a
    camera on."""
    if episode.images:
        return episode
    steps = np.arange(0, episode.steps + 1, simulator.embodiment.chunk_length)
    return replace(
        episode, images={film_camera(simulator.embodiment): replayed(episode, simulator, start)}, frame_steps=steps
    )


def filmed(episode: Episode, embodiment: Embodiment) -> bytes:
    """The frames of a failure as a video."""
    ending = f"not solved in {episode.steps} steps"
    panels = [
        Panel(frames, f"{episode.start_id}, {camera}", ending, False) for camera, frames in episode.images.items()
    ]
    every = episode.frame_steps[1] - episode.frame_steps[0] if len(episode.frame_steps) > 1 else embodiment.chunk_length
    fps = embodiment.control_rate_hz / float(every)
    return encode_mp4(side_by_side(panels, hold=int(fps)), fps)


def write_whole(file: Path, content: bytes) -> None:
    """Write a file so that a kill leaves all of it or nothing."""
    temporary = file.with_suffix(".tmp")
    temporary.write_bytes(content)
    temporary.replace(file)


def replayed(episode: Episode, simulator: Simulator, start: Start) -> Array:
    """Frames ``(K, H, W, 3)`` of an episode that recorded none: the same actions from the same start are the same
    motion to the bit."""
    assert episode.actions is not None
    camera = film_camera(simulator.embodiment)
    simulator.reset(start)
    frames = []
    for step, action in enumerate(episode.actions):
        if step % simulator.embodiment.chunk_length == 0:
            frames.append(simulator.observe((camera,)).images[camera])
        simulator.step(action)
    return np.stack([*frames, simulator.observe((camera,)).images[camera]])
