"""What tests of Cosmos share: tiny frames, few steps, and a checker for weights that are random."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from world2act_core.embodiment import Embodiment
from world2act_core.types import Array
from world2act_core.world_model.cosmos.model import CosmosSettings, CosmosWorldModel
from world2act_core.world_model.cosmos.parts import CosmosParts

SMALL = CosmosSettings(height=32, width=48, steps=2, guidance=3.0)
NO_CLOCK = torch.tensor([-1])


class Lenient:
    """A checker that lets everything pass and notes what it was shown; for random weights only."""

    def __init__(self) -> None:
        self.prompts: list[str] = []
        self.videos: list[tuple[int, ...]] = []
        self.devices: list[str] = []

    def to(self, device: torch.device | str) -> None:
        self.devices.append(str(device))

    def check_text_safety(self, prompt: str) -> bool:
        self.prompts.append(prompt)
        return True

    def check_video_safety(self, frames: Array) -> Array | None:
        self.videos.append(frames.shape)
        return frames


def small_model(
    parts: CosmosParts, *, checker: Any = None, embodiment: Embodiment | None = None, **settings: Any
) -> CosmosWorldModel:
    small = replace(SMALL, **settings)
    return CosmosWorldModel(parts, small, safety_checker=checker or Lenient(), embodiment=embodiment)


def frames(count: int, batch: int = 1, seed: int = 0, height: int = 32, width: int = 48) -> torch.Tensor:
    """Random video, uint8 ``(batch, count, height, width, 3)``."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, count, height, width, 3), generator=generator, dtype=torch.uint8)
