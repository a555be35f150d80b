"""One-step estimates of real clips: the same arithmetic as in the pipeline's denoising loop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers.utils.torch_utils import randn_tensor

from tests.world_model.cosmos_scene import frames, small_model
from tests.world_model.tiny_cosmos import tiny_parts
from world2act_core.world_model.cosmos.parts import CosmosParts

PROMPT = "put the bowl on the plate"
SHAPE = (1, 16, 3, 4, 6)  # of the latents of 9 frames


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> CosmosParts:
    return tiny_parts(tmp_path_factory.mktemp("cosmos"))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("given", [1, 2])
def test_it_equals_a_computation_by_hand(parts: CosmosParts, given: int) -> None:
    """sigma = 1.5: t = 0.6, c_in = c_skip = 0.4, c_out = -0.6."""
    model, video = small_model(parts), frames(9)
    clean, noise = model.encode(video), randn_tensor(SHAPE, generator=seeded())
    noisy = clean + 1.5 * noise
    is_given = (torch.arange(3) < given).float().view(1, 1, 3, 1, 1)
    with torch.no_grad():
        text, _ = model.pipeline.encode_prompt([PROMPT], do_classifier_free_guidance=False)
        said = parts.transformer(
            hidden_states=is_given * clean + (1 - is_given) * 0.4 * noisy,
            timestep=is_given * 1e-4 / (1 + 1e-4) + (1 - is_given) * 0.6,
            encoder_hidden_states=text,
            fps=16,
            condition_mask=is_given.expand(1, 1, 3, 4, 6),
            padding_mask=torch.zeros(1, 1, 32, 48),
        ).sample
    estimate = model.one_step_x0(video, [PROMPT], 1.5, seeded(), given)
    torch.testing.assert_close(estimate[:, :, given:], (0.4 * noisy - 0.6 * said)[:, :, given:])
    assert torch.equal(estimate[:, :, :given], clean[:, :, :given])


@pytest.mark.parametrize("given", [1, 2])
def test_it_equals_the_pipeline_s_first_step(parts: CosmosParts, given: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pipeline starts at sigma 80 and moves along the line to its estimate, down to the next noise level."""
    mode = "diffusers.models.autoencoders.vae.DiagonalGaussianDistribution.sample"
    monkeypatch.setattr(mode, lambda self, generator=None: self.mode())
    model, video = small_model(parts), frames(9)
    start = model.encode(video) + 80 * randn_tensor(SHAPE, generator=seeded())
    moved: list[torch.Tensor] = []

    def note(pipeline: Any, step: int, time: Any, held: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        moved.append(held["latents"])
        return held

    model.pipeline(
        video=video[:, : 4 * given - 3].permute(0, 1, 4, 2, 3) / 255,
        prompt=[PROMPT],
        height=32,
        width=48,
        num_frames=9,
        num_inference_steps=2,
        guidance_scale=1.0,
        latents=start / 80,
        output_type="latent",
        callback_on_step_end=note,
    )
    high, low = model.pipeline.scheduler.sigmas[:2].tolist()
    assert high == pytest.approx(80)
    estimate = start - (start - moved[0]) * high / (high - low)
    torch.testing.assert_close(
        model.one_step_x0(video, [PROMPT], high, seeded(), given), estimate, atol=1e-3, rtol=1e-4
    )


def test_almost_without_noise_a_clip_is_taken_for_itself(parts: CosmosParts) -> None:
    model, video = small_model(parts), frames(9)
    torch.testing.assert_close(
        model.one_step_x0(video, [PROMPT], 1e-5, seeded()), model.encode(video), atol=1e-3, rtol=0
    )


def test_the_noise_is_the_generator_s(parts: CosmosParts) -> None:
    model, video = small_model(parts), frames(9)
    one, again, other = (model.one_step_x0(video, [PROMPT], 2.0, seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, again) and not torch.allclose(one, other)


def test_a_clip_has_the_same_estimate_in_any_batch(parts: CosmosParts) -> None:
    model, video = small_model(parts), frames(9, batch=2)
    prompts = [PROMPT, "open the drawer"]
    together = model.one_step_x0(video, prompts, 2.0, [seeded(4), seeded(5)])
    alone = model.one_step_x0(video[1:], prompts[1:], 2.0, [seeded(5)])
    torch.testing.assert_close(together[1:], alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("given", [0, 3])
def test_there_must_be_something_given_and_something_to_estimate(parts: CosmosParts, given: int) -> None:
    with pytest.raises(ValueError, match=f"{given} latents given of a clip of 3"):
        small_model(parts).one_step_x0(frames(9), [PROMPT], 1.0, seeded(), given)
