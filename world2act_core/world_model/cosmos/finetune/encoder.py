"""The encoders of Cosmos-Predict2 for the cache: tiled views → VAE latents, prompts → T5 embeddings."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from world2act_core.embodiment import Embodiment
from world2act_core.errors import ContractError
from world2act_core.types import Array, Episode
from world2act_core.world_model.cosmos.finetune.clips import FRAMES_PER_LATENT
from world2act_core.world_model.cosmos.latents import encode_video
from world2act_core.world_model.cosmos.parts import load_part
from world2act_core.world_model.cosmos.views import Tiling, tiling_of


class CosmosEncoder:
    """See `cache.Encoder`.

    Args:
        vae, tokenizer, text_encoder: parts of Cosmos, the networks where they shall work.
        embodiment: of the episodes.
        tiling: of its views.

    Raises:
        ContractError: the robot's action chunks are not as long as the VAE's latents.
    """

    text_length = 512
    """Tokens of the pipeline's prompts (its ``max_sequence_length``); what is longer is cut."""

    def __init__(self, vae: Any, tokenizer: Any, text_encoder: Any, embodiment: Embodiment, tiling: Tiling) -> None:
        if embodiment.chunk_length != FRAMES_PER_LATENT:
            raise ContractError(
                f"{embodiment.file}: chunk_length = {embodiment.chunk_length}, but a latent of Cosmos is "
                f"{FRAMES_PER_LATENT} control steps: set chunk_length to {FRAMES_PER_LATENT}"
            )
        self.vae, self.tokenizer, self.text_encoder = vae, tokenizer, text_encoder
        self.embodiment, self.tiling = embodiment, tiling
        self.identity: dict[str, Any] = {
            "vae": fingerprint(vae),
            "text_encoder": fingerprint(text_encoder),
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
        return encode_video(self.vae, frames[None])[0]

    @torch.no_grad()
    def text(self, prompt: str) -> torch.Tensor:
        tokens = self.tokenizer(
            prompt, padding="max_length", max_length=self.text_length, truncation=True, return_tensors="pt"
        ).to(self.text_encoder.device)
        mask = tokens.attention_mask.bool()
        embedding = self.text_encoder(tokens.input_ids, attention_mask=mask).last_hidden_state
        return (embedding * mask[..., None])[0].float().cpu()


def load_encoder(
    weights: str | Path,
    embodiment: Embodiment,
    *,
    height: int,
    width: int,
    dtype: torch.dtype,
    device: torch.device,
) -> CosmosEncoder:
    """An encoder of a model's VAE and text encoder; errors as in ``parts.load_parts`` and `CosmosEncoder`."""
    vae, tokenizer, text_encoder = (
        load_part(weights, part, dtype=dtype, device=device) for part in ("vae", "tokenizer", "text_encoder")
    )
    return CosmosEncoder(vae, tokenizer, text_encoder, embodiment, tiling_of(embodiment, height, width))


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
