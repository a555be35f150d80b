"""Stage 2: post-training the residual against imagined latents (World2Act, section 3.3). Success is never read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from world2act_core.alignment.adapters import Alignment, cosine
from world2act_core.alignment.losses import bidirectional_info_nce
from world2act_core.policies.compact import shifted
from world2act_core.policies.networks import to_float
from world2act_core.residual.network import Residual
from world2act_core.runs import Checkpointed, fit


@dataclass(frozen=True)
class Stage2Config:
    """Training of the residual.

    The contrast is the paper's, but chunk by chunk instead of over sequences; decode, clamp, mask and penalty are ours.
    """

    steps: int = 400
    batch: int = 128
    learning_rate: float = 2e-3
    decode: float = 1.0
    contrast: float = 0.02
    penalty: float = 0.01  # on the residual's square: no larger than it need be
    temperature: float = 0.1
    shift: int = 2


@dataclass(frozen=True)
class PostTrainingSet:
    """What Stage 2 learns from: ``N`` chunks of rollouts and where the world model wants them to lead.

    Attributes:
        images: ``(N, S, S, 3)`` uint8 at the chunk's start.
        proprio: ``(N, P)``.
        base: ``(N, M, A)`` what the frozen base does there.
        target: ``(N, D)`` z^v = B_v(imagined latents).
        episode: ``(N,)`` which rollout a chunk belongs to.
    """

    images: torch.Tensor
    proprio: torch.Tensor
    base: torch.Tensor
    target: torch.Tensor
    episode: torch.Tensor

    def __len__(self) -> int:
        return len(self.base)


def train_residual(
    residual: Residual,
    alignment: Alignment,
    data: PostTrainingSet,
    action_range: tuple[torch.Tensor, torch.Tensor],
    config: Stage2Config,
    seed: int,
    checkpoint: Path,
    label: str = "stage 2",
) -> list[dict[str, float]]:
    """Train the residual in place; resumes from ``checkpoint``. Returns the history.

    Args:
        action_range: low and high of every action dimension, ``(A,)`` each; the final action is clamped to it.
    """
    alignment.eval().requires_grad_(False)
    with torch.no_grad():
        wanted = alignment.decoder(data.target).clamp(*action_range)  # what the imagination asks the arm to do

    def losses(rng: np.random.Generator) -> dict[str, torch.Tensor]:
        rows = torch.from_numpy(rng.integers(0, len(data), config.batch))
        images = shifted(to_float(data.images[rows]), config.shift, rng)
        correction = residual(data.base[rows], data.proprio[rows], images)
        a_final = data.base[rows] + correction
        z_a, z_v = alignment.action(a_final.clamp(*action_range)), data.target[rows]
        similarity = F.normalize(z_v, dim=-1) @ F.normalize(z_a, dim=-1).T
        # Negatives come from other initial conditions: chunks of one rollout, or a row drawn twice, really are alike.
        others = data.episode[rows][:, None] != data.episode[rows][None]
        contrast = bidirectional_info_nce(similarity, config.temperature, others)
        decode = (residual.used * (a_final - wanted[rows]).square()).mean()
        penalty = correction.square().mean()
        loss = config.decode * decode + config.contrast * contrast + config.penalty * penalty
        met = cosine(z_v, z_a).mean()
        return {"loss": loss, "decode": decode, "contrast": contrast, "penalty": penalty, "cosine": met}

    trained = [parameter for parameter in residual.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=1e-4)
    state = Checkpointed(residual, optimizer, checkpoint)
    return fit(state, losses, steps=config.steps, seed=seed, label=label)
