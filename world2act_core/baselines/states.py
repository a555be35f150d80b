"""Actions read from the robot's own state: what logs that hold states but no commands tell without any video (ours).

Not every video comes with the robot's state. Where it does, this is what reading actions from video is measured by.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from world2act_core.embodiment import Embodiment
from world2act_core.episodes.chunks import ChunkTable
from world2act_core.networks.blocks import Standardise
from world2act_core.runs import Checkpointed, fit
from world2act_core.runs.training import Losses
from world2act_core.types import Array


@dataclass(frozen=True)
class StateDynamicsConfig:
    """Training of the inverse dynamics of states."""

    steps: int = 4000
    batch: int = 256
    learning_rate: float = 1e-3
    width: int = 128


class StateDynamics(nn.Module):
    """Proprioception ``(B, P)`` at a chunk's first step and at the first step behind it → its actions ``(B, M, A)``."""

    def __init__(self, proprio: int, chunk_length: int, actions: int, width: int) -> None:
        super().__init__()
        self.state, self.change = Standardise(proprio), Standardise(proprio)
        self.head = nn.Sequential(
            nn.Linear(2 * proprio, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, chunk_length * actions),
            nn.Unflatten(-1, (chunk_length, actions)),
        )

    def forward(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        return self.head(torch.cat([self.state(before), self.change(after - before)], -1))


def followed(table: ChunkTable) -> Array:
    """Rows of a table whose next chunk is the row behind them, so that it is known how the state changed."""
    same, behind = np.diff(table.episode) == 0, np.diff(table.step) == table.actions.shape[1]
    return np.flatnonzero(same & behind)


def train_state_dynamics(
    table: ChunkTable, config: StateDynamicsConfig, seed: int, checkpoint: Path, label: str = "inverse dynamics"
) -> tuple[StateDynamics, list[dict[str, float]]]:
    """Train on the labelled chunks of a table that others follow; resumes from ``checkpoint``."""
    torch.manual_seed(seed)
    states, wanted = torch.from_numpy(table.proprio), torch.from_numpy(table.actions)
    rows = followed(table)
    rows = rows[table.labelled[rows]]
    model = StateDynamics(states.shape[1], wanted.shape[1], wanted.shape[2], config.width)
    model.state.fit(states[rows])
    model.change.fit(states[rows + 1] - states[rows])

    def losses(rng: np.random.Generator) -> Losses:
        drawn = rng.choice(rows, config.batch)
        return {"loss": F.mse_loss(model(states[drawn], states[drawn + 1]), wanted[drawn])}

    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=1e-3)
    history = fit(Checkpointed(model, optimizer, checkpoint), losses, steps=config.steps, seed=seed, label=label)
    return model.eval(), history


@torch.no_grad()
def state_labelled(table: ChunkTable, model: StateDynamics, embodiment: Embodiment, used: Array) -> ChunkTable:
    """The chunks of action-free episodes that others follow, with the actions that the change of state tells.

    Args:
        used: ``(A,)`` bool; other action dimensions, which the demonstrations hardly use, are set to nothing.
    """
    rows = followed(table)
    states = torch.from_numpy(table.proprio)
    read = embodiment.decided(model(states[rows], states[rows + 1]).numpy())
    labelled = table.select(rows)
    return replace(labelled, actions=read * used, labelled=np.ones(len(rows), bool))
