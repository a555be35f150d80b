"""The causal video autoencoder: which frames a latent is made of, and what normalised means."""

from __future__ import annotations

import pytest
import torch

from tests.world_model.tiny_cosmos import tiny_parts
from world2act_core.world_model.cosmos.latents import decode_latents, encode_video, temporal_factor
from world2act_core.world_model.cosmos.parts import CosmosParts
from world2act_core.world_model.protocol import frames_of, last_step_of


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> CosmosParts:
    return tiny_parts(tmp_path_factory.mktemp("cosmos"))


def noise(frames: int, batch: int = 1, height: int = 32, width: int = 48, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, frames, height, width, 3), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("frame", range(13))
def test_a_frame_changes_the_latent_that_ends_with_its_chunk_and_none_before(parts: CosmosParts, frame: int) -> None:
    """Frame 0 is latent 0; frames 4k + 1 to 4k + 4 are latent k + 1: the time base of the whole project."""
    video = noise(13)
    changed = video.clone()
    changed[:, frame] = 255 - changed[:, frame]
    difference = (encode_video(parts.vae, changed) - encode_video(parts.vae, video)).abs().amax((0, 1, 3, 4))
    own = 0 if frame == 0 else 1 + (frame - 1) // 4
    assert not difference[:own].any()
    assert difference[own] > 1e-3


@pytest.mark.parametrize("latent", range(4))
def test_a_latent_ends_with_the_frame_at_its_control_step(parts: CosmosParts, latent: int) -> None:
    """Cosmos sees one frame a control step, so latent t knows what happened up to step 4 t and nothing behind it."""
    step = last_step_of(latent, chunk_length=4)
    video = noise(13)
    behind = video.clone()
    behind[:, step + 1 :] = 255 - behind[:, step + 1 :]
    at = video.clone()
    at[:, step] = 255 - at[:, step]
    known = encode_video(parts.vae, video)[:, :, latent]
    assert torch.equal(encode_video(parts.vae, behind)[:, :, latent], known)
    assert not torch.allclose(encode_video(parts.vae, at)[:, :, latent], known)


@pytest.mark.parametrize(("frames", "latents"), [(1, 1), (5, 2), (9, 3), (93, 24)])
def test_shapes(parts: CosmosParts, frames: int, latents: int) -> None:
    video = noise(frames, batch=2, height=16, width=32)
    encoded = encode_video(parts.vae, video)
    assert encoded.shape == (2, 16, latents, 2, 4) and encoded.dtype == torch.float32
    assert frames_of(latents, temporal_factor(parts.vae)) == frames
    decoded = decode_latents(parts.vae, encoded)
    assert decoded.shape == video.shape and decoded.dtype == torch.uint8


@pytest.mark.parametrize("frames", [2, 4, 8])
def test_a_number_of_frames_of_which_some_would_be_dropped_is_refused(parts: CosmosParts, frames: int) -> None:
    with pytest.raises(ValueError, match=f"a video of {frames} frames"):
        encode_video(parts.vae, noise(frames))


def test_latents_are_the_posterior_s_mode_less_the_channel_s_mean_in_units_of_its_spread(parts: CosmosParts) -> None:
    video = noise(5)
    pixels = video.permute(0, 4, 1, 2, 3).float() / 255 * 2 - 1
    with torch.no_grad():
        raw = parts.vae.encode(pixels).latent_dist.mean
    encoded, config = encode_video(parts.vae, video), parts.vae.config
    for channel, (mean, std) in enumerate(zip(config.latents_mean, config.latents_std, strict=True)):
        torch.testing.assert_close(encoded[:, channel], (raw[:, channel] - mean) / std)


def test_decoding_undoes_the_normalisation(parts: CosmosParts) -> None:
    encoded, config = encode_video(parts.vae, noise(5)), parts.vae.config
    mean, std = (torch.tensor(values).view(16, 1, 1, 1) for values in (config.latents_mean, config.latents_std))
    with torch.no_grad():
        pixels = parts.vae.decode(encoded * std + mean).sample.permute(0, 2, 3, 4, 1)
    decoded = decode_latents(parts.vae, encoded)
    assert (decoded.float() - (pixels + 1) * 127.5).abs().max() <= 0.5 + 1e-3


def test_a_clip_has_the_same_latents_in_any_batch(parts: CosmosParts) -> None:
    video = noise(5, batch=3)
    torch.testing.assert_close(encode_video(parts.vae, video)[1:2], encode_video(parts.vae, video[1:2]))
