"""Fine-tuning all weights of the base with Stage 2's objective, in the place of a residual on top of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from world2act_core.alignment.adapters import Alignment
from world2act_core.policies.compact import CompactNetwork
from world2act_core.residual.train import Objective, PostTrainingSet, Stage2Config
from world2act_core.runs import Checkpointed, fit
from world2act_core.runs.training import Losses


def fine_tune(
    network: CompactNetwork,
    alignment: Alignment,
    data: PostTrainingSet,
    action_range: tuple[torch.Tensor, torch.Tensor],
    used: torch.Tensor,
    config: Stage2Config,
    seed: int,
    checkpoint: Path,
) -> list[dict[str, float]]:
    """Train the base in place; resumes from ``checkpoint``. Returns the history.

    Args:
        data: with what is ``wanted``.
        used: ``(A,)`` 1 for the action dimensions that may change. A residual is masked there; a base is not, so the
            decode term asks it to go on there as it did.
    """
    assert data.wanted is not None
    wanted = torch.where(used.bool(), data.wanted, data.base)
    objective = Objective(alignment, replace(data, wanted=wanted), action_range, torch.ones_like(used), config)
    network.train().requires_grad_(True)

    def losses(rng: np.random.Generator) -> Losses:
        rows = objective.draw(rng)
        return objective.losses(rows, network(data.frames[rows], data.proprio[rows]) - data.base[rows])

    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=1e-4)
    state = Checkpointed(network, optimizer, checkpoint)
    return fit(state, losses, steps=config.steps, seed=seed, label="fine-tuning")
