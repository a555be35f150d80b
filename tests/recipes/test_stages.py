"""What Stage 2 is given to learn from, and how episodes are kept apart for measuring."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.learning.scenes import EMBODIMENT, SIZE, STREAMS, square_episode, square_table
from world2act_core.alignment.adapters import AdapterConfig, Alignment
from world2act_core.episodes.chunks import chunk_table, labelled, split_episodes
from world2act_core.policies.compact import CompactConfig, CompactPolicy, new_network
from world2act_core.recipes.logged_stages import LoggedStages
from world2act_core.recipes.settings import Recipe
from world2act_core.recipes.trainer import frozen_compact, post_training_set
from world2act_core.world_model.chunk_latents import StoredLatents, imagined_latents
from world2act_core.world_model.compact import CompactWorldModel, CompactWorldModelConfig
from world2act_core.world_model.imagination import From, imagine_episode, write_clips
from world2act_core.world_model.store import LatentStore, LatentWriter


@pytest.fixture(scope="module")
def parts():
    """A table, and an untrained policy, world model and alignment, none of which does nothing."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    table = square_table(6)
    config = CompactConfig(cameras=("agentview",), streams=STREAMS, image_size=SIZE, features=16)
    policy = CompactPolicy(new_network(config, EMBODIMENT), config, EMBODIMENT)
    with torch.no_grad():
        for parameter in policy.network.head[-1].parameters():
            parameter.normal_(std=3.0)  # beyond the range of actions
    model = CompactWorldModel(CompactWorldModelConfig(image_size=SIZE, views=1, width=8)).eval()
    model.codec.fit(torch.from_numpy(table.frames))
    torch.nn.init.normal_(model.dynamics.unet.conv_out.weight, std=0.1)
    alignment = Alignment(AdapterConfig(model.latent_shape)).eval()
    return table, policy, model, alignment


def made(table, policy, model, alignment):
    return post_training_set(table, frozen_compact(policy, ""), imagined_latents(model, table), alignment)


def test_it_pairs_what_the_base_does_in_range_with_what_is_imagined_from_the_same_frame(parts):
    table, policy, model, alignment = parts
    data = made(*parts)
    row = 8
    image = torch.from_numpy(table.frames[table.before[[row]]])
    before = model.encode_frames(image)
    with torch.no_grad():
        action = policy.network(image, torch.from_numpy(table.proprio[[row]]))[0]
        previous = model.encode_frames(torch.from_numpy(table.frames[table.previous[[row]]]))
        imagined = model.predict(previous, before, [table.prompts[row]], torch.tensor([table.clock[row]]), 1)[:, :, 1]
        target = alignment.video(before, imagined)[0]
    assert action.abs().max() > 1
    assert torch.allclose(data.base[row], action.clamp(-1, 1), atol=1e-5)
    assert torch.allclose(data.target[row], target, atol=1e-5)
    assert torch.equal(data.frames[row], image[0])


def test_it_never_reads_what_really_happened_nor_which_actions_were_taken(parts):
    table, *others = parts
    blind = replace(table, after=table.before, actions=np.full_like(table.actions, np.nan))
    seen, unseen = made(*parts), made(blind, *others)
    assert torch.equal(seen.target, unseen.target)
    assert torch.equal(seen.base, unseen.base)


def test_what_is_imagined_can_be_read_from_a_store(parts, tmp_path):
    table, policy, model, alignment = parts
    m = EMBODIMENT.chunk_length

    def clips_of(episode):
        return imagine_episode(model, episode, ("agentview",), size=SIZE, chunk_length=m, begin=From.SKILLS)

    with LatentWriter(tmp_path, {}) as writer:
        write_clips(writer, [square_episode(index) for index in range(6)], clips_of, m)
    store = LatentStore(tmp_path)
    data = post_training_set(table, frozen_compact(policy, ""), StoredLatents(store, table), alignment)
    clip = store["square-1#0"].latents.transpose(0, 1)
    with torch.no_grad():
        target = alignment.video(clip[2:3], clip[3:4])[0]
    assert torch.allclose(data.target[6 + 2], target, atol=1e-5)  # six chunks an episode
    assert torch.equal(data.base, made(*parts).base)


def test_the_measured_episodes_share_no_frame_with_the_others():
    table = square_table(10)
    train, held_out = split_episodes(table, 0.9)
    assert set(train.episode) == set(range(9))
    assert set(held_out.episode) == {9}
    assert len(train.frames) + len(held_out.frames) == len(table.frames)


def test_episodes_without_actions_are_not_kept_for_measuring_how_actions_are_read():
    made = [square_episode(index, labelled=index < 20) for index in range(24)]
    table = chunk_table(made, EMBODIMENT, ("agentview",), STREAMS, SIZE)
    train, held_out = split_episodes(labelled(table), 0.9)
    assert set(train.episode) == set(range(18)) and set(held_out.episode) == {18, 19}
    assert train.labelled.all() and held_out.labelled.all()
    whole = split_episodes(square_table(20), 0.9)
    for part, known in zip((train, held_out), whole, strict=True):
        assert np.array_equal(part.frames, known.frames) and np.array_equal(part.before, known.before)
        assert np.array_equal(part.actions, known.actions)


def test_demonstrations_without_actions_have_no_say_in_which_dimensions_are_used():
    """Their actions stand as zeros in a table, far from where a robot of absolute positions keeps a joint."""
    made = [square_episode(index) for index in range(2)]
    still = [replace(one, actions=np.full_like(one.actions, 0.9)) for one in made]
    table = chunk_table([*still, square_episode(2, labelled=False)], EMBODIMENT, ("agentview",), STREAMS, SIZE)
    assert not LoggedStages(Recipe(), ("agentview",)).used(table).any()
