"""Trains one stage on toy data in a process of its own: ``python train_one.py STAGE FOLDER SECONDS_A_CHECKPOINT``.

Prints a line after each checkpoint of that stage and then waits, so that the parent can kill it between two of them.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "learning"))
from scenes import EMBODIMENT, SIZE, STREAMS, square_table

from world2act_core.alignment.train import Stage1Config, train_alignment, video_latents
from world2act_core.policies.compact import CompactConfig, train_compact
from world2act_core.residual.network import Residual, ResidualConfig
from world2act_core.residual.train import PostTrainingSet, Stage2Config, train_residual
from world2act_core.runs import training
from world2act_core.world_model.compact import CompactWorldModelConfig, train_world_model

STEPS = 20
TABLE = square_table(8)


def train(stage: str, folder: Path) -> nn.Module:
    if stage == "base":
        config = CompactConfig(streams=STREAMS, image_size=SIZE, width=8, features=16, steps=STEPS, batch=16)
        return train_compact(TABLE, EMBODIMENT, config, 1, folder / "base.pt")[0]
    config = CompactWorldModelConfig(image_size=SIZE, width=8, steps=STEPS, batch=8)
    world_model = train_world_model(TABLE, config, 1, folder / "world_model.pt")[0]
    if stage == "world_model":
        return world_model
    latents = world_model.encode(torch.from_numpy(TABLE.frames))
    config1 = Stage1Config(steps=STEPS, batch=4, length=4)
    alignment = train_alignment(TABLE, latents, config1, 1, folder / "stage1.pt")[0]
    if stage == "stage1":
        return alignment
    torch.manual_seed(0)
    residual = Residual(ResidualConfig(), alignment, TABLE.proprio.shape[1], torch.ones(7, dtype=torch.bool))
    data = PostTrainingSet(
        images=torch.from_numpy(TABLE.frames[TABLE.before]),
        proprio=torch.from_numpy(TABLE.proprio),
        base=0.5 * torch.from_numpy(TABLE.actions),
        target=video_latents(alignment, latents[TABLE.before], latents[TABLE.after]),
    )
    span = (-torch.ones(7), torch.ones(7))
    train_residual(residual, alignment, data, span, Stage2Config(steps=STEPS, batch=16), 1, folder / "stage2.pt")
    return residual


def main() -> None:
    stage, folder, pause = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    torch.set_num_threads(1)
    training.CHECKPOINT_EVERY = 5
    save = training.Checkpointed.save

    def save_and_say(state: training.Checkpointed) -> None:
        save(state)
        if state.path.stem == stage:
            print("checkpoint", state.step, flush=True)
            time.sleep(pause)

    training.Checkpointed.save = save_and_say  # type: ignore[method-assign]
    module = train(stage, folder)
    flat = torch.cat([value.double().flatten() for value in module.state_dict().values()])
    (folder / "weights.bin").write_bytes(flat.numpy().tobytes())


if __name__ == "__main__":
    main()
