"""How the compact policy and the residual see: every camera, by either encoder."""

from __future__ import annotations

import pytest
import torch

from world2act_core.errors import World2ActError
from world2act_core.networks.codec import PatchCodec
from world2act_core.networks.eyes import Eyes, EyesConfig, shifted

SIZE, VIEWS = 32, 2
FRAMES = torch.randint(
    0, 256, (6, SIZE, VIEWS * SIZE, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


def eyes(encoder: str) -> Eyes:
    torch.manual_seed(0)
    codec = PatchCodec(SIZE, VIEWS)
    codec.fit(FRAMES)
    return Eyes(EyesConfig(encoder=encoder), codec)


@pytest.mark.parametrize("encoder", ["convolutions", "patches"])
@pytest.mark.parametrize("camera", range(VIEWS))
def test_every_camera_is_seen(encoder, camera):
    look, changed = eyes(encoder).eval(), FRAMES.clone()
    changed[:, :, camera * SIZE : (camera + 1) * SIZE] = 0
    features, other = look(look.see(FRAMES)), look(look.see(changed))
    assert features.shape == (6, look.size)
    assert (features - other).abs().amax(1).min() > 1e-4


@pytest.mark.parametrize("encoder", ["convolutions", "patches"])
def test_only_in_training_do_two_looks_differ(encoder):
    look = eyes(encoder)
    seen = look.see(FRAMES)
    assert not torch.equal(look(seen), look(seen))
    look.eval()
    assert torch.equal(look(seen), look(seen))


def test_what_patches_are_seen_through_is_not_trained():
    assert not [name for name, _ in eyes("patches").named_parameters() if name.startswith("codec")]


def test_another_encoder_is_refused():
    with pytest.raises(World2ActError, match="encoder is 'retina', expected one of convolutions, patches"):
        EyesConfig(encoder="retina")
    with pytest.raises(World2ActError, match="encoder is 'paper', expected one of convolutions, patches"):
        EyesConfig(encoder="paper")  # the residual's only


def test_images_move_by_whole_pixels_each_its_own_way_and_repeat_their_border():
    ramp = torch.arange(8.0).expand(200, 1, 8, 8)  # brighter to the right
    moved = shifted(ramp + 100 * torch.arange(8.0)[:, None], 2)
    across = moved[:, 0, 4] % 100
    offsets = across[:, 4] - 4
    assert set(offsets.tolist()) == {-2, -1, 0, 1, 2}
    assert torch.equal(across, (torch.arange(8) + offsets[:, None]).clamp(0, 7))
    down = moved[:, 0, :, 4] // 100
    assert not torch.equal(down[:, 4] - 4, offsets)
