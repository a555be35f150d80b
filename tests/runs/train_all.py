"""Trains all four stages on toy data, one after the other: ``python train_all.py FOLDER [STAGE STEP]``.

What it has done is kept in FOLDER, and a second start goes on from there. With STAGE and STEP it ends at the beginning
of that step by SIGKILL, which no code can answer: as a power cut would.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.learning.scenes import EMBODIMENT, SIZE, STREAMS, square_table
from world2act_core.alignment.train import Stage1Config, train_alignment, video_latents
from world2act_core.policies.compact import CompactConfig, train_compact
from world2act_core.residual.network import Residual, ResidualConfig
from world2act_core.residual.train import PostTrainingSet, Stage2Config, train_residual
from world2act_core.runs import training
from world2act_core.world_model.chunk_latents import real_latents
from world2act_core.world_model.compact import CompactWorldModelConfig, train_world_model

STAGES = ("base", "world_model", "stage1", "stage2")
"""In this order; a stage's place is the seed of its training."""
STEPS, CHECKPOINT_EVERY = 12, 5


def train(folder: Path) -> dict[str, nn.Module]:
    table = square_table(8)
    config = CompactConfig(cameras=("agentview",), streams=STREAMS, image_size=SIZE, features=16, steps=STEPS, batch=16)
    base, _ = train_compact(table, EMBODIMENT, config, 0, folder / "base.pt")

    world_config = CompactWorldModelConfig(image_size=SIZE, views=1, width=8, steps=STEPS, batch=8)
    world_model, _ = train_world_model(table, world_config, 1, folder / "world_model.pt")

    latents = real_latents(world_model, table)
    config1 = Stage1Config(steps=STEPS, batch=4, length=4)
    alignment, _ = train_alignment(table, latents, config1, 2, folder / "stage1.pt")

    torch.manual_seed(0)
    residual = Residual(
        ResidualConfig(), alignment, table.proprio.shape[1], torch.ones(7, dtype=torch.bool), world_model.codec
    )
    data = PostTrainingSet(
        frames=torch.from_numpy(table.frames[table.before]),
        proprio=torch.from_numpy(table.proprio),
        base=0.5 * torch.from_numpy(table.actions),
        target=video_latents(alignment, latents, np.arange(len(table))),
        episode=torch.from_numpy(table.episode),
    )
    span = (-torch.ones(7), torch.ones(7))
    train_residual(residual, alignment, data, span, Stage2Config(steps=STEPS, batch=16), 3, folder / "stage2.pt")
    return dict(zip(STAGES, (base, world_model, alignment, residual), strict=True))


def main() -> None:
    folder = Path(sys.argv[1])
    deadly = (STAGES.index(sys.argv[2]), int(sys.argv[3])) if len(sys.argv) > 2 else None
    torch.set_num_threads(1)

    def generator_or_death(seed: int, step: int) -> np.random.Generator:
        if (seed, step) == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return np.random.default_rng((seed, step))

    with (
        mock.patch.object(training, "step_generator", generator_or_death),
        mock.patch.object(training, "CHECKPOINT_EVERY", CHECKPOINT_EVERY),
    ):
        modules = train(folder)
    for name, module in modules.items():
        values = [value.double().flatten() for value in module.state_dict().values()]
        (folder / f"{name}.weights").write_bytes(torch.cat(values).numpy().tobytes())


if __name__ == "__main__":
    main()
