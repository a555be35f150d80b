"""What the network is trained to do: rectified flow with given first frames, as Cosmos-Predict2 denoises.

With clean latents ``x``, noise ``n`` and a noise level ``sigma``, diffusers' ``Cosmos2VideoToWorldPipeline`` holds
``x + sigma n`` and, with ``t = sigma / (sigma + 1)``, scales what the network ``F`` reads by ``c_in = 1 - t`` and
estimates the clean latents by ``c_skip = 1 - t``, ``c_out = -t``:

    read        x_t = (1 - t) (x + sigma n)  =  (1 - t) x + t n       a straight line from data to noise
    estimate    x^  = x_t - t F

So the estimate is right when ``F`` is the velocity of that line, ``n - x``, and the loss is the squared error of the
velocity. The same number is the squared error of ``x^`` weighted by ``1 / t^2 = (1 + sigma)^2 / sigma^2``. (NVIDIA's
public post-training code weighs by ``(1 + sigma^2) / sigma^2`` instead: the same minimum, and at most half the weight
less in the middle of the line.)

Given frames are handed over clean, at the pipeline's own tiny noise level and marked in a mask channel; what the
network says about them is thrown away by the pipeline and is no part of the loss.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

SIGMA_GIVEN = 1e-4
"""Noise level at which given frames are handed over (``sigma_conditioning`` of the pipeline)."""

LATENT_TO_PIXEL = 8
"""Pixels a latent, along height and width (the padding mask is given in pixels)."""

Transformer = Callable[..., Any]
"""``CosmosTransformer3DModel``, however accelerate has wrapped it."""


@dataclass(frozen=True)
class Noised:
    """A batch of clips at their noise levels, all of one length: no padding, nothing to attend to that is not real.

    Attributes:
        clean: ``(B, C, T, h, w)`` float32 normalised latents, the ``x`` above.
        noise: like ``clean``, standard normal.
        sigma: ``(B,)`` float32, > 0.
        given: ``(B,)`` int64, how many first latents are given: at least 1, fewer than T.
        text: ``(B, L, E)`` text embeddings.
    """

    clean: torch.Tensor
    noise: torch.Tensor
    sigma: torch.Tensor
    given: torch.Tensor
    text: torch.Tensor

    @property
    def is_given(self) -> torch.Tensor:
        """``(B, 1, T, 1, 1)`` float32: 1 where a latent is given, 0 where it is imagined."""
        place = torch.arange(self.clean.shape[2], device=self.clean.device)
        return (place[None] < self.given[:, None]).float()[:, None, :, None, None]


def flow_time(sigma: torch.Tensor | float) -> Any:
    """Where on the line from data (0) to noise (1) a noise level lies."""
    return sigma / (sigma + 1)


def network_input(batch: Noised) -> dict[str, torch.Tensor]:
    """What the pipeline would hand to the transformer at these noise levels, by argument name (but for ``fps``)."""
    t = flow_time(batch.sigma)[:, None, None, None, None]
    given, x_t = batch.is_given, (1 - t) * batch.clean + t * batch.noise
    b, _, _, h, w = batch.clean.shape
    return {
        "hidden_states": given * batch.clean + (1 - given) * x_t,
        "timestep": given * flow_time(SIGMA_GIVEN) + (1 - given) * t,  # (B, 1, T, 1, 1)
        "encoder_hidden_states": batch.text,
        "condition_mask": given.expand(b, 1, -1, h, w),
        "padding_mask": batch.clean.new_zeros(1, 1, LATENT_TO_PIXEL * h, LATENT_TO_PIXEL * w),
    }


def predicted_velocity(transformer: Transformer, batch: Noised, fps: float, dtype: torch.dtype) -> torch.Tensor:
    """The network's velocity, ``(B, C, T, h, w)`` float32; ``dtype`` is the precision it reads."""
    inputs = {name: tensor.to(dtype) for name, tensor in network_input(batch).items()}
    return transformer(**inputs, fps=fps, return_dict=False)[0].float()


def flow_losses(
    transformer: Transformer, batch: Noised, fps: float, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Mean squared error of the velocity over each clip's imagined latents, ``(B,)``.

    Every clip counts the same, however many latents it has: so the loss of a step does not depend on how its clips are
    spread over processes.
    """
    velocity = batch.noise - batch.clean
    error = predicted_velocity(transformer, batch, fps, dtype) - velocity
    imagined = (1 - batch.is_given).expand_as(error)
    return (imagined * error.square()).sum((1, 2, 3, 4)) / imagined.sum((1, 2, 3, 4))


def estimated_clean(velocity: torch.Tensor, batch: Noised) -> torch.Tensor:
    """The clean latents ``x^`` that a velocity stands for, ``(B, C, T, h, w)``; given ones as they are."""
    t = flow_time(batch.sigma)[:, None, None, None, None]
    x_t = (1 - t) * batch.clean + t * batch.noise
    return batch.is_given * batch.clean + (1 - batch.is_given) * (x_t - t * velocity)
