"""How the compact policy and the residual are shown an observation: cameras tiled in one frame, streams in one vector.

Plain arrays and no torch, because an exported policy on a robot is shown the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from world2act_core.embodiment import Embodiment
from world2act_core.embodiment.contract import as_vector
from world2act_core.episodes.chunks import model_image
from world2act_core.types import Array, Observation


class Inputs(Protocol):
    """What a model wants to see; a ``CompactConfig`` says so too."""

    @property
    def cameras(self) -> tuple[str, ...]: ...

    @property
    def streams(self) -> tuple[str, ...]: ...

    @property
    def image_size(self) -> int: ...


@dataclass(frozen=True)
class SeenInputs:
    """Cameras in the order in which they are tiled, state streams in the order in which they are joined, and the rows
    and columns S of each camera's image."""

    cameras: tuple[str, ...]
    streams: tuple[str, ...]
    image_size: int


def seen_arrays(observation: Observation, inputs: Inputs, embodiment: Embodiment) -> tuple[Array, Array]:
    """Observation → tiled frame ``(1, S, V S, 3)`` uint8 and proprioception ``(1, P)`` float32."""
    views = [model_image(observation.images[camera], inputs.image_size) for camera in inputs.cameras]
    proprio = as_vector(embodiment, dict(observation.state), tuple(inputs.streams))
    return np.concatenate(views, axis=1)[None], proprio[None]
