"""The compact base policy: behaviour cloning of action chunks from one image and proprioception.

It stands where a VLA stands in the paper: trained by somebody, then frozen. It is small enough to be trained in the
demo; its weakness comes from having seen few demonstrations, not from sabotage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from world2act_core.embodiment import Embodiment
from world2act_core.embodiment.contract import as_vector
from world2act_core.episodes.chunks import ChunkTable, model_image
from world2act_core.errors import ContractError, RunError
from world2act_core.policies.networks import ImageEncoder, Standardise, to_float
from world2act_core.runs import Checkpointed, fit
from world2act_core.types import ActionChunk, Array, Observation


@dataclass(frozen=True)
class CompactConfig:
    """Architecture and training of the compact base policy."""

    camera: str = "agentview"
    streams: tuple[str, ...] = ("joint_positions", "gripper_positions", "eef_position")
    image_size: int = 64
    width: int = 16
    features: int = 64
    steps: int = 700
    batch: int = 64
    learning_rate: float = 1e-3
    shift: int = 2  # augmentation: images move by up to this many pixels


class CompactNetwork(nn.Module):
    """Image ``(B, 3, S, S)`` and proprioception ``(B, P)`` → action chunk ``(B, M, A)``."""

    def __init__(self, config: CompactConfig, proprio: int, chunk_length: int, actions: int) -> None:
        super().__init__()
        self.shape = (chunk_length, actions)
        self.standardise = Standardise(proprio)
        self.image = ImageEncoder(config.width, config.features)
        self.head = nn.Sequential(
            nn.Linear(config.features + proprio, 128),
            nn.ReLU(),
            nn.Linear(128, 128),
            nn.ReLU(),
            nn.Linear(128, chunk_length * actions),
        )

    def forward(self, images: torch.Tensor, proprio: torch.Tensor) -> torch.Tensor:
        seen = torch.cat([self.image(images), self.standardise(proprio)], -1)
        return self.head(seen).unflatten(-1, self.shape)


def new_network(config: CompactConfig, embodiment: Embodiment) -> CompactNetwork:
    proprio = sum(embodiment.state[name].size for name in config.streams)
    return CompactNetwork(config, proprio, embodiment.chunk_length, embodiment.action.size)


def train_compact(
    table: ChunkTable, embodiment: Embodiment, config: CompactConfig, seed: int, checkpoint: Path, label: str = "base"
) -> tuple[CompactNetwork, list[dict[str, float]]]:
    """Behaviour cloning on the labelled chunks of a table (its first camera); resumes from ``checkpoint``.

    Returns the network and the training history.
    """
    torch.manual_seed(seed)
    network = new_network(config, embodiment)
    network.standardise.fit(torch.from_numpy(table.proprio))
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=1e-4)
    frames, actions = torch.from_numpy(table.view(0)), torch.from_numpy(table.actions)
    proprio, labelled = torch.from_numpy(table.proprio), np.flatnonzero(table.labelled)

    def losses(rng: np.random.Generator) -> dict[str, torch.Tensor]:
        rows = rng.choice(labelled, config.batch)
        images = shifted(to_float(frames[table.before[rows]]), config.shift, rng)
        return {"loss": F.mse_loss(network(images, proprio[rows]), actions[rows])}

    state = Checkpointed(network, optimizer, checkpoint)
    return network, fit(state, losses, steps=config.steps, seed=seed, label=label)


def shifted(images: torch.Tensor, by: int, rng: np.random.Generator) -> torch.Tensor:
    """Move each image ``(B, C, S, S)`` by up to ``by`` pixels, repeating its border."""
    if not by:
        return images
    size = images.shape[-1]
    padded = F.pad(images, (by, by, by, by), mode="replicate")
    offsets = rng.integers(0, 2 * by + 1, (len(images), 2))
    return torch.stack([image[:, y : y + size, x : x + size] for image, (y, x) in zip(padded, offsets, strict=True)])


class CompactPolicy:
    """The compact network behind the policy protocol."""

    def __init__(self, network: CompactNetwork, config: CompactConfig, embodiment: Embodiment) -> None:
        self.network, self.config, self.embodiment = network.eval(), config, embodiment
        self.cameras: tuple[str, ...] = (config.camera,)

    def reset(self) -> None:
        """Nothing to forget: the policy has no memory."""

    @torch.inference_mode()
    def act(self, observation: Observation, prompt: str) -> ActionChunk:
        images, proprio = compact_inputs(observation, self.config, self.embodiment)
        actions = self.network(images, proprio)[0].numpy()
        return ActionChunk(self.embodiment.clamp(actions), observation.stamp, prompt)


def compact_inputs(
    observation: Observation, config: CompactConfig, embodiment: Embodiment
) -> tuple[torch.Tensor, torch.Tensor]:
    """Observation → image ``(1, 3, S, S)`` in [0, 1] and proprioception ``(1, P)``."""
    image: Array = model_image(observation.images[config.camera], config.image_size)
    proprio = as_vector(embodiment, dict(observation.state), config.streams)
    return to_float(torch.from_numpy(np.ascontiguousarray(image))[None]), torch.from_numpy(proprio)[None]


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
    """
    saved = torch.load(path, weights_only=True)
    if saved["embodiment"] != embodiment.name:
        raise ContractError(f"{path} was trained for embodiment {saved['embodiment']}, not for {embodiment.name}")
    config = config_from(saved["config"])
    network = new_network(config, embodiment)
    network.load_state_dict(saved["weights"])
    return CompactPolicy(network, config, embodiment)


def open_compact_policy(reference: str, embodiment: Embodiment) -> CompactPolicy:
    """``FILE`` that ``save_compact`` wrote → policy.

    Raises:
        RunError: there is no such file.
    """
    path = Path(reference)
    if not path.is_file():
        raise RunError(f"there is no compact policy {path}: train it, or name the file that training wrote")
    torch.set_num_threads(1)  # as in the evaluation's workers: sums in another order would be other actions
    return load_compact(path, embodiment)
