"""The compact world model: decodable latents, prompts that matter, actions that are never read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.learning.scenes import SIZE, square_table
from world2act_core.networks.codec import PatchCodec
from world2act_core.world_model.compact import (
    CompactWorldModelConfig,
    imagine_next,
    latent_errors,
    load_world_model,
    save_world_model,
    train_world_model,
)
from world2act_core.world_model.prompts import embed_prompts
from world2act_core.world_model.protocol import frames_of

PROMPTS = ("push right", "push down")
CONFIG = CompactWorldModelConfig(image_size=SIZE, views=1, width=16, steps=250, batch=24)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    torch.set_num_threads(1)
    table = square_table(60, prompts=PROMPTS, labelled=False)
    model, _ = train_world_model(table, CONFIG, 0, tmp_path_factory.mktemp("world") / "checkpoint.pt")
    return model.eval()


@pytest.fixture(scope="module")
def unseen():
    return square_table(80, prompts=PROMPTS, labelled=False).select(np.arange(60 * 6, 80 * 6))


def test_the_codec_gives_back_what_it_was_given():
    table = square_table(20)
    codec = PatchCodec(SIZE, channels=24)
    frames = torch.from_numpy(table.frames)
    codec.fit(frames)
    error = (codec.decode(codec.encode(frames)).float() - frames.float()).square().mean().sqrt()
    assert error < 6.0  # of 255


def test_a_refit_of_the_codec_gives_the_same_latents():
    frames = torch.from_numpy(square_table(6).frames)
    codecs = [PatchCodec(SIZE), PatchCodec(SIZE)]
    for codec in codecs:
        codec.fit(frames)
    assert torch.equal(codecs[0].encode(frames), codecs[1].encode(frames))


def test_latents_of_two_views_stand_side_by_side_as_the_views_do():
    frames = torch.from_numpy(square_table(6).frames)
    tiled = torch.cat([frames, frames.flip(0)], 2)
    codec = PatchCodec(SIZE, views=2)
    codec.fit(tiled)
    changed = tiled.clone()
    changed[:, :, SIZE:] = 0
    moved = codec.encode(changed) != codec.encode(tiled)
    assert codec.encode(tiled).shape[1:] == codec.latent_shape == (16, 4, 8)
    assert not moved[..., :4].any()
    assert moved[..., 4:].any()
    assert codec.decode(codec.encode(tiled)).shape == tiled.shape


def test_it_beats_copying_the_current_frame_on_unseen_episodes(world, unseen):
    errors = latent_errors(world, unseen)
    assert errors["model"] < 0.6 * errors["copy"]


def test_two_prompts_from_one_frame_give_two_futures_each_nearer_its_own_truth(world, unseen):
    latents = world.encode_frames(torch.from_numpy(unseen.frames))
    truth = latents[unseen.after]
    told = imagine_next(world, unseen, latents)
    swapped = tuple(PROMPTS[1 - PROMPTS.index(prompt)] for prompt in unseen.prompts)
    mistold = imagine_next(world, replace(unseen, prompts=swapped), latents)
    starts = unseen.clock == 0  # later frames give the direction away by themselves
    own = (told - truth).square().mean((1, 2, 3))[starts]
    other = (mistold - truth).square().mean((1, 2, 3))[starts]
    assert (own < other).float().mean() >= 0.85


def test_actions_are_never_read(tmp_path):
    table = square_table(8)
    poisoned = replace(table, actions=np.full_like(table.actions, np.nan))
    config = replace(CONFIG, steps=5)
    weights = [
        train_world_model(data, config, 0, tmp_path / f"{index}.pt")[0].state_dict()
        for index, data in enumerate((table, poisoned))
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_longer_imagination_feeds_its_own_prediction_back(world, unseen):
    latents = world.encode_frames(torch.from_numpy(unseen.frames))
    row = int(np.flatnonzero(unseen.clock == 1)[0])
    previous, current = latents[unseen.previous[[row]]], latents[unseen.before[[row]]]
    clock = torch.tensor([1])
    two = world.predict(previous, current, [unseen.prompts[row]], clock, 2)
    assert two.shape == (1, world.latent_shape[0], 3, *world.latent_shape[1:])
    assert torch.equal(two[:, :, 0], current)
    again = world.predict(current, two[:, :, 1], [unseen.prompts[row]], clock + 1, 1)
    assert torch.equal(again[:, :, 1], two[:, :, 2])


def test_a_skill_is_imagined_from_frames_with_the_time_base_of_the_protocol(world, unseen):
    row = int(np.flatnonzero(unseen.clock == 2)[0])
    context = torch.from_numpy(unseen.frames[[unseen.previous[row], unseen.before[row]]])[None]
    imagined = world.imagine(context, [unseen.prompts[row]], torch.tensor([2]), 3)
    assert imagined.shape == (1, world.latent_shape[0], 4, *world.latent_shape[1:])
    assert torch.equal(imagined[:, :, 0], world.encode(context)[:, :, -1])
    assert world.decode(imagined).shape == (1, frames_of(4, world.frames_per_latent), *context.shape[2:])


def test_it_survives_its_file(world, unseen, tmp_path):
    save_world_model(tmp_path / "model.pt", world)
    latents = world.encode_frames(torch.from_numpy(unseen.frames))
    again = load_world_model(tmp_path / "model.pt")
    assert torch.equal(imagine_next(again, unseen, latents), imagine_next(world, unseen, latents))


def test_prompts_are_the_same_everywhere_and_tell_words_apart():
    first, same, other = embed_prompts(["Open the drawer!", "open the drawer", "close the drawer"])
    assert torch.equal(first, same)
    assert torch.cosine_similarity(first, other, dim=0) < 0.9
