"""The compact base policy: behaviour cloning of action chunks from camera images and proprioception.

It stands where a VLA stands in the paper: trained by somebody, then frozen. It is small enough to be trained in the
demo; its weakness comes from having seen few demonstrations, not from sabotage.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from world2act_core.embodiment import Embodiment
from world2act_core.embodiment.displacement import Displacement, placed_dimensions, standing, standing_stream
from world2act_core.episodes.chunks import ChunkTable
from world2act_core.errors import ContractError, RunError
from world2act_core.networks.blocks import Standardise
from world2act_core.networks.codec import PatchCodec
from world2act_core.networks.eyes import Eyes, EyesConfig
from world2act_core.policies.protocol import Policy
from world2act_core.policies.seen import seen_arrays
from world2act_core.runs import Checkpointed, fit
from world2act_core.types import ActionChunk, Observation


@dataclass(frozen=True)
class CompactConfig(EyesConfig):
    """Architecture and training of the compact policy. Its eyes' defaults were the better ones with ten demonstrations
    (27 against 6 of 40 starts; docs/post-training-trials.md)."""

    cameras: tuple[str, ...] = ("agentview", "wrist")
    streams: tuple[str, ...] = ("joint_positions", "gripper_positions", "eef_position")
    proprioception: bool = True  # False: from images alone, for labels whose videos have no state
    image_size: int = 64
    patch: int = 8  # of the codec, for encoder "patches"
    channels: int = 16
    steps: int = 1500
    batch: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4


class FromStanding(nn.Module):
    """Displacements ``(B, M, A)`` of an arm that is commanded by positions, with proprioception ``(B, P)`` → actions:
    a network that had to say positions would first have to learn to copy where the arm stands.

    Attributes:
        step: ``(A,)``, how far 1 leads, in action units.
        place: ``(P, A)``, which measured value is an action's place, in action units; 0 where none is.
    """

    step: torch.Tensor
    place: torch.Tensor

    def __init__(self, place: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("place", place)
        self.register_buffer("step", torch.ones(place.shape[1]))

    def forward(self, moves: torch.Tensor, proprio: torch.Tensor) -> torch.Tensor:
        return moves * self.step + (proprio @ self.place)[:, None]


class CompactNetwork(nn.Module):
    """Tiled frames uint8 ``(B, S, V S, 3)`` and proprioception ``(B, P)`` → action chunk ``(B, M, A)``."""

    def __init__(
        self, config: CompactConfig, proprio: int, chunk_length: int, actions: int, place: torch.Tensor | None = None
    ) -> None:
        """``place``: of ``FromStanding``; None for actions as they are."""
        super().__init__()
        self.shape, self.uses_proprio = (chunk_length, actions), config.proprioception
        self.from_standing = None if place is None else FromStanding(place)
        self.standardise = Standardise(proprio)
        self.eyes = Eyes(config, PatchCodec(config.image_size, len(config.cameras), config.patch, config.channels))
        self.head = nn.Sequential(
            nn.Linear(self.eyes.size + proprio * config.proprioception, 128),
            nn.ReLU(),
            nn.Linear(128, 128),
            nn.ReLU(),
            nn.Linear(128, chunk_length * actions),
        )

    def fit_inputs(self, frames: torch.Tensor, proprio: torch.Tensor) -> None:
        """Fit the codec, if any, to frames ``(F, S, V S, 3)``, and the scale of proprioception to ``(N, P)``."""
        if self.eyes.codec is not None:
            self.eyes.codec.fit(frames)
        self.standardise.fit(proprio)

    def forward(self, frames: torch.Tensor, proprio: torch.Tensor) -> torch.Tensor:
        features = self.eyes(self.eyes.see(frames))
        if self.uses_proprio:
            features = torch.cat([features, self.standardise(proprio)], -1)
        said = self.head(features).unflatten(-1, self.shape)
        return said if self.from_standing is None else self.from_standing(said, proprio)


def new_network(config: CompactConfig, embodiment: Embodiment, *, positions: bool = False) -> CompactNetwork:
    """An untrained network; ``positions``: that says an arm's positions as they are, as those of before did."""
    sizes = [embodiment.state[name].size for name in config.streams]
    place = None if positions or not config.proprioception else _place(config.streams, sizes, embodiment)
    return CompactNetwork(config, sum(sizes), embodiment.chunk_length, embodiment.action.size, place)


def _place(streams: Sequence[str], sizes: Sequence[int], embodiment: Embodiment) -> torch.Tensor | None:
    """``FromStanding.place``; None where actions are displacements or no stream tells where the arm stands."""
    if not placed_dimensions(embodiment) or standing_stream(embodiment) not in streams:
        return None
    measured = np.split(np.eye(sum(sizes), dtype=np.float32), np.cumsum(sizes)[:-1], axis=1)
    return torch.from_numpy(standing(embodiment, dict(zip(streams, measured, strict=True))))


def train_compact(
    table: ChunkTable,
    embodiment: Embodiment,
    config: CompactConfig,
    seed: int,
    checkpoint: Path,
    label: str = "base",
) -> tuple[CompactNetwork, list[dict[str, float]]]:
    """Behaviour cloning on the labelled chunks of a table; resumes from ``checkpoint``.

    Args:
        table: its frames show the config's cameras, tiled in that order.

    Returns the network and the training history.
    """
    torch.manual_seed(seed)
    network = new_network(config, embodiment)
    frames = torch.from_numpy(table.frames)
    network.fit_inputs(frames, torch.from_numpy(table.proprio))
    actions, proprio = torch.from_numpy(table.actions), torch.from_numpy(table.proprio)
    before, labelled = torch.from_numpy(table.before), np.flatnonzero(table.labelled)
    unit = torch.ones(embodiment.action.size)
    if (moves := network.from_standing) is not None:
        stood = None if table.standing is None else table.standing[labelled]
        moves.step.copy_(torch.from_numpy(Displacement.between(embodiment, table.actions[labelled], stood).step))
        unit = moves.step

    def losses(rng: np.random.Generator) -> dict[str, torch.Tensor]:
        rows = torch.from_numpy(rng.choice(labelled, config.batch))
        return {"loss": F.mse_loss(network(frames[before[rows]], proprio[rows]) / unit, actions[rows] / unit)}

    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    state = Checkpointed(network, optimizer, checkpoint)
    return network, fit(state, losses, steps=config.steps, seed=seed, label=label)


class CompactPolicy(Policy):
    """The compact network behind the policy protocol."""

    def __init__(self, network: CompactNetwork, config: CompactConfig, embodiment: Embodiment) -> None:
        self.network, self.config, self.embodiment = network.eval(), config, embodiment
        self.cameras, self.streams, self.horizon = config.cameras, config.streams, embodiment.chunk_length

    def reset(self) -> None:
        """Nothing to forget: the policy has no memory."""

    @torch.inference_mode()
    def act(self, observation: Observation, prompt: str) -> ActionChunk:
        actions = self.network(*compact_inputs(observation, self.config, self.embodiment))[0].numpy()
        return ActionChunk(self.embodiment.clamp(actions), observation.stamp, prompt)


def compact_inputs(
    observation: Observation, config: CompactConfig, embodiment: Embodiment
) -> tuple[torch.Tensor, torch.Tensor]:
    """Observation → tiled frame uint8 ``(1, S, V S, 3)`` and proprioception ``(1, P)``."""
    frames, proprio = seen_arrays(observation, config, embodiment)
    return torch.from_numpy(frames), torch.from_numpy(proprio)


def save_compact(path: Path, network: CompactNetwork, config: CompactConfig, embodiment: Embodiment) -> None:
    torch.save({"config": asdict(config), "embodiment": embodiment.name, "weights": network.state_dict()}, path)


def config_from(saved: dict[str, object]) -> CompactConfig:
    values = {name: tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
              for name, value in saved.items()}  # fmt: skip
    return CompactConfig(**values)  # type: ignore[arg-type]


def load_compact(path: Path, embodiment: Embodiment) -> CompactPolicy:
    """The policy from its file.

    Raises:
        ContractError: it was trained for another embodiment.
        RunError: the file is not a compact policy.
    """
    try:
        saved = torch.load(path, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as problem:
        raise RunError(f"{path} is no compact policy: name the policy.pt that training wrote") from problem
    if saved["embodiment"] != embodiment.name:
        raise ContractError(f"{path} was trained for embodiment {saved['embodiment']}, not for {embodiment.name}")
    config = config_from(saved["config"])
    network = new_network(config, embodiment, positions="from_standing.step" not in saved["weights"])
    network.load_state_dict(saved["weights"])
    return CompactPolicy(network, config, embodiment)


def open_compact_policy(reference: str, embodiment: Embodiment) -> CompactPolicy:
    """``FILE`` that ``save_compact`` wrote, or a run folder, whose base policy it is → policy.

    Raises:
        RunError: there is no such file or folder, or the folder's base is not trained yet.
    """
    path = Path(reference)
    if path.is_dir():
        from world2act_core.policies.run_folder import policy_files
        from world2act_core.runs.stage import read_stage

        path = policy_files(path)["base"]
        read_stage(path.parent)
    if not path.is_file():
        raise RunError(f"there is no compact policy {path}: train it, or name the file that training wrote")
    torch.set_num_threads(1)  # as in the evaluation's workers: sums in another order would be other actions
    return load_compact(path, embodiment)
