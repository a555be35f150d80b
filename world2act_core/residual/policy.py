"""Frozen base + residual as one policy, and its file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from world2act_core.alignment.adapters import AdapterConfig, Alignment
from world2act_core.embodiment import Embodiment
from world2act_core.errors import RunError
from world2act_core.networks.codec import PatchCodec
from world2act_core.policies.address import two_files
from world2act_core.policies.compact import CompactPolicy, compact_inputs, load_compact
from world2act_core.policies.protocol import Policy
from world2act_core.residual.network import Residual, ResidualConfig
from world2act_core.runs import file_digest
from world2act_core.types import ActionChunk, Observation


class PostTrainedPolicy(Policy):
    """a_final = a_base + f_theta(s), clamped to the embodiment's range (World2Act, section 3.3).

    Args:
        strength: multiplies the residual; 0 gives the base policy bit for bit.
    """

    def __init__(self, base: CompactPolicy, residual: Residual, embodiment: Embodiment, strength: float = 1.0) -> None:
        self.base, self.residual, self.embodiment, self.strength = base, residual.eval(), embodiment, strength
        self.cameras, self.streams, self.horizon = base.cameras, base.streams, base.horizon

    def reset(self) -> None:
        self.base.reset()

    @torch.inference_mode()
    def act(self, observation: Observation, prompt: str) -> ActionChunk:
        chunk = self.base.act(observation, prompt)
        if not self.strength:
            return chunk
        frames, proprio = compact_inputs(observation, self.base.config, self.embodiment)
        seen = self.residual.see(frames)
        correction = self.residual(torch.from_numpy(chunk.actions)[None], proprio, seen)[0].numpy()
        actions = self.embodiment.clamp(chunk.actions + np.float32(self.strength) * correction)
        return ActionChunk(actions, chunk.stamp, prompt)


def save_residual(path: Path, residual: Residual, config: ResidualConfig, alignment: Alignment, base: Path) -> None:
    """Store a residual with the identity of the base it was trained on."""
    adapter = {**asdict(alignment.config), "latent_shape": list(alignment.config.latent_shape)}
    torch.save(
        {
            "config": asdict(config),
            "adapter": adapter,
            "proprio": residual.standardise.mean.shape[0],
            "codec": residual.codec_shape,
            "base": file_digest(base),
            "weights": residual.state_dict(),
        },
        path,
    )


def load_residual(path: Path, base: Path) -> Residual:
    """The residual from its file.

    Raises:
        RunError: it was trained on another base policy than the file ``base``.
    """
    saved = torch.load(path, weights_only=True)
    if saved["base"] != file_digest(base):
        raise RunError(f"{path} was trained on another base policy than {base}: run Stage 2 on this base")
    alignment = Alignment(AdapterConfig(**saved["adapter"]))
    used = saved["weights"]["used"] > 0
    codec = PatchCodec(**saved["codec"])
    residual = Residual(ResidualConfig(**saved["config"]), alignment, saved["proprio"], used, codec)
    residual.load_state_dict(saved["weights"])
    return residual


def open_post_trained(reference: str, embodiment: Embodiment) -> PostTrainedPolicy:
    """``BASE,RESIDUAL``, files that ``save_compact`` and ``save_residual`` wrote → policy.

    Raises:
        RunError: one of the files is missing, or the residual belongs to another base.
    """
    base, residual = two_files(reference)
    torch.set_num_threads(1)  # as in the evaluation's workers: sums in another order would be other actions
    return PostTrainedPolicy(load_compact(base, embodiment), load_residual(residual, base), embodiment)
