"""The adapters' shapes, and the scene that the video adapter must not rely on."""

from __future__ import annotations

import pytest
import torch

from world2act_core.alignment.adapters import (
    AdapterConfig,
    Alignment,
    VideoAdapter,
    load_alignment,
    save_alignment,
)
from world2act_core.errors import World2ActError

SHAPE = (16, 4, 8)  # two views side by side


def adapter(pooling: str) -> VideoAdapter:
    torch.manual_seed(0)
    return VideoAdapter(AdapterConfig(SHAPE, pooling=pooling))


def one_pair(copies: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The same latents before and after a chunk, ``copies`` times."""
    before, after = torch.randn(2, 1, *SHAPE, generator=torch.Generator().manual_seed(1))
    return before.expand(copies, *SHAPE), after.expand(copies, *SHAPE)


@pytest.mark.parametrize("pooling", ["average", "spatial", "patches"])
def test_every_pooling_gives_one_latent_a_chunk(pooling):
    assert adapter(pooling)(*one_pair(3)).shape == (3, 32)


def test_an_unknown_pooling_is_refused():
    with pytest.raises(World2ActError, match="pooling is 'max', expected one of average, spatial, patches, flow"):
        adapter("max")


def test_in_training_half_of_the_samples_are_shown_no_scene():
    """Without it, B_v guesses the action from where things stand instead of from what moved."""
    video = adapter("spatial").train()
    before, after = one_pair(400)
    found = video(before, after)
    seen = video.net(torch.cat([before, after - before], 1)[:1])
    hidden = video.net(torch.cat([torch.zeros_like(before), after - before], 1)[:1])
    is_hidden = torch.isclose(found, hidden, atol=1e-5).all(1)
    assert (is_hidden ^ torch.isclose(found, seen, atol=1e-5).all(1)).all()
    assert is_hidden.float().mean().item() == pytest.approx(0.5, abs=0.08)  # three standard deviations


@pytest.mark.parametrize("pooling", ["average", "spatial", "patches"])
def test_out_of_training_it_sees_the_scene_and_gives_the_same_every_time(pooling):
    video = adapter(pooling).eval()
    before, after = one_pair(2)
    assert torch.equal(video(before, after), video(before, after))
    assert not torch.allclose(video(before, after), video(torch.zeros_like(before), after - before), atol=1e-3)


def test_adapters_survive_their_file(tmp_path):
    torch.manual_seed(0)
    alignment = Alignment(AdapterConfig(SHAPE)).eval()
    save_alignment(tmp_path / "alignment.pt", alignment)
    again = load_alignment(tmp_path / "alignment.pt")
    actions = torch.rand(2, 4, 7)
    assert torch.equal(again.video(*one_pair(2)), alignment.video(*one_pair(2)))
    assert torch.equal(again.decoder(again.action(actions)), alignment.decoder(alignment.action(actions)))
