"""What travels between the rooms of World2Act.

Array shapes use these letters: ``T`` control steps, ``K`` frames, ``M`` control steps in an action chunk,
``A`` action dimensions, ``D`` size of a state stream, ``H, W`` image rows and columns, ``C`` latent channels.
Units are SI unless the embodiment says otherwise; images are RGB, upright, row 0 at the top.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Observation:
    """What the robot knows at one instant.

    Attributes:
        stamp: seconds on the robot's clock (simulated time in a simulator).
        images: camera name → ``(H, W, 3)`` uint8. Holds only the cameras that were asked for.
        state: stream name → ``(D,)`` float32, names and units as in the embodiment.
    """

    stamp: float
    images: Mapping[str, Array]
    state: Mapping[str, Array]


LONGEST_CHUNK = 128
"""Control steps; a longer action chunk is a mistake."""


@dataclass(frozen=True)
class ActionChunk:
    """``M`` consecutive actions, executed open loop.

    Attributes:
        actions: ``(M, A)`` float32 in the embodiment's action layout.
        stamp: stamp of the observation that the chunk answers, seconds.
        skill: the skill prompt it was computed for.
        timing: what it took, part → seconds: of a policy behind a server ``round_trip`` and, if told, ``server``.
    """

    actions: Array
    stamp: float
    skill: str = ""
    timing: Mapping[str, float] = field(default_factory=dict, compare=False)

    @property
    def horizon(self) -> int:
        return int(self.actions.shape[0])


@dataclass(frozen=True)
class Skill:
    """One atomic skill inside an episode: control steps ``[start, end)``."""

    prompt: str
    start: int
    end: int


@dataclass(frozen=True)
class Episode:
    """One attempt at a task, synchronised to control steps.

    Step ``t`` reads the state ``state[...][t]`` at ``stamps[t]`` and applies ``actions[t]``; the last row of
    ``state`` and ``stamps`` is what was reached after the last action. Frames are rarer than steps (usually one
    a chunk): ``images[camera][k]`` was taken at step ``frame_steps[k]``, before that step's action.

    Attributes:
        episode_id: unique within its data set.
        task: the instruction in words.
        embodiment: name of the embodiment contract.
        stamps: ``(T + 1,)`` float64 seconds, strictly increasing.
        state: stream name → ``(T + 1, D)`` float32.
        actions: ``(T, A)`` float32, or None for an action-free video.
        frame_steps: ``(K,)`` int64, strictly increasing, within ``[0, T]``.
        images: camera name → ``(K, H, W, 3)`` uint8.
        success: what the simulator or operator said, None if nobody did.
        start_id: identity of the initial state in a simulator (see ``simulators.starts``), "" on a robot.
        source: who acted, e.g. ``demonstrator``, ``base``, ``post-trained``.
        skills: the atomic skills, in order; empty if the episode was not segmented.
    """

    episode_id: str
    task: str
    embodiment: str
    stamps: Array
    state: Mapping[str, Array]
    actions: Array | None
    frame_steps: Array
    images: Mapping[str, Array]
    success: bool | None = None
    start_id: str = ""
    source: str = ""
    skills: tuple[Skill, ...] = field(default=())

    def __post_init__(self) -> None:
        steps = len(self.stamps) - 1
        if steps < 0 or np.any(np.diff(self.stamps) <= 0):
            raise ValueError(f"episode {self.episode_id}: stamps must be strictly increasing and not empty")
        for name, stream in self.state.items():
            if len(stream) != steps + 1:
                raise ValueError(
                    f"episode {self.episode_id}: state {name} has {len(stream)} rows, expected {steps + 1}"
                )
        if self.actions is not None and len(self.actions) != steps:
            raise ValueError(f"episode {self.episode_id}: {len(self.actions)} actions for {steps} steps")
        frames = np.asarray(self.frame_steps)
        if len(frames) and (frames[0] < 0 or frames[-1] > steps or np.any(np.diff(frames) <= 0)):
            raise ValueError(f"episode {self.episode_id}: frame_steps must increase within [0, {steps}]")
        for name, images in self.images.items():
            if len(images) != len(frames):
                raise ValueError(
                    f"episode {self.episode_id}: camera {name} has {len(images)} frames, expected {len(frames)}"
                )

    @property
    def steps(self) -> int:
        """T, the number of control steps."""
        return len(self.stamps) - 1

    def without_actions(self) -> Episode:
        """The same episode as an action-free video."""
        return replace(self, actions=None)

    def chunk_starts(self, chunk_length: int) -> Iterator[int]:
        """First steps of the complete chunks that have a frame at their start and at their end."""
        framed = {int(step) for step in self.frame_steps}
        return (t for t in range(0, self.steps - chunk_length + 1, chunk_length)
                if t in framed and t + chunk_length in framed)  # fmt: skip


@dataclass(frozen=True)
class LatentClip:
    """Video latents with their time base.

    Latent ``t`` is the scene at control step ``t * steps_per_latent`` of the clip, so chunk ``t`` (control steps
    ``[t * M, (t + 1) * M)`` with ``M = steps_per_latent``) leads from latent ``t`` to latent ``t + 1``.

    Attributes:
        latents: ``(K + 1, C, H, W)`` float32 for ``K`` chunks.
        mask: ``(K,)`` bool, False where a chunk is padding.
        steps_per_latent: control steps between two latents (the paper's M).
    """

    latents: Array
    mask: Array
    steps_per_latent: int
