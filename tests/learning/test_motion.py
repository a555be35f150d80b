"""Flow as what B_v reads: measured against motions that are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest
import torch

from world2act_core.alignment.adapters import AdapterConfig, Alignment, load_alignment, save_alignment
from world2act_core.alignment.motion import GRID, Motion
from world2act_core.alignment.train import SeenChunks
from world2act_core.errors import World2ActError
from world2act_core.networks.blocks import Standardise
from world2act_core.networks.codec import PatchCodec
from world2act_core.world_model.chunk_latents import InMemoryLatents

SIZE, PATCH = 64, 8


def textured(dx: float, dy: float, seed: int = 0) -> Any:
    """A smooth random texture ``(64, 128, 3)``, two views, whose left view is moved by so many pixels."""
    noise = np.random.default_rng(seed).uniform(0, 255, (2, SIZE + 32, SIZE + 32, 3)).astype(np.float32)
    smooth = [cv2.GaussianBlur(view, (0, 0), 2.0) for view in noise]
    smooth = [(view - view.mean()) * 4 + 128 for view in smooth]
    moved = cv2.warpAffine(smooth[0], np.array([[1, 0, dx], [0, 1, dy]], np.float32), (SIZE + 32, SIZE + 32))
    views = [view[16 : 16 + SIZE, 16 : 16 + SIZE] for view in (moved, smooth[1])]
    return np.concatenate(views, 1).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def codec() -> PatchCodec:
    """Keeps nearly everything of such textures."""
    made = PatchCodec(SIZE, 2, PATCH, 160)
    made.fit(torch.from_numpy(np.stack([textured(0, 0, seed) for seed in range(12)])))
    return made


def latents(codec: PatchCodec, *moves: tuple[float, float]) -> torch.Tensor:
    return codec.encode(torch.from_numpy(np.stack([textured(*move, seed=1) for move in moves])))


@pytest.mark.parametrize("move", [(3.0, 0.0), (0.0, -2.0), (4.0, 3.0)])
def test_it_measures_how_far_each_view_moved(codec: PatchCodec, move: tuple[float, float]) -> None:
    flow = Motion(codec)(latents(codec, (0, 0)), latents(codec, move)).reshape(2, 2, GRID, GRID)
    inner = flow[:, :, 1:-1, 1:-1].mean((2, 3)) * SIZE / GRID  # in pixels
    assert inner[0].tolist() == pytest.approx(list(move), abs=0.4)
    assert inner[1].abs().max() < 0.2, "the right view stood still"


def test_an_adapter_that_reads_flow_needs_a_codec() -> None:
    with pytest.raises(World2ActError, match="it needs the codec"):
        Alignment(AdapterConfig((16, 8, 16), pooling="flow"))


def test_it_travels_with_its_codec(codec: PatchCodec, tmp_path: Path) -> None:
    alignment = Alignment(AdapterConfig(codec.latent_shape, pooling="flow", codec=codec.shape))
    assert alignment.video.motion is not None
    alignment.video.motion.codec.load_state_dict(codec.state_dict())
    save_alignment(tmp_path / "alignment.pt", alignment.eval())
    again = load_alignment(tmp_path / "alignment.pt")
    pair = latents(codec, (0, 0)), latents(codec, (2, 1))
    assert torch.equal(again.video(*pair), alignment.video(*pair))


def test_each_chunk_is_seen_once_and_as_it_would_be_seen_alone(codec: PatchCodec) -> None:
    made = Alignment(AdapterConfig(codec.latent_shape, pooling="flow", codec=codec.shape))
    assert made.video.motion is not None
    made.video.motion.codec.load_state_dict(codec.state_dict())
    moves = [(0, 0), (1, 0), (2, 0), (2, 2)]
    held = InMemoryLatents(latents(codec, *moves), np.arange(3), np.arange(1, 4))
    seen = SeenChunks(made.video, held, np.array([0, 2]))
    rows = np.array([2, 0, 2])
    assert torch.equal(seen(rows)[0], made.video.see(*held.pair(rows))[0])
    seen.fit()
    still = cast(Standardise, made.video.net[0]).std.min()
    assert still >= 0.03, "what hardly moves must not be made large"


def test_chunks_that_follow_on_each_other_are_seen_as_each_alone(codec: PatchCodec) -> None:
    """Two episodes of twenty chunks: where one ends, the next begins elsewhere."""
    path = [(0.2 * (step % 21), 0.1 * (step % 7)) for step in range(42)]
    shown, motion, threads = latents(codec, *path), Motion(codec), cv2.getNumThreads()
    before = torch.tensor([step for step in range(41) if step != 20])
    together = motion(shown[before], shown[before + 1])
    alone = [motion(shown[[step]], shown[[step + 1]]) for step in before.tolist()]
    assert torch.equal(together, torch.cat(alone)) and together[19].abs().max() > 0.02
    assert cv2.getNumThreads() == threads
