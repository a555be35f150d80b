"""Picture metrics: known values; motion at the wrong time is noticed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.learning.scenes import square_image
from world2act_core.world_model.metrics import prompt_sensitivity, psnr, ssim, temporal_consistency


@pytest.fixture
def noise() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 200, (2, 3, 16, 20, 3), np.uint8))


@pytest.fixture
def moving() -> torch.Tensor:
    """A square that goes right, then down: two kinds of step, so that a shift in time shows."""
    path = [(2, 2), (5, 2), (9, 2), (14, 2), (14, 5), (14, 9), (14, 14)]
    return torch.from_numpy(np.stack([square_image(*corner) for corner in path]))


def flat(value: int) -> torch.Tensor:
    return torch.full((16, 16, 3), value, dtype=torch.uint8)


def test_equal_frames_have_infinite_psnr_and_an_ssim_of_one(noise: torch.Tensor) -> None:
    assert torch.equal(psnr(noise, noise), torch.full((2, 3), math.inf))
    assert torch.allclose(ssim(noise, noise), torch.ones(2, 3))


def test_a_constant_offset_of_ten_has_the_psnr_of_the_formula(noise: torch.Tensor) -> None:
    assert torch.allclose(psnr(noise + 10, noise), torch.full((2, 3), 20 * math.log10(255 / 10)))


def test_ssim_of_two_flat_grey_images_is_its_luminance_term() -> None:
    c1 = 2.55**2
    expected = (2 * 100 * 150 + c1) / (100**2 + 150**2 + c1)
    assert float(ssim(flat(100), flat(150))) == pytest.approx(expected, abs=1e-6)


def test_ssim_of_one_window_is_what_the_formula_gives() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 256, (2, 11, 11, 3), np.uint8)
    offset = np.arange(11) - 5
    bell = np.exp(-(offset**2) / (2 * 1.5**2))
    weights = np.outer(bell, bell)[..., None] / bell.sum() ** 2
    mean_x, mean_y = ((weights * image).sum((0, 1)) for image in (x, y))
    var_x, var_y = ((weights * (image - mean) ** 2).sum((0, 1)) for image, mean in ((x, mean_x), (y, mean_y)))
    covariance = (weights * (x - mean_x) * (y - mean_y)).sum((0, 1))
    c1, c2 = 2.55**2, 7.65**2
    light = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    expected = float((light * (2 * covariance + c2) / (var_x + var_y + c2)).mean())
    assert float(ssim(torch.from_numpy(x), torch.from_numpy(y))) == pytest.approx(expected, abs=1e-5)


def test_ssim_sees_lost_structure_that_an_equally_large_offset_does_not_lose(noise: torch.Tensor) -> None:
    signs = torch.from_numpy(np.random.default_rng(2).choice([-20, 20], noise.shape))
    spoilt = (noise.int().clamp(20, 200) + signs).to(torch.uint8)
    base = noise.clamp(20, 200)
    assert torch.allclose(psnr(spoilt, base), psnr(base + 20, base))
    assert (ssim(spoilt, base) < ssim(base + 20, base)).all()


def test_the_same_motion_scores_one_and_a_still_picture_zero(moving: torch.Tensor) -> None:
    assert float(temporal_consistency(moving, moving)) == 1.0
    assert float(temporal_consistency(moving[:1].expand_as(moving), moving)) == 0.0


def test_an_error_that_stays_is_no_error_of_motion(moving: torch.Tensor) -> None:
    assert float(temporal_consistency(moving + 20, moving)) == 1.0


def test_the_right_motion_one_chunk_late_scores_below_a_still_picture(moving: torch.Tensor) -> None:
    late = torch.cat([moving[:1], moving[:-1]])
    assert float(temporal_consistency(late, moving)) < 0
    assert (psnr(late, moving)[1:] < 30).all()


def test_a_scene_in_which_nothing_moves_has_no_temporal_consistency(moving: torch.Tensor) -> None:
    still = moving[:1].expand_as(moving)
    assert math.isnan(float(temporal_consistency(still, still)))


def test_prompt_sensitivity_of_futures_at_known_distances() -> None:
    real = torch.zeros(4, 2, 3, 5, 5)
    own, other = real + 1, real - 2
    other[3] = 0.5  # nearer the truth than the own prompt's
    found = prompt_sensitivity(own, other, real)
    assert found.apart == pytest.approx(math.sqrt((3 * 9 + 0.25) / 4))
    assert (found.nearer, found.cases) == (0.75, 4)


def test_a_prompt_that_is_not_read_shows() -> None:
    future = torch.ones(3, 2, 3, 5, 5)
    found = prompt_sensitivity(future, future, torch.zeros_like(future))
    assert (found.apart, found.nearer) == (0.0, 0.0)


@pytest.mark.parametrize("metric", [psnr, ssim, temporal_consistency])
def test_clips_of_different_lengths_are_not_compared(metric, moving: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="different shapes"):
        metric(moving[:1], moving)


def test_ssim_refuses_frames_smaller_than_its_window() -> None:
    with pytest.raises(ValueError, match="windows of 11"):
        ssim(flat(1)[:10], flat(1)[:10])
