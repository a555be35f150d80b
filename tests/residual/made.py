"""A compact base and residuals on it, trained by nobody: what is tested here does not depend on what they learned."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.learning.scenes import EMBODIMENT, SIZE, STREAMS, square_episode, square_table
from world2act_core.alignment.adapters import AdapterConfig, Alignment
from world2act_core.networks.codec import PatchCodec
from world2act_core.policies.compact import CompactConfig, new_network, save_compact
from world2act_core.policies.seen import SeenInputs
from world2act_core.residual.files import save_residual
from world2act_core.residual.network import Residual, ResidualConfig
from world2act_core.runs import file_digest
from world2act_core.types import Observation

__all__ = ["BASE", "EMBODIMENT", "OVERRULING", "PATCHES", "SEEN", "make_residual", "observation"]

BASE = "policy.pt"
PATCHES = ResidualConfig(encoder="patches")
OVERRULING = ResidualConfig(encoder="patches", trunk="flat", correction="instead", hide_base=1.0)
"""With all action dimensions used, it says the whole action."""
SEEN = SeenInputs(("agentview",), STREAMS, SIZE)


def make_residual(
    folder: Path,
    name: str,
    seed: int = 0,
    skill: str = "",
    config: ResidualConfig = PATCHES,
    units: tuple[float, ...] = (),
    used: tuple[bool, ...] = (*[True] * 6, False),
) -> Path:
    """``folder/name``, a residual that corrects a good deal, and its base ``folder/policy.pt`` unless it is there."""
    torch.manual_seed(seed)
    if not (folder / BASE).exists():
        compact = CompactConfig(cameras=SEEN.cameras, streams=STREAMS, image_size=SIZE, width=4, features=8)
        save_compact(folder / BASE, new_network(compact, EMBODIMENT), compact, EMBODIMENT)
    table = square_table(4)
    codec = PatchCodec(SIZE)
    codec.fit(torch.from_numpy(table.frames))
    alignment = Alignment(AdapterConfig(codec.latent_shape, units=units))
    residual = Residual(config, alignment, table.proprio.shape[1], torch.tensor(used), codec)
    residual.standardise.fit(torch.from_numpy(table.proprio))
    for parameter in residual.head[-1].parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    path = folder / name
    save_residual(path, residual, config, alignment, file_digest(folder / BASE), SEEN, EMBODIMENT, skill)
    return path


def observation(index: int = 3, frame: int = 2) -> Observation:
    episode = square_episode(index)
    images = {camera: frames[frame] for camera, frames in episode.images.items()}
    return Observation(0.5, images, {name: values[4 * frame] for name, values in episode.state.items()})
