"""Latents and embeddings are what the encoders give, are computed once, and survive a kill."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from tests.world_model.finetune_scene import EMBODIMENT, HEIGHT, WIDTH, episode, episodes, plain_pipeline, tiny_encoder
from tests.world_model.tiny_cosmos import save_tiny_cosmos, tiny_parts
from world2act_core.errors import ContractError, RunError, World2ActError
from world2act_core.types import Episode, Skill
from world2act_core.world_model.cosmos.finetune import cache as cache_module
from world2act_core.world_model.cosmos.finetune.cache import INDEX, LatentCache, build_cache
from world2act_core.world_model.cosmos.finetune.clips import clip_frames
from world2act_core.world_model.cosmos.finetune.encoder import CosmosEncoder, fingerprint
from world2act_core.world_model.cosmos.latents import encode_video
from world2act_core.world_model.cosmos.views import tiling_of


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> CosmosEncoder:
    return tiny_encoder(save_tiny_cosmos(tmp_path_factory.mktemp("weights")))


@pytest.fixture
def two_a_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "CLIPS_PER_SHARD", 2)


class Counting:
    """An encoder that counts the clips it encodes, and dies at one of them."""

    def __init__(self, encoder: CosmosEncoder, dies_at: int = 10_000) -> None:
        self.identity, self.text_length, self.tile, self.text = (
            encoder.identity, encoder.text_length, encoder.tile, encoder.text
        )  # fmt: skip
        self.encoder, self.dies_at, self.clips = encoder, dies_at, 0

    def latents(self, frames: torch.Tensor) -> torch.Tensor:
        if self.clips == self.dies_at:
            raise KeyboardInterrupt
        self.clips += 1
        return self.encoder.latents(frames)


def test_a_cached_clip_is_what_the_autoencoder_makes_of_its_tiled_frames(
    tmp_path: Path, encoder: CosmosEncoder
) -> None:
    build_cache(tmp_path, [episode(0)], encoder)
    cache = LatentCache(tmp_path)
    assert len(cache.clips) == 2
    for cached in cache.clips:
        rows = clip_frames(episode(0), cached.clip)
        views = {name: images[rows] for name, images in episode(0).images.items()}
        tiled = torch.from_numpy(tiling_of(EMBODIMENT, HEIGHT, WIDTH).tile(views))
        expected = encode_video(encoder.vae, tiled[None])[0]
        torch.testing.assert_close(cache.latents(cached), expected, atol=1e-3, rtol=1e-3)
        assert cache.latents(cached).shape == (16, cached.clip.latents, HEIGHT // 8, WIDTH // 8)


@pytest.mark.parametrize("prompt", ["pick the bowl", ""])
def test_a_cached_prompt_is_what_the_pipeline_would_embed(tmp_path: Path, prompt: str) -> None:
    parts = tiny_parts(tmp_path / "weights")
    build_cache(tmp_path / "cache", [episode(0)], tiny_encoder(tmp_path / "weights"))
    expected, _ = plain_pipeline(parts).encode_prompt(prompt, do_classifier_free_guidance=False)
    cached = LatentCache(tmp_path / "cache").text(prompt)
    torch.testing.assert_close(cached, expected[0], atol=2e-3, rtol=1e-3)


def test_a_second_build_encodes_only_what_is_new(tmp_path: Path, encoder: CosmosEncoder) -> None:
    build_cache(tmp_path, episodes(2), encoder)
    again, more = Counting(encoder), Counting(encoder)
    assert build_cache(tmp_path, episodes(2), again).encoded == again.clips == 0
    built = build_cache(tmp_path, episodes(3), more)
    assert (built.found, built.encoded, more.clips, len(LatentCache(tmp_path).clips)) == (4, 2, 2, 6)


def test_a_killed_build_goes_on_behind_its_last_whole_shard(
    tmp_path: Path, encoder: CosmosEncoder, two_a_shard: None
) -> None:
    with pytest.raises(KeyboardInterrupt):
        build_cache(tmp_path / "killed", episodes(4), Counting(encoder, dies_at=5))
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == [
        "clips-00000.safetensors", "clips-00001.safetensors",
    ]  # fmt: skip
    with pytest.raises(RunError, match="has no index.json: build the cache"):
        LatentCache(tmp_path / "killed")
    resumed = Counting(encoder)
    build_cache(tmp_path / "killed", episodes(4), resumed)
    assert resumed.clips == 4  # the fifth clip was encoded, but its shard was not full
    build_cache(tmp_path / "whole", episodes(4), encoder)
    killed, whole = LatentCache(tmp_path / "killed"), LatentCache(tmp_path / "whole")
    assert killed.digest == whole.digest
    for one, other in zip(killed.clips, whole.clips, strict=True):
        assert torch.equal(killed.latents(one), whole.latents(other))
        assert torch.equal(killed.text(one.clip.prompt), whole.text(other.clip.prompt))


def test_a_shard_that_was_half_written_is_not_taken_for_one(tmp_path: Path, encoder: CosmosEncoder) -> None:
    tmp_path.joinpath("clips-00000.tmp").write_bytes(b"half")
    assert build_cache(tmp_path, episodes(1), encoder).encoded == 2
    assert len(LatentCache(tmp_path).clips) == 2


def test_a_damaged_shard_is_named(tmp_path: Path, encoder: CosmosEncoder) -> None:
    build_cache(tmp_path, episodes(1), encoder)
    tmp_path.joinpath("clips-00000.safetensors").write_bytes(b"damaged")
    with pytest.raises(RunError, match=r"clips-00000.safetensors is damaged .*: delete it and build the cache again"):
        build_cache(tmp_path, episodes(1), encoder)


def test_a_missing_shard_is_named(tmp_path: Path, encoder: CosmosEncoder) -> None:
    build_cache(tmp_path, episodes(1), encoder)
    tmp_path.joinpath("clips-00000.safetensors").unlink()
    with pytest.raises(RunError, match=r"clips-00000.safetensors is missing although index.json lists it"):
        LatentCache(tmp_path)


def test_a_cache_of_other_encoders_is_refused(tmp_path: Path, encoder: CosmosEncoder) -> None:
    build_cache(tmp_path / "cache", episodes(1), encoder)
    other = tiny_encoder(save_tiny_cosmos(tmp_path / "weights", seed=1))
    with pytest.raises(RunError, match="was made with other encoders, views or sizes: name another folder"):
        build_cache(tmp_path / "cache", episodes(1), other)


def test_encoders_are_told_apart_by_their_weights(tmp_path: Path, encoder: CosmosEncoder) -> None:
    other = tiny_encoder(save_tiny_cosmos(tmp_path, seed=1))
    assert fingerprint(other.vae) != fingerprint(encoder.vae)
    assert fingerprint(encoder.vae) == encoder.identity["vae"]


def test_episodes_of_two_recordings_that_share_a_name_are_both_kept(tmp_path: Path, encoder: CosmosEncoder) -> None:
    namesake = replace(episode(1), episode_id=episode(0).episode_id)
    assert build_cache(tmp_path, [episode(0), namesake], encoder).encoded == 4


def test_the_index_says_what_each_clip_is_and_each_shard_says_it_too(tmp_path: Path, encoder: CosmosEncoder) -> None:
    build_cache(tmp_path, [episode(0)], encoder)
    index = json.loads((tmp_path / INDEX).read_text())
    clips = [entry["clip"] for entry in index["clips"].values()]
    assert {"episode_id": "episode-0", "prompt": "pick the bowl", "first": 0, "frames": 9} in clips
    with safe_open(tmp_path / "clips-00000.safetensors", "pt") as shard:
        in_shard = json.loads(shard.metadata()["clips"])
    assert in_shard == {key: entry["clip"] for key, entry in index["clips"].items()}


def test_episodes_are_taken_one_at_a_time(tmp_path: Path, encoder: CosmosEncoder) -> None:
    counting = Counting(encoder)

    def watched() -> Iterator[Episode]:
        for number in range(3):
            assert counting.clips == 2 * number  # the episode before was encoded before the next is asked for
            yield episode(number)

    build_cache(tmp_path, watched(), counting)


def test_no_clip_at_all_is_an_error(tmp_path: Path, encoder: CosmosEncoder) -> None:
    too_short = episode(0, 20, (Skill("pick the bowl", 18, 20),))
    with pytest.raises(World2ActError, match="no skill clip"):
        build_cache(tmp_path, [too_short], encoder)


def test_an_episode_of_another_robot_is_refused(tmp_path: Path, encoder: CosmosEncoder) -> None:
    with pytest.raises(ContractError, match="episode-0 is of embodiment franka_fr3, expected libero_panda"):
        build_cache(tmp_path, [replace(episode(0), embodiment="franka_fr3")], encoder)


def test_chunks_that_do_not_fit_the_latents_are_refused(encoder: CosmosEncoder) -> None:
    with pytest.raises(ContractError, match="chunk_length = 5, but a latent of Cosmos is 4 control"):
        CosmosEncoder(
            encoder.vae, encoder.tokenizer, encoder.text_encoder, replace(EMBODIMENT, chunk_length=5), encoder.tiling
        )
