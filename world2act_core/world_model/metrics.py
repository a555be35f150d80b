"""How near imagined video is to what really happened: pictures, motion, obedience to the prompt.

Pure functions of tensors. Frames are uint8 RGB ``(..., H, W, 3)``, with leading dimensions of any shape as the batch;
latents are ``(B, C, T, H, W)``. The latent error against copying the first frame is in ``measure``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F

PEAK = 255.0
WINDOW, SIGMA, K1, K2 = 11, 1.5, 0.01, 0.03
"""Of SSIM, as Wang et al. 2004 chose them."""


def psnr(imagined: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Peak signal-to-noise ratio ``(...)`` in dB of each frame; infinite where both are equal."""
    _same_shape(imagined, real)
    error = (imagined.float() - real.float()).square().mean((-3, -2, -1))
    return 10 * torch.log10(PEAK**2 / error)


def ssim(imagined: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Structural similarity ``(...)`` of each frame, 1 where both are equal.

    Wang, Bovik, Sheikh and Simoncelli 2004: Gaussian windows of 11 x 11 pixels (sigma 1.5) that lie whole in the image.
    The paper speaks of luminance; here the three colour channels are averaged, so that a wrong hue counts.

    Raises:
        ValueError: the frames are smaller than a window.
    """
    _same_shape(imagined, real)
    if min(real.shape[-3:-1]) < WINDOW:
        raise ValueError(f"SSIM looks through windows of {WINDOW} pixels: frames of {tuple(real.shape)} are smaller")
    x, y = (frames.reshape(-1, *frames.shape[-3:]).permute(0, 3, 1, 2).double() for frames in (imagined, real))
    mean_x, mean_y = _blurred(x), _blurred(y)
    spread_x, spread_y = _blurred(x * x) - mean_x**2, _blurred(y * y) - mean_y**2
    together = _blurred(x * y) - mean_x * mean_y
    c1, c2 = (K1 * PEAK) ** 2, (K2 * PEAK) ** 2
    light = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * together + c2) / (spread_x + spread_y + c2)
    return (light * structure).mean((1, 2, 3)).reshape(real.shape[:-3]).float()


def temporal_consistency(imagined: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """How much of the real motion, frame to frame, was imagined at the right time and place.

    One minus the sum of ``|d imagined - d real|`` over the sum of ``|d real|``, with ``d`` the difference of successive
    frames: 1 is the very same motion, 0 what a still picture scores, below 0 is motion that makes it worse (flicker, or
    the right motion at the wrong time). Errors that stay as they are from frame to frame do not count.

    Args:
        imagined, real: ``(..., F, H, W, 3)``, at least two frames.

    Returns:
        ``(...)``, NaN where nothing really moves.
    """
    _same_shape(imagined, real)
    imagined_change, change = (frames.float().diff(dim=-4) for frames in (imagined, real))
    over = (-4, -3, -2, -1)
    return 1 - (imagined_change - change).abs().sum(over) / change.abs().sum(over)


@dataclass(frozen=True)
class PromptSensitivity:
    """Whether the prompt decides what is imagined.

    Attributes:
        apart: distance between the futures under the own and another prompt, in units of the own one's error to the
            truth (both root mean square). Near 0 the prompt is not read; well above 1 prompts differ by more than the
            model errs.
        nearer: share of cases in which the own prompt's future is nearer the truth than the other prompt's.
        cases: how many pairs were compared.
    """

    apart: float
    nearer: float
    cases: int


def prompt_sensitivity(own: torch.Tensor, other: torch.Tensor, real: torch.Tensor) -> PromptSensitivity:
    """Compare futures from the same frames under the true and under another prompt.

    Args:
        own, other, real: latents ``(B, C, T, H, W)`` behind the common first frame.
    """
    _same_shape(own, real)
    _same_shape(other, real)
    errors, foreign, apart = (
        (left - right).square().mean((1, 2, 3, 4)) for left, right in ((own, real), (other, real), (own, other))
    )
    ratio = float((apart.mean() / errors.mean()).sqrt())
    return PromptSensitivity(ratio, float((errors < foreign).float().mean()), len(real))


def _blurred(images: torch.Tensor) -> torch.Tensor:
    """``(B, 3, H, W)`` under Gaussian windows, only where these fit → ``(B, 3, H - 10, W - 10)``."""
    offset = torch.arange(WINDOW, dtype=images.dtype, device=images.device) - WINDOW // 2
    weights = torch.exp(-(offset**2) / (2 * SIGMA**2))
    weights = (weights / weights.sum()).expand(3, 1, 1, WINDOW)
    return F.conv2d(F.conv2d(images, weights, groups=3), weights.transpose(2, 3), groups=3)


def _same_shape(left: torch.Tensor, right: torch.Tensor) -> None:
    # Broadcasting would compare every frame with one, and give a figure that looks right.
    if left.shape != right.shape:
        raise ValueError(f"compared are tensors of different shapes: {tuple(left.shape)} and {tuple(right.shape)}")
