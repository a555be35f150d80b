"""The loss of fine-tuning is the one with which Cosmos-Predict2 was trained, and trains what the pipeline will use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.world_model.finetune_scene import plain_pipeline
from tests.world_model.tiny_cosmos import tiny_parts
from world2act_core.world_model.cosmos.finetune.objective import (
    SIGMA_GIVEN,
    Noised,
    estimated_clean,
    flow_losses,
    network_input,
    predicted_velocity,
)

FPS = 20


def batch_of(clips: int = 2, latents: int = 4, given: tuple[int, ...] = (1, 2), seed: int = 0) -> Noised:
    """Clips of 3 channels and 2 x 2 places at different noise levels."""
    rng = torch.Generator().manual_seed(seed)
    shape = (clips, 3, latents, 2, 2)
    return Noised(
        clean=torch.randn(shape, generator=rng),
        noise=torch.randn(shape, generator=rng),
        sigma=torch.tensor([0.25, 4.0, 20.0])[:clips],
        given=torch.tensor(given),
        text=torch.randn(clips, 5, 6, generator=rng),
    )


class Linear:
    """A network whose answer anybody can work out: ``a`` times what it reads + ``b`` times the noise level's time."""

    def __init__(self, a: float, b: float) -> None:
        self.a, self.b = a, b

    def __call__(self, hidden_states: torch.Tensor, timestep: torch.Tensor, **_: Any) -> tuple[torch.Tensor]:
        return (self.a * hidden_states + self.b * timestep,)


class TrueVelocity:
    """The network that knows: noise minus data."""

    def __init__(self, batch: Noised) -> None:
        self.batch = batch

    def __call__(self, **_: Any) -> tuple[torch.Tensor]:
        return (self.batch.noise - self.batch.clean,)


def test_the_loss_is_what_one_computes_by_hand() -> None:
    # One channel, one place, three latents, the first given; x = (5, 1, -2), n = (9, 3, 1), sigma = 3, so t = 3/4.
    clip = Noised(
        clean=torch.tensor([5.0, 1.0, -2.0]).reshape(1, 1, 3, 1, 1),
        noise=torch.tensor([9.0, 3.0, 1.0]).reshape(1, 1, 3, 1, 1),
        sigma=torch.tensor([3.0]),
        given=torch.tensor([1]),
        text=torch.zeros(1, 1, 1),
    )
    # x_t = x / 4 + 3 n / 4 = 2.5 and 0.25; F = 2 x_t + t = 5.75 and 1.25; n - x = 2 and 3.
    expected = ((5.75 - 2) ** 2 + (1.25 - 3) ** 2) / 2
    torch.testing.assert_close(flow_losses(Linear(2, 1), clip, FPS), torch.tensor([expected]))


def test_the_loss_of_a_batch_is_what_numpy_computes_clip_by_clip() -> None:
    batch = batch_of(3, given=(1, 2, 3))
    expected = []
    for x, n, sigma, given in zip(
        batch.clean.numpy(), batch.noise.numpy(), batch.sigma.numpy(), batch.given.numpy(), strict=True
    ):
        t = sigma / (sigma + 1)
        answer = 0.3 * ((1 - t) * x + t * n) - 0.7 * t
        expected.append(np.mean((answer - (n - x))[:, given:] ** 2))
    torch.testing.assert_close(flow_losses(Linear(0.3, -0.7), batch, FPS), torch.tensor(np.array(expected)))


def test_the_true_velocity_has_no_loss_and_leads_back_to_the_clean_latents() -> None:
    batch = batch_of()
    assert torch.equal(flow_losses(TrueVelocity(batch), batch, FPS), torch.zeros(2))
    torch.testing.assert_close(estimated_clean(batch.noise - batch.clean, batch), batch.clean)


def test_a_wrong_velocity_has_a_loss() -> None:
    batch = batch_of()
    assert bool((flow_losses(Linear(0, 0), batch, FPS) > 0.1).all())


def test_what_is_said_about_given_frames_does_not_count() -> None:
    batch = batch_of()

    def wrong_where_given(**inputs: torch.Tensor) -> tuple[torch.Tensor]:
        return (batch.noise - batch.clean + 100 * inputs["condition_mask"],)

    assert torch.equal(flow_losses(wrong_where_given, batch, FPS), torch.zeros(2))


def test_given_frames_are_no_target() -> None:
    batch, other = batch_of(), batch_of(seed=1)
    given = batch.is_given.bool()
    clean, noise = (
        torch.where(given, new, old) for new, old in ((other.clean, batch.clean), (other.noise, batch.noise))
    )
    changed = Noised(clean, noise, batch.sigma, batch.given, batch.text)
    assert not torch.equal(changed.clean, batch.clean)
    framewise = Linear(0.3, 0.1)  # answers for each latent from that latent alone
    assert torch.equal(flow_losses(framewise, batch, FPS), flow_losses(framewise, changed, FPS))


def test_noise_never_reaches_given_frames() -> None:
    batch, other = batch_of(), batch_of(seed=1)
    noised = Noised(batch.clean, other.noise, batch.sigma, batch.given, batch.text)
    given = batch.is_given.bool().expand_as(batch.clean)
    read, read_again = network_input(batch)["hidden_states"], network_input(noised)["hidden_states"]
    assert torch.equal(read[given], batch.clean[given])
    assert torch.equal(read[given], read_again[given])
    assert not torch.equal(read[~given], read_again[~given])


def test_given_frames_are_read_so_changing_them_changes_the_prediction(tmp_path: Path) -> None:
    transformer = tiny_parts(tmp_path).transformer
    batch = real_batch(torch.Generator().manual_seed(0))
    changed = Noised(batch.clean.clone(), batch.noise, batch.sigma, batch.given, batch.text)
    changed.clean[:, :, 0] += 1
    with torch.no_grad():
        before = predicted_velocity(transformer, batch, FPS, torch.float32)
        after = predicted_velocity(transformer, changed, FPS, torch.float32)
    assert not torch.allclose(before[:, :, 1:], after[:, :, 1:])


def test_the_loss_is_the_error_of_the_clean_latents_weighted_by_noise_level() -> None:
    batch, network = batch_of(3, given=(1, 2, 1)), Linear(0.5, 0.2)
    velocity = predicted_velocity(network, batch, FPS, torch.float32)
    weight = ((1 + batch.sigma) / batch.sigma) ** 2
    imagined = 1 - batch.is_given
    squares = imagined * (estimated_clean(velocity, batch) - batch.clean) ** 2
    clean_error = squares.sum((1, 2, 3, 4)) / imagined.expand_as(squares).sum((1, 2, 3, 4))
    torch.testing.assert_close(flow_losses(network, batch, FPS), weight * clean_error)


def test_every_clip_counts_the_same_whatever_is_given() -> None:
    both, network = batch_of(2, given=(1, 3)), Linear(0.3, 0.1)
    apart = [
        flow_losses(network, Noised(*(getattr(both, name)[row : row + 1] for name in vars(both))), FPS)
        for row in range(2)
    ]
    torch.testing.assert_close(flow_losses(network, both, FPS), torch.cat(apart))


def real_batch(rng: torch.Generator) -> Noised:
    """A batch for the tiny transformer: 16 channels, 3 latents, 4 x 6 places."""
    clean, noise = (torch.randn(2, 16, 3, 4, 6, generator=rng) for _ in range(2))
    text = torch.randn(2, 7, 32, generator=rng)
    return Noised(clean, noise, torch.tensor([0.5, 3.0]), torch.tensor([1, 1]), text)


@pytest.mark.parametrize("frames, given", [(1, 1), (5, 2)])
def test_the_network_is_trained_on_what_the_pipeline_hands_it(tmp_path: Path, frames: int, given: int) -> None:
    parts = tiny_parts(tmp_path)
    pipeline = plain_pipeline(parts)
    seen: list[dict[str, Any]] = []
    held: list[torch.Tensor] = []  # the noisy latents before each step
    parts.transformer.register_forward_pre_hook(lambda _, __, inputs: seen.append(inputs), with_kwargs=True)
    start = torch.randn(1, 16, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    video = [np.full((32, 48, 3), 40 * frame, np.uint8) for frame in range(frames)]

    def keep(_: Any, __: int, ___: Any, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        held.append(tensors["latents"])
        return {}

    pipeline(
        video=video,
        prompt="open the drawer",
        height=32,
        width=48,
        num_frames=9,
        num_inference_steps=3,
        guidance_scale=1.0,
        fps=FPS,
        latents=start,
        output_type="latent",
        callback_on_step_end=keep,
    )
    held = [start * 80.0, *held]  # sigma_max
    for sigma, latents, step in zip(pipeline.scheduler.sigmas, held, seen, strict=False):
        first = step["hidden_states"][:, :, :given]
        clean = torch.cat([first, torch.randn(1, 16, 3 - given, 4, 6)], 2)
        noise = (latents - clean) / sigma  # so that clean + sigma noise is what the pipeline holds
        ours = network_input(Noised(clean, noise, sigma[None], torch.tensor([given]), step["encoder_hidden_states"]))
        for name, tensor in ours.items():
            torch.testing.assert_close(tensor, step[name], msg=f"{name} is not what the pipeline hands over")
        assert step["fps"] == FPS
    assert len(seen) == 3
    assert float(seen[0]["timestep"][0, 0, 0]) == pytest.approx(SIGMA_GIVEN, rel=1e-3)
