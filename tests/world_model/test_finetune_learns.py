"""Loss, data and sampler together: what is trained imagines clips that nobody showed it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import CosmosTransformer3DModel

from tests.world_model.cosmos_scene import Lenient
from tests.world_model.finetune_scene import QUICK, episode, episodes, tiny_encoder
from tests.world_model.tiny_cosmos import save_tiny_cosmos
from world2act_core.types import Array, Episode
from world2act_core.world_model.cosmos.finetune.cache import build_cache
from world2act_core.world_model.cosmos.finetune.encoder import CosmosEncoder
from world2act_core.world_model.cosmos.finetune.train import finetune, read_log

pytestmark = pytest.mark.slow


class Spread:
    """An encoder whose latents are spread as the real one's are; a random autoencoder's hardly differ."""

    def __init__(self, encoder: CosmosEncoder) -> None:
        self.encoder, self.identity, self.text_length = encoder, encoder.identity, encoder.text_length
        clips = [encoder.latents(encoder.tile(episode(number), np.arange(17))) for number in range(4)]
        values = torch.cat([clip.flatten(1) for clip in clips], 1)  # (C, everything)
        self.mean, self.std = (value[:, None, None, None] for value in (values.mean(1), values.std(1) + 1e-3))

    def tile(self, episode: Episode, rows: Array) -> torch.Tensor:
        return self.encoder.tile(episode, rows)

    def text(self, prompt: str) -> torch.Tensor:
        return self.encoder.text(prompt)

    def latents(self, frames: torch.Tensor) -> torch.Tensor:
        return (self.encoder.latents(frames) - self.mean) / self.std


@pytest.fixture
def one_thread() -> Iterator[None]:
    from accelerate.state import AcceleratorState

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    AcceleratorState._reset_state()
    yield
    AcceleratorState._reset_state()
    torch.set_num_threads(threads)


def widen(weights: Path) -> None:
    """Put a transformer in place of the tiny one that is wide enough to say what noise it sees in a patch."""
    config: dict[str, Any] = dict(CosmosTransformer3DModel.load_config(weights / "transformer"))
    config |= {"attention_head_dim": 64, "adaln_lora_dim": 16}
    shutil.rmtree(weights / "transformer")
    torch.manual_seed(0)
    CosmosTransformer3DModel.from_config(config).save_pretrained(weights / "transformer")


def test_a_held_out_clip_is_imagined_better_than_by_a_still_picture(tmp_path: Path, one_thread: None) -> None:
    weights = save_tiny_cosmos(tmp_path / "weights")
    widen(weights)
    build_cache(tmp_path / "cache", episodes(8), Spread(tiny_encoder(weights)))
    settings = replace(
        QUICK,
        method="full",
        steps=400,
        batch=4,
        micro_batch=4,
        learning_rate=3e-3,
        warmup=50,
        weight_decay=0.0,
        ema_decay=0.99,
        gradient_checkpointing=False,
        checkpoint_every=1000,
        validate_every=400,
        sampling_steps=12,
    )
    finetune(tmp_path / "run", tmp_path / "cache", weights, settings, safety_checker=Lenient())
    before, after = (record for record in read_log(tmp_path / "run") if "latent_error" in record)
    assert before["latent_error"] > before["copy_error"]
    assert after["latent_error"] < 0.9 * after["copy_error"]
