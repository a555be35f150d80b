"""Actions read from the robot's own state, where episodes hold it but no commands (ours): no picture is needed.

Video shows all that a world model can imagine, but not the robot as exactly as its encoders do. So where states were
logged beside a video, the actions are read from their course: step by step, and a chunk further than the actions go,
because fingers take their time after a command.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from world2act_core.embodiment import Embodiment
from world2act_core.embodiment.displacement import Displacement
from world2act_core.episodes.chunks import ChunkTable, displaced
from world2act_core.networks.blocks import Standardise
from world2act_core.runs import Checkpointed, fit
from world2act_core.runs.training import Losses
from world2act_core.types import Array

LEAST_CHANGE = 1e-4
"""Metres or radians from one control step to the next: what spreads less is taken as noise of a sensor."""


@dataclass(frozen=True)
class StateDynamicsConfig:
    """Training of the inverse dynamics of states."""

    steps: int = 4000
    batch: int = 256
    learning_rate: float = 1e-3
    width: int = 128


@dataclass(frozen=True)
class StateShape:
    """Sizes: states S, proprioception P, chunk length M, actions A; and the units of displacements, empty for actions
    as they are (see ``embodiment.displacement``)."""

    states: int
    proprio: int
    chunk_length: int
    actions: int
    width: int
    units: tuple[float, ...] = ()


class StateDynamics(nn.Module):
    """Proprioception ``(B, S, P)`` from a chunk's first step on → its actions ``(B, M, A)``, as displacements where the
    shape has units."""

    def __init__(self, shape: StateShape) -> None:
        super().__init__()
        self.shape = shape
        self.state, self.changes = Standardise(shape.proprio), Standardise((shape.states - 1) * shape.proprio)
        self.head = nn.Sequential(
            nn.Linear(shape.states * shape.proprio, shape.width),
            nn.ReLU(),
            nn.Linear(shape.width, shape.width),
            nn.ReLU(),
            nn.Linear(shape.width, shape.chunk_length * shape.actions),
            nn.Unflatten(-1, (shape.chunk_length, shape.actions)),
        )

    def fit(self, states: torch.Tensor) -> None:
        """Take the spread of states ``(N, S, P)`` and of their changes as the unit of each."""
        self.state.fit(states[:, 0])
        self.changes.fit(states.diff(dim=1).flatten(1), floor=LEAST_CHANGE)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.head(torch.cat([self.state(states[:, 0]), self.changes(states.diff(dim=1).flatten(1))], -1))


def train_state_dynamics(
    table: ChunkTable,
    config: StateDynamicsConfig,
    seed: int,
    checkpoint: Path,
    *,
    displacement: Displacement = Displacement(),  # noqa: B008 - frozen
    weight: Array | None = None,
) -> tuple[StateDynamics, list[dict[str, float]]]:
    """Train on the labelled chunks of a table; resumes from ``checkpoint``.

    Args:
        weight: ``(N,)`` how often a chunk is drawn, relative to others; None draws all alike.
    """
    torch.manual_seed(seed)
    states, wanted = _states(table), torch.from_numpy(displaced(table, displacement).actions)
    rows = np.flatnonzero(table.labelled)
    (_, s, p), (_, m, a) = states.shape, wanted.shape
    model = StateDynamics(StateShape(s, p, m, a, config.width, displacement.units))
    model.fit(states[rows])
    share = None if weight is None else weight[rows] / weight[rows].sum()

    def losses(rng: np.random.Generator) -> Losses:
        drawn = rng.choice(rows, config.batch, p=share)
        return {"loss": F.mse_loss(model(states[drawn]), wanted[drawn])}

    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=1e-3)
    history = fit(Checkpointed(model, optimizer, checkpoint), losses, steps=config.steps, seed=seed, label="states")
    return model.eval(), history


@torch.no_grad()
def state_r2(model: StateDynamics, table: ChunkTable) -> float:
    """Share of the variance of a labelled table's actions that the course of the state explains, over all
    dimensions."""
    done = displaced(table, Displacement(model.shape.units)).actions
    off = np.square(model(_states(table)).numpy() - done).mean()
    return float(1 - off / max(done.var((0, 1)).mean(), 1e-12))


@torch.no_grad()
def read_states(model: StateDynamics, table: ChunkTable, embodiment: Embodiment) -> Array:
    """The actions ``(N, M, A)`` that the course of the state tells: those of the contract, in range, the gripper wholly
    open or closed."""
    said = model(_states(table)).numpy()
    return embodiment.decided(Displacement(model.shape.units).back(said, table.standing))


def _states(table: ChunkTable) -> torch.Tensor:
    assert table.states is not None, "of this table no states are known"
    return torch.from_numpy(table.states)


def save_state_dynamics(path: Path, model: StateDynamics) -> None:
    torch.save({"shape": asdict(model.shape), "weights": model.state_dict()}, path)


def load_state_dynamics(path: Path) -> StateDynamics:
    saved = torch.load(path, weights_only=True)
    model = StateDynamics(StateShape(**saved["shape"]))
    model.load_state_dict(saved["weights"])
    return model.eval()
