"""Views of several cameras in one frame, and back."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.errors import ContractError
from world2act_core.types import Array
from world2act_core.world_model.cosmos.views import tiling_of

LIBERO = load_embodiment("libero_panda")
FRANKA = load_embodiment("franka_fr3")
ROBOCASA = load_embodiment("panda_omron")


def plain(value: int, *shape: int) -> Array:
    return np.full((*shape, 3), value, np.uint8)


def smooth(height: int, width: int, seed: int = 0) -> Array:
    """A picture without fine detail, which survives resizing."""
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def test_libero_shows_the_agent_s_view_the_wrist_and_two_black_cells() -> None:
    frame = tiling_of(LIBERO).tile({"agentview": plain(100, 128, 128), "wrist": plain(200, 128, 128)})
    assert frame.shape == (480, 832, 3) and frame.dtype == np.uint8
    assert (frame[:240, 88:328] == 100).all() and (frame[:240, 504:744] == 200).all()
    assert not frame[240:].any()
    assert not frame[:, :88].any() and not frame[:, 328:504].any() and not frame[:, 744:].any()


def test_robocasa_shows_left_right_wrist_and_one_black_cell() -> None:
    views = {name: plain(value, 256, 256) for name, value in zip(ROBOCASA.cameras, (10, 20, 30), strict=True)}
    frame = tiling_of(ROBOCASA).tile(views)
    middles = [[frame[row, column, 0] for column in (208, 624)] for row in (120, 360)]
    assert middles == [[10, 20], [30, 0]]


def test_a_view_keeps_its_proportions_and_is_centred() -> None:
    """640x480 in a cell of 416x240 becomes 320x240, 48 columns from the left."""
    frame = tiling_of(FRANKA).tile({"agentview": plain(9, 480, 640)})
    lit = np.argwhere(frame[..., 0])
    assert lit.min(0).tolist() == [0, 48] and lit.max(0).tolist() == [239, 367]


def test_the_view_of_a_camera_mounted_on_its_side_is_upright_in_its_cell() -> None:
    turned = replace(FRANKA.cameras["agentview"], rotation_deg=90)
    upright = replace(FRANKA, cameras={"agentview": turned})
    lit = np.argwhere(tiling_of(upright).tile({"agentview": plain(9, 640, 480)})[..., 0])
    assert lit.min(0).tolist() == [0, 118] and lit.max(0).tolist() == [239, 297]


def test_the_view_of_a_camera_that_is_not_there_is_black() -> None:
    frame = tiling_of(LIBERO).tile({"wrist": plain(50, 128, 128)})
    assert not frame[:, :416].any() and frame[:240, 416:].any()


def test_the_frames_of_an_episode_become_a_video() -> None:
    clip = np.stack([plain(value, 128, 128) for value in (1, 2, 3)])
    video = tiling_of(LIBERO).tile({"agentview": clip, "wrist": clip + 10})
    assert video.shape == (3, 480, 832, 3)
    assert video[:, 120, 208, 0].tolist() == [1, 2, 3] and video[:, 120, 624, 0].tolist() == [11, 12, 13]


@pytest.mark.parametrize("robot", [LIBERO, FRANKA, ROBOCASA], ids=lambda robot: robot.name)
def test_views_are_cut_out_of_a_frame_as_they_were_put_in(robot: Embodiment) -> None:
    """Also out of a batch of videos, ``(B, F, H, W, 3)``."""
    tiling = tiling_of(robot)
    views = {name: smooth(*camera.upright_size, seed) for seed, (name, camera) in enumerate(robot.cameras.items())}
    cut = tiling.cut(np.broadcast_to(tiling.tile(views), (2, 5, 480, 832, 3)))
    assert list(cut) == list(views)
    for name, view in views.items():
        height, width = cut[name].shape[2:4]
        assert height == 240
        expected = cv2.resize(view, (width, height), interpolation=cv2.INTER_AREA).astype(float)
        assert np.abs(cut[name] - expected).mean() < 2


def test_views_that_fill_their_cells_come_back_bit_for_bit() -> None:
    rng = np.random.default_rng(0)
    views = {name: rng.integers(0, 256, (2, 128, 128, 3), np.uint8) for name in LIBERO.cameras}
    tiling = tiling_of(LIBERO, 256, 256)
    back = tiling.cut(tiling.tile(views))
    assert all(np.array_equal(back[name], view) for name, view in views.items())


def test_an_image_of_other_proportions_than_its_camera_s_is_refused() -> None:
    with pytest.raises(ContractError, match="camera wrist are 96x128.*128x128"):
        tiling_of(LIBERO).tile({"wrist": plain(0, 96, 128)})


def test_an_image_of_another_size_in_the_same_proportions_is_taken() -> None:
    assert tiling_of(LIBERO).tile({"wrist": plain(7, 84, 84)})[120, 624, 0] == 7


def test_a_camera_that_the_embodiment_does_not_have_is_refused() -> None:
    with pytest.raises(ContractError, match="'depth' has no tile.*agentview, wrist"):
        tiling_of(LIBERO).tile({"depth": plain(0, 128, 128)})


def test_no_view_at_all_is_refused() -> None:
    with pytest.raises(ContractError, match="no view to tile"):
        tiling_of(LIBERO).tile({})


def test_a_frame_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(ValueError, match="481x832 cannot be halved"):
        tiling_of(LIBERO, 481)
