"""A toy data set for fine-tuning: moving squares on two cameras, two skills an episode, and a cache of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import Cosmos2VideoToWorldPipeline

from tests.world_model.cosmos_scene import Lenient
from tests.world_model.tiny_cosmos import save_tiny_cosmos
from world2act_core.embodiment import load_embodiment
from world2act_core.types import Episode, Skill
from world2act_core.world_model.cosmos.finetune.cache import build_cache
from world2act_core.world_model.cosmos.finetune.encoder import CosmosEncoder, load_encoder
from world2act_core.world_model.cosmos.finetune.settings import FinetuneSettings
from world2act_core.world_model.cosmos.parts import CosmosParts

SIZE = 16
HEIGHT, WIDTH = 32, 48
EMBODIMENT = load_embodiment("libero_panda")
QUICK = FinetuneSettings(
    steps=6,
    batch=2,
    micro_batch=1,
    learning_rate=1e-2,
    warmup=2,
    ema_decay=0.9,
    lora_rank=2,
    lora_alpha=2,
    precision="fp32",
    checkpoint_every=2,
    validate_every=3,
    validation_clips=2,
    sampling_steps=2,
)


def episode(
    number: int,
    steps: int = 20,
    skills: tuple[Skill, ...] | None = None,
    frame_every: int = 1,
) -> Episode:
    """A square that crosses the picture; by default a skill of 8 control steps and one of the rest."""
    frame_steps = np.arange(0, steps + 1, frame_every)
    images = np.zeros((len(frame_steps), SIZE, SIZE, 3), np.uint8)
    for image, step in zip(images, frame_steps, strict=True):
        left = (step + number) % (SIZE - 4)
        image[number % 8 : number % 8 + 4, left : left + 4] = 255
    if skills is None:
        skills = (Skill("pick the bowl", 0, 8), Skill("put the bowl on the plate", 8, steps))
    return Episode(
        episode_id=f"episode-{number}",
        task="put the bowl on the plate",
        embodiment=EMBODIMENT.name,
        stamps=np.arange(steps + 1) / EMBODIMENT.control_rate_hz,
        state={"eef_position": np.zeros((steps + 1, 3), np.float32)},
        actions=None,
        frame_steps=frame_steps,
        images={"agentview": images, "wrist": images[:, ::-1].copy()},
        skills=skills,
    )


def episodes(count: int = 4) -> Iterator[Episode]:
    return (episode(number, steps=16 + 4 * (number % 2)) for number in range(count))


def plain_pipeline(parts: CosmosParts) -> Any:
    """Diffusers' own pipeline."""
    pipeline: Any = Cosmos2VideoToWorldPipeline
    built = pipeline(**vars(parts), safety_checker=Lenient())
    built.set_progress_bar_config(disable=True)
    return built


def tiny_encoder(weights: Path) -> CosmosEncoder:
    cpu = torch.device("cpu")
    return load_encoder(weights, EMBODIMENT, height=HEIGHT, width=WIDTH, dtype=torch.float32, device=cpu)


def make_scene(folder: Path, count: int = 4) -> tuple[Path, Path]:
    """Tiny weights and a cache made with them."""
    weights, cache = save_tiny_cosmos(folder / "weights"), folder / "cache"
    build_cache(cache, episodes(count), tiny_encoder(weights))
    return weights, cache
