"""Video ↔ normalised latents through Cosmos' causal video autoencoder (the Wan VAE).

Latent 0 is made of frame 0 alone, latent k + 1 of frames 4 k + 1 to 4 k + 4 and, through the convolutions' memory, of
all before them; of none behind them. What is between the two conventions of "latent" is the per-channel mean and
standard deviation in the autoencoder's configuration: here latents are always normalised, as the denoiser reads them.
"""

from __future__ import annotations

from typing import Any

import torch


@torch.no_grad()
def encode_video(vae: Any, video: torch.Tensor, device: torch.device | None = None) -> torch.Tensor:
    """The mode of the autoencoder's posterior, normalised: equal videos have equal latents.

    Args:
        vae: ``AutoencoderKLWan``.
        video: uint8 ``(B, F, H, W, 3)``, ``F = 1 + 4 k``; H and W divide by 8.
        device: where the autoencoder runs; None is where its weights are (they are elsewhere while offloaded).

    Returns:
        float32 ``(B, C, 1 + k, H / 8, W / 8)`` where the video was.

    Raises:
        ValueError: the number of frames is not one more than a multiple of 4: the autoencoder would drop the rest.
    """
    factor = temporal_factor(vae)
    if (video.shape[1] - 1) % factor:
        raise ValueError(f"a video of {video.shape[1]} frames: the autoencoder takes 1, {1 + factor}, {1 + 2 * factor}")
    mean, std = _statistics(vae, device)
    parts = []
    for clip in video:  # one by one, as the pipeline does: a clip of 93 frames fills memory by itself
        pixels = clip.to(mean.device, torch.float32).movedim(-1, 0)[None] / 127.5 - 1  # (1, 3, F, H, W) in [-1, 1]
        latents = vae.encode(pixels.to(vae.dtype)).latent_dist.mode().float()
        parts.append(((latents - mean) / std).to(video.device))
    return torch.cat(parts)


@torch.no_grad()
def decode_latents(vae: Any, latents: torch.Tensor, device: torch.device | None = None) -> torch.Tensor:
    """Normalised latents ``(B, C, 1 + k, h, w)`` → uint8 ``(B, 1 + 4 k, 8 h, 8 w, 3)`` where the latents were."""
    mean, std = _statistics(vae, device)
    parts = []
    for clip in latents:
        raw = clip.to(mean.device, torch.float32)[None] * std + mean
        pixels = vae.decode(raw.to(vae.dtype)).sample[0].float()  # (3, F, H, W) in [-1, 1]
        video = ((pixels + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).movedim(0, -1)
        parts.append(video.to(latents.device))
    return torch.stack(parts)


def temporal_factor(vae: Any) -> int:
    """Frames that each latent but the first stands for."""
    return 2 ** sum(vae.config.temperal_downsample)


def spatial_factor(vae: Any) -> int:
    """Pixels a latent, along height and along width."""
    return 2 ** len(vae.config.temperal_downsample)


def _statistics(vae: Any, device: torch.device | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each channel, ``(1, C, 1, 1, 1)`` each."""
    mean, std = (
        torch.tensor(values, device=device or vae.device).view(1, -1, 1, 1, 1)
        for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    return mean, std
