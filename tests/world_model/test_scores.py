"""Scores of imagined video on a toy world: what is good scores well, what is one chunk off does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.learning.scenes import SIZE, square_table
from world2act_core.episodes.chunks import ChunkTable
from world2act_core.errors import World2ActError
from world2act_core.world_model.compact import CompactWorldModel, CompactWorldModelConfig, train_world_model
from world2act_core.world_model.scores import MOST_PSNR, examples, frames_from, score

PROMPTS = ("push right", "push down")
CONFIG = CompactWorldModelConfig(image_size=SIZE, views=1, channels=48, width=16, steps=1, batch=4)


class Oracle:
    """Knows what will happen in the videos of a table; ``late`` so many chunks, deaf to a prompt if told so."""

    frames_per_latent = 1

    def __init__(self, model: CompactWorldModel, table: ChunkTable, late: int = 0, deaf: bool = False) -> None:
        self.model, self.table, self.late, self.deaf = model, table, late, deaf
        self.latent_shape = model.latent_shape
        self.encode, self.decode = model.encode, model.decode

    def imagine(self, context: torch.Tensor, prompts: Sequence[str], clock: torch.Tensor, chunks: int) -> torch.Tensor:
        return torch.stack(
            [self._future(frames[-1], prompt, chunks) for frames, prompt in zip(context, prompts, strict=True)]
        )

    def _future(self, now: torch.Tensor, prompt: str, chunks: int) -> torch.Tensor:
        row = int(np.flatnonzero(self.table.before == int(now[0, 0, 0]))[0])
        if prompt != self.table.prompts[row] and not self.deaf:
            frames = now[None].expand(chunks + 1, -1, -1, -1)  # nothing happens, and that is another future
        else:
            frames = frames_from(self.table, row, chunks)
        late = torch.cat([frames[:1].expand(self.late, -1, -1, -1), frames])[: chunks + 1]
        return self.model.encode(late[None])[0]


def numbered(table: ChunkTable) -> ChunkTable:
    """With its number in a corner pixel of each frame: squares of two episodes may begin in the same place."""
    frames = table.frames.copy()
    frames[:, 0, 0] = np.arange(len(frames))[:, None]
    return replace(table, frames=frames)


@pytest.fixture(scope="module")
def table() -> ChunkTable:
    return numbered(square_table(6, prompts=PROMPTS, labelled=False))


@pytest.fixture(scope="module")
def model(table: ChunkTable, tmp_path_factory: pytest.TempPathFactory) -> CompactWorldModel:
    """A fitted codec; the dynamics still copy the frame they see."""
    torch.set_num_threads(1)
    return train_world_model(table, CONFIG, 0, tmp_path_factory.mktemp("model") / "checkpoint.pt")[0].eval()


def test_who_knows_the_future_loses_only_what_the_codec_loses(model: CompactWorldModel, table: ChunkTable) -> None:
    found = score(Oracle(model, table), table)
    assert found.horizon == 6  # as long as the episodes are
    assert found.episodes == 6
    assert np.allclose(found.latent.gain, 1)
    assert np.allclose(found.psnr.imagined, found.psnr.coded)
    assert np.allclose(found.ssim.imagined, found.ssim.coded)
    assert (found.ssim.imagined > found.ssim.copied).all()
    assert found.consistency > 0.8


def test_the_right_future_one_chunk_late_scores_clearly_worse_in_every_metric(
    model: CompactWorldModel, table: ChunkTable
) -> None:
    on_time, late = (score(Oracle(model, table, late=chunks), table) for chunks in (0, 1))
    assert (late.latent.model > 10 * (on_time.latent.model + 1e-6)).all()
    assert (late.psnr.imagined < on_time.psnr.imagined - 3).all()
    assert (late.ssim.imagined < on_time.ssim.imagined - 0.01).all()
    assert late.consistency < on_time.consistency - 0.5


def test_copying_is_compared_with_the_real_frames_and_grows_worse_with_the_horizon(
    model: CompactWorldModel, table: ChunkTable
) -> None:
    copied = score(Oracle(model, table), table).psnr.copied
    assert copied[0] > copied[-1]
    assert (copied < MOST_PSNR).all()


def test_a_model_that_reads_its_prompt_is_told_from_one_that_does_not(
    model: CompactWorldModel, table: ChunkTable
) -> None:
    reads, deaf = (score(Oracle(model, table, deaf=deaf), table).sensitivity for deaf in (False, True))
    assert reads is not None and deaf is not None
    assert reads.cases == deaf.cases == 6
    assert (reads.nearer, deaf.nearer) == (1.0, 0.0)


def test_one_prompt_alone_has_no_sensitivity(model: CompactWorldModel) -> None:
    table = numbered(square_table(2, labelled=False))
    assert score(Oracle(model, table), table).sensitivity is None


def test_examples_show_real_and_imagined_from_the_same_first_frame(model: CompactWorldModel, table: ChunkTable) -> None:
    found = examples(Oracle(model, table), table, 3)
    assert [example.episode_id for example in found] == ["square-0", "square-2", "square-5"]
    for example in found:
        assert example.real.shape == example.imagined.shape == (7, SIZE, SIZE, 3)
        off = np.abs(example.real.astype(int) - example.imagined).mean((1, 2, 3))
        moved = np.abs(example.real.astype(int) - example.real[0]).mean((1, 2, 3))
        assert (off[1:] < moved[1:]).all()


def test_single_chunks_cannot_be_measured(model: CompactWorldModel, table: ChunkTable) -> None:
    with pytest.raises(World2ActError, match="single chunks"):
        score(Oracle(model, table), table.select(np.array([0, 7])))
