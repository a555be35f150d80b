"""The encoders of Cosmos-Predict2 for the cache: tiled views → VAE latents, prompts → T5 embeddings."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from torch import nn

from world2act_core.embodiment import Embodiment
from world2act_core.errors import ContractError
from world2act_core.types import Array, Episode
from world2act_core.world_model.cosmos.finetune.clips import FRAMES_PER_LATENT
from world2act_core.world_model.cosmos.latents import encode_video
from world2act_core.world_model.cosmos.parts import CosmosParts
from world2act_core.world_model.cosmos.views import Tiling


class CosmosEncoder:
    """See `cache.Encoder`.

    Args:
        parts: whose VAE and text encoder are used, where they are.
        embodiment: of the episodes.
        tiling: of its views.

    Raises:
        ContractError: the robot's action chunks are not as long as the VAE's latents.
    """

    text_length = 512
    """Tokens of the pipeline's prompts (its ``max_sequence_length``); what is longer is cut."""

    def __init__(self, parts: CosmosParts, embodiment: Embodiment, tiling: Tiling) -> None:
        if embodiment.chunk_length != FRAMES_PER_LATENT:
            raise ContractError(
                f"{embodiment.file}: chunk_length = {embodiment.chunk_length}, but a latent of Cosmos is "
                f"{FRAMES_PER_LATENT} control steps: set chunk_length to {FRAMES_PER_LATENT}"
            )
        self.parts, self.embodiment, self.tiling = parts, embodiment, tiling
        self.identity: dict[str, Any] = {
            "vae": fingerprint(parts.vae),
            "text_encoder": fingerprint(parts.text_encoder),
            "embodiment": embodiment.name,
            "control_rate_hz": embodiment.control_rate_hz,
            "height": tiling.height,
            "width": tiling.width,
            "tiles": {camera.name: list(camera.tile) for camera in tiling.cameras},
        }

    def tile(self, episode: Episode, rows: Array) -> torch.Tensor:
        if episode.embodiment != self.embodiment.name:
            raise ContractError(
                f"episode {episode.episode_id} is of embodiment {episode.embodiment}, expected {self.embodiment.name}"
            )
        views = {name: images[rows] for name, images in episode.images.items()}
        return torch.from_numpy(self.tiling.tile(views))

    def latents(self, frames: torch.Tensor) -> torch.Tensor:
        return encode_video(self.parts.vae, frames[None])[0]

    @torch.no_grad()
    def text(self, prompt: str) -> torch.Tensor:
        tokens = self.parts.tokenizer(
            prompt, padding="max_length", max_length=self.text_length, truncation=True, return_tensors="pt"
        ).to(self.parts.text_encoder.device)
        mask = tokens.attention_mask.bool()
        embedding = self.parts.text_encoder(tokens.input_ids, attention_mask=mask).last_hidden_state
        return (embedding * mask[..., None])[0].float().cpu()


def fingerprint(network: nn.Module) -> str:
    """Tells networks apart by what they are and by some of their weights, without reading gigabytes.

    Weights that were fine-tuned, or read in another precision, have another fingerprint.
    """
    digest = hashlib.sha256(type(network).__name__.encode())
    for name, tensor in sorted(network.state_dict().items()):
        flat = tensor.detach().flatten()
        some = flat[:: max(1, len(flat) // 16)]
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(np.ascontiguousarray(some.float().cpu().numpy()).tobytes())
    return digest.hexdigest()[:16]
