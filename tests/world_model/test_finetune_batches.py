"""Which clips a step learns from follows from the step alone, and is as it is meant to be."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from world2act_core.errors import World2ActError
from world2act_core.world_model.cosmos.finetune.batches import HIGH_NOISE, draw_batch, fixed_draws, split
from world2act_core.world_model.cosmos.finetune.cache import CachedClip
from world2act_core.world_model.cosmos.finetune.clips import Clip
from world2act_core.world_model.cosmos.finetune.settings import FinetuneSettings

SETTINGS = FinetuneSettings(batch=8, micro_batch=4)


def clips_of(lengths: list[int], episodes: int = 5) -> list[CachedClip]:
    """Clips of so many latents each."""
    return [
        CachedClip(f"{number:02d}", Clip(f"episode-{number % episodes}", f"skill {number}", 0, 4 * length - 3), "shard")
        for number, length in enumerate(lengths)
    ]


def test_a_step_draws_the_same_clips_noise_and_levels_again() -> None:
    clips = clips_of([2, 3, 3, 5, 5, 5])
    assert draw_batch(clips, SETTINGS, 7) == draw_batch(clips, SETTINGS, 7)
    assert draw_batch(clips, SETTINGS, 7) != draw_batch(clips, SETTINGS, 8)
    assert draw_batch(clips, SETTINGS, 7) != draw_batch(clips, replace(SETTINGS, seed=1), 7)


def test_clips_that_are_computed_together_are_of_one_length() -> None:
    clips = clips_of([2, 3, 3, 5, 5, 5, 9])
    for step in range(50):
        draws = draw_batch(clips, SETTINGS, step)
        assert len(draws) == 8
        for begin in (0, 4):
            assert len({draw.clip.clip.latents for draw in draws[begin : begin + 4]}) == 1


def test_every_clip_is_as_likely_whatever_its_length() -> None:
    clips = clips_of([2, 3, 3, 5, 5, 5, 5, 5])
    drawn = Counter(draw.clip.key for step in range(4000) for draw in draw_batch(clips, SETTINGS, step))
    shares = np.array([drawn[clip.key] for clip in clips]) / (4000 * 8)
    np.testing.assert_allclose(shares, 1 / len(clips), atol=0.01)


def test_the_noise_of_a_step_is_different_for_each_clip() -> None:
    draws = [draw for step in range(20) for draw in draw_batch(clips_of([4, 4]), SETTINGS, step)]
    assert len({draw.noise for draw in draws}) == len({draw.sigma for draw in draws}) == len(draws)


def test_noise_levels_are_lognormal_around_the_root_of_the_length() -> None:
    settings = replace(SETTINGS, high_noise=0.0)
    draws = [draw for step in range(1500) for draw in draw_batch(clips_of([4, 16]), settings, step)]
    for latents in (4, 16):
        logs = np.log([draw.sigma for draw in draws if draw.clip.clip.latents == latents])
        assert np.mean(logs) == pytest.approx(np.log(latents) / 2, abs=0.06)
        assert np.std(logs) == pytest.approx(1, abs=0.06)


def test_some_noise_levels_are_far_above_those_of_the_sampler() -> None:
    settings = replace(SETTINGS, high_noise=0.25)
    sigmas = np.array([draw.sigma for step in range(500) for draw in draw_batch(clips_of([4]), settings, step)])
    high = sigmas[sigmas >= HIGH_NOISE[0]]
    assert len(high) / len(sigmas) == pytest.approx(0.25, abs=0.03)
    assert high.max() <= HIGH_NOISE[1]


def test_prompts_are_dropped_as_often_as_asked() -> None:
    settings = replace(SETTINGS, text_dropout=0.25)
    prompts = [draw.prompt for step in range(500) for draw in draw_batch(clips_of([4]), settings, step)]
    assert prompts.count("") / len(prompts) == pytest.approx(0.25, abs=0.03)
    assert set(prompts) == {"", "skill 0"}


def test_one_or_two_latents_are_given_and_at_least_one_is_left_to_imagine() -> None:
    draws = [draw for step in range(100) for draw in draw_batch(clips_of([2, 6]), SETTINGS, step)]
    given = {latents: {draw.given for draw in draws if draw.clip.clip.latents == latents} for latents in (2, 6)}
    assert given == {2: {1}, 6: {1, 2}}


def test_no_episode_is_both_trained_and_measured_on() -> None:
    training, held_out = split(clips_of([4] * 60, episodes=20), 0.1)
    names = [{cached.clip.episode_id for cached in part} for part in (training, held_out)]
    assert not names[0] & names[1]
    assert (len(names[0]), len(names[1]), len(training) + len(held_out)) == (18, 2, 60)


def test_at_least_one_episode_is_measured_on() -> None:
    training, held_out = split(clips_of([4, 4], episodes=2), 0.0)
    assert (len(training), len(held_out)) == (1, 1)


def test_one_episode_is_not_enough() -> None:
    with pytest.raises(World2ActError, match="one episode cannot be both trained and measured on"):
        split(clips_of([4, 4], episodes=1), 0.1)


def test_the_loss_is_measured_on_the_same_clips_at_evenly_spread_noise_levels() -> None:
    held_out = clips_of([16] * 10)
    draws = fixed_draws(held_out, replace(SETTINGS, validation_clips=4))
    assert draws == fixed_draws(held_out, replace(SETTINGS, validation_clips=4))
    assert len({draw.clip.key for draw in draws}) == 4
    logs = np.log([draw.sigma for draw in draws])
    assert np.all(np.diff(logs) > 0) and np.mean(logs) == pytest.approx(np.log(4))
    assert {(draw.given, draw.prompt != "") for draw in draws} == {(1, True)}
