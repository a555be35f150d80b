"""Actions read from the robot's own state, where episodes hold it but no commands (ours): no picture is needed.

Video shows all that a world model can imagine, but not the robot as exactly as its encoders do. So where states were
logged beside a video, the actions that led from one to the next are read from these.
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
from world2act_core.errors import World2ActError
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


@dataclass(frozen=True)
class StateShape:
    """Sizes: proprioception P, chunk length M, actions A; and the units of displacements, empty for actions as they
    are (see ``embodiment.displacement``)."""

    proprio: int
    chunk_length: int
    actions: int
    width: int
    units: tuple[float, ...] = ()


class StateDynamics(nn.Module):
    """Proprioception ``(B, P)`` at a chunk's first step and at the first step behind it → its actions ``(B, M, A)``, as
    displacements where the shape has units."""

    def __init__(self, shape: StateShape) -> None:
        super().__init__()
        self.shape = shape
        self.state, self.change = Standardise(shape.proprio), Standardise(shape.proprio)
        self.head = nn.Sequential(
            nn.Linear(2 * shape.proprio, shape.width),
            nn.ReLU(),
            nn.Linear(shape.width, shape.width),
            nn.ReLU(),
            nn.Linear(shape.width, shape.chunk_length * shape.actions),
            nn.Unflatten(-1, (shape.chunk_length, shape.actions)),
        )

    def forward(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        return self.head(torch.cat([self.state(before), self.change(after - before)], -1))


def followed(table: ChunkTable) -> Array:
    """Rows of a table whose next chunk is the row behind them, so that it is known how the state changed."""
    same, behind = np.diff(table.episode) == 0, np.diff(table.step) == table.actions.shape[1]
    return np.flatnonzero(same & behind)


def train_state_dynamics(
    table: ChunkTable,
    config: StateDynamicsConfig,
    seed: int,
    checkpoint: Path,
    *,
    displacement: Displacement = Displacement(),  # noqa: B008 - frozen
    weight: Array | None = None,
) -> tuple[StateDynamics, list[dict[str, float]]]:
    """Train on the labelled chunks of a table that others follow; resumes from ``checkpoint``.

    Args:
        weight: ``(N,)`` how often a chunk is drawn, relative to others; None draws all alike.

    Raises:
        World2ActError: no labelled chunk has another one behind it.
    """
    torch.manual_seed(seed)
    table = displaced(table, displacement)
    states, wanted = torch.from_numpy(table.proprio), torch.from_numpy(table.actions)
    rows = followed(table)
    rows = rows[table.labelled[rows]]
    if not len(rows):
        raise World2ActError(
            "no episode with actions is two chunks long, so it is not known how states change: log longer ones, or set "
            "stage2_on_videos: real"
        )
    _, chunk_length, actions = wanted.shape
    model = StateDynamics(StateShape(states.shape[1], chunk_length, actions, config.width, displacement.units))
    model.state.fit(states[rows])
    model.change.fit(states[rows + 1] - states[rows])
    share = None if weight is None else weight[rows] / weight[rows].sum()

    def losses(rng: np.random.Generator) -> Losses:
        drawn = rng.choice(rows, config.batch, p=share)
        return {"loss": F.mse_loss(model(states[drawn], states[drawn + 1]), wanted[drawn])}

    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=1e-3)
    history = fit(Checkpointed(model, optimizer, checkpoint), losses, steps=config.steps, seed=seed, label="states")
    return model.eval(), history


@torch.no_grad()
def state_r2(model: StateDynamics, table: ChunkTable) -> float | None:
    """Share of the variance of a labelled table's actions that the change of state explains, over all dimensions; None
    where no episode is two chunks long."""
    rows, states = followed(table), torch.from_numpy(table.proprio)
    if not len(rows):
        return None
    done = displaced(table, Displacement(model.shape.units)).actions[rows]
    off = np.square(model(states[rows], states[rows + 1]).numpy() - done).mean()
    return float(1 - off / max(done.var((0, 1)).mean(), 1e-12))


@torch.no_grad()
def read_states(model: StateDynamics, table: ChunkTable, embodiment: Embodiment) -> tuple[Array, Array]:
    """Rows ``(K,)`` of a table that others follow, and the actions ``(K, M, A)`` that the change of state there tells:
    those of the contract, in range, the gripper wholly open or closed."""
    rows = followed(table)
    states = torch.from_numpy(table.proprio)
    said = model(states[rows], states[rows + 1]).numpy()
    stood = None if table.standing is None else table.standing[rows]
    return rows, embodiment.decided(Displacement(model.shape.units).back(said, stood))


def save_state_dynamics(path: Path, model: StateDynamics) -> None:
    torch.save({"shape": asdict(model.shape), "weights": model.state_dict()}, path)


def load_state_dynamics(path: Path) -> StateDynamics:
    saved = torch.load(path, weights_only=True)
    model = StateDynamics(StateShape(**saved["shape"]))
    model.load_state_dict(saved["weights"])
    return model.eval()
