"""Latents around chunks: from a store the same as from memory, at the right time, and only those that are asked for."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.learning.scenes import EMBODIMENT, SIZE, STREAMS, square_episode, square_table
from world2act_core.alignment.train import Stage1Config, action_r2, retrieval_accuracy, train_alignment
from world2act_core.episodes.chunks import ChunkTable, chunk_table
from world2act_core.errors import RunError, World2ActError
from world2act_core.types import Episode, Skill
from world2act_core.world_model.chunk_latents import ChunkLatents, StoredLatents, real_latents
from world2act_core.world_model.compact import CompactWorldModel, CompactWorldModelConfig
from world2act_core.world_model.imagination import KeyedClip, encode_episode, write_clips
from world2act_core.world_model.store import LatentStore, LatentWriter, StoredClip

M, CHUNKS = EMBODIMENT.chunk_length, 6
SPLIT = (Skill("reach", 0, 10), Skill("push", 10, CHUNKS * M))  # the second one's first chunk begins at step 12


@pytest.fixture(scope="module")
def model() -> CompactWorldModel:
    torch.manual_seed(0)
    made = CompactWorldModel(CompactWorldModelConfig(image_size=SIZE, views=1, width=8)).eval()
    made.codec.fit(torch.from_numpy(square_table(24).frames))
    return made


def episodes(count: int, skills: tuple[Skill, ...] = SPLIT) -> list[Episode]:
    return [replace(square_episode(index, chunks=CHUNKS), skills=skills) for index in range(count)]


def tabled(of: Sequence[Episode]) -> ChunkTable:
    return chunk_table(of, EMBODIMENT, ("agentview",), STREAMS, SIZE)


def encoded(model: CompactWorldModel, chunk_length: int = M) -> Callable[[Episode], Iterator[KeyedClip]]:
    return lambda episode: encode_episode(model, episode, ("agentview",), size=SIZE, chunk_length=chunk_length)


def stored(
    folder: Path, of: Sequence[Episode], clips_of: Callable[[Episode], Iterator[KeyedClip]], chunk_length: int = M
) -> LatentStore:
    with LatentWriter(folder, {"model": "toy"}) as writer:
        write_clips(writer, of, clips_of, chunk_length)
    return LatentStore(folder)


def without_frames(episode: Episode, lost: Sequence[int]) -> Episode:
    kept = np.flatnonzero(~np.isin(episode.frame_steps, np.asarray(lost) * M))
    return replace(
        episode,
        frame_steps=episode.frame_steps[kept],
        images={name: images[kept] for name, images in episode.images.items()},
    )


def shown(model: CompactWorldModel, latents: torch.Tensor, table: ChunkTable) -> np.ndarray:
    """Which frame of the table each latent ``(B, C, h, w)`` shows, by its pixels."""
    seen = model.decode(latents[:, :, None])[:, 0].float()
    off = (seen[:, None] - torch.from_numpy(table.frames)[None].float()).square().mean((2, 3, 4))
    return off.argmin(1).numpy()


def same_time(model: CompactWorldModel, latents: ChunkLatents, table: ChunkTable) -> bool:
    """Whether every chunk's latents show the frames at its first step and behind its last."""
    before, after = latents.pair(np.arange(len(table)))
    return np.array_equal(shown(model, before, table), table.before) and np.array_equal(
        shown(model, after, table), table.after
    )


def test_stored_latents_show_the_steps_around_the_chunk(model: CompactWorldModel, tmp_path: Path) -> None:
    table = tabled(episodes(2))
    latents = StoredLatents(stored(tmp_path, episodes(2), encoded(model)), table)
    assert latents.covered.all()
    assert same_time(model, latents, table)


@pytest.mark.parametrize("chunks", [-1, 1])
def test_latents_that_are_off_by_one_chunk_would_be_noticed(
    model: CompactWorldModel, tmp_path: Path, chunks: int
) -> None:
    """World2Act's published partial code is off by one; the check above must catch that."""

    def late(episode: Episode) -> Iterator[KeyedClip]:
        for key, latents, meta in encoded(model)(episode):
            yield key, latents.roll(chunks, 1), meta

    table = tabled(episodes(2))
    assert not same_time(model, StoredLatents(stored(tmp_path, episodes(2), late), table), table)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_however_episodes_are_cut_what_is_stored_equals_what_is_in_memory(
    model: CompactWorldModel, data: st.DataObject
) -> None:
    """Skills may begin within a chunk and leave steps to nobody, frames may be lost; what remains is at its time."""
    cut = []
    for episode in episodes(2):
        bounds = data.draw(st.lists(st.integers(0, CHUNKS * M), min_size=2, max_size=6, unique=True).map(sorted))
        named = tuple(Skill(str(start), start, end) for start, end in pairwise(bounds))
        lost = data.draw(st.sets(st.integers(0, CHUNKS), max_size=3))
        cut.append(without_frames(replace(episode, skills=named[:: data.draw(st.sampled_from([1, 2]))]), sorted(lost)))
    cut.append(square_episode(2))  # of which some chunk is left in any case
    table = tabled([episode for episode in cut if any(True for _ in episode.chunk_starts(M))])
    with tempfile.TemporaryDirectory() as folder:
        latents = StoredLatents(stored(Path(folder), cut, encoded(model)), table)
        skilled = [table.prompts[row] != cut[0].task or table.episode_ids[table.episode[row]] == "square-2"
                   for row in range(len(table))]  # fmt: skip
        assert latents.covered.tolist() == skilled
        rows = np.flatnonzero(latents.covered)[::-1]
        for ours, theirs in zip(latents.pair(rows), real_latents(model, table).pair(rows), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-5)


def test_only_the_clips_of_the_batch_are_read_each_once(
    model: CompactWorldModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    get = LatentStore.__getitem__

    def noted(self: LatentStore, key: str) -> StoredClip:
        read.append(key)
        return get(self, key)

    latents = StoredLatents(stored(tmp_path, episodes(5), encoded(model)), tabled(episodes(5)))
    monkeypatch.setattr(LatentStore, "__getitem__", noted)
    latents.pair(np.array([3 * CHUNKS + 4, CHUNKS, 3 * CHUNKS + 3, 3 * CHUNKS + 3]))
    assert read == ["square-1#0", "square-3#1"]


def test_a_chunk_whose_clip_is_missing_is_refused_by_name(model: CompactWorldModel, tmp_path: Path) -> None:
    store = stored(tmp_path, episodes(2, SPLIT[:1]), encoded(model))
    table = tabled(episodes(3))
    latents = StoredLatents(store, table)
    assert latents.covered.tolist() == [True] * 3 + [False] * 3 + [True] * 3 + [False] * 3 + [False] * 6
    latents.pair(np.array([2, 6]))
    with pytest.raises(RunError, match=r"holds no latents of the chunk at step 12 of episode square-1: write"):
        latents.pair(np.array([2, 9]))


def test_a_chunk_that_was_masked_is_not_covered(model: CompactWorldModel, tmp_path: Path) -> None:
    """Its clip holds a latent in that place, but not of its time."""
    store = stored(tmp_path, [without_frames(episode, [2]) for episode in episodes(1)], encoded(model))
    assert store["square-0#0"].latents.shape[1] == 4
    assert StoredLatents(store, tabled(episodes(1))).covered.tolist() == [True, False, False, True, True, True]


def test_a_store_of_another_time_base_is_refused(model: CompactWorldModel, tmp_path: Path) -> None:
    store = stored(tmp_path, episodes(1), encoded(model, chunk_length=2 * M), 2 * M)
    with pytest.raises(RunError, match="square-0#0 of .* has a latent every 8 control steps, but chunks have 4"):
        StoredLatents(store, tabled(episodes(1)))


def test_a_store_of_other_episodes_is_refused(model: CompactWorldModel, tmp_path: Path) -> None:
    store = stored(tmp_path, episodes(1), encoded(model))
    with pytest.raises(RunError, match="holds no latents of these episodes"):
        StoredLatents(store, tabled([replace(episodes(1)[0], episode_id="another")]))


def test_episodes_of_one_name_are_refused_when_written_and_when_read(model: CompactWorldModel, tmp_path: Path) -> None:
    twice = [*episodes(1), *episodes(1)]
    with pytest.raises(World2ActError, match="two episodes are called square-0"):
        stored(tmp_path / "twice", twice, encoded(model))
    with pytest.raises(RunError, match="two episodes are called square-0"):
        StoredLatents(stored(tmp_path / "once", episodes(1), encoded(model)), tabled(twice))


def test_stage_1_learns_the_same_from_a_store_as_from_memory(model: CompactWorldModel, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    of = episodes(12)
    table, config = tabled(of), Stage1Config(steps=4, batch=4, length=4)
    in_memory, on_disk = real_latents(model, table), StoredLatents(stored(tmp_path, of, encoded(model)), table)
    first, one = train_alignment(table, in_memory, config, 0, tmp_path / "memory.pt")
    second, other = train_alignment(table, on_disk, config, 0, tmp_path / "disk.pt")
    assert one == other
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())
    assert action_r2(first, table, in_memory) == action_r2(second, table, on_disk)
    assert retrieval_accuracy(first, table, in_memory) == retrieval_accuracy(second, table, on_disk)


def test_stage_1_can_be_kept_to_the_chunks_that_are_covered(model: CompactWorldModel, tmp_path: Path) -> None:
    of = episodes(6)
    table, config = tabled(of), Stage1Config(steps=2, batch=4, length=4)
    latents = StoredLatents(stored(tmp_path, of[:4], encoded(model)), table)
    with pytest.raises(RunError, match="holds no latents of the chunk"):
        train_alignment(table, latents, config, 0, tmp_path / "all.pt")
    only = replace(table, labelled=table.labelled & latents.covered)
    train_alignment(only, latents, config, 0, tmp_path / "covered.pt")
