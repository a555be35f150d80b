"""Videos are decoded again: what a browser will see is what went in."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest

from world2act_core.evaluation.video import Panel, encode_mp4, side_by_side
from world2act_core.types import Array


def clip(length: int, height: int = 32, width: int = 48, colour: tuple[int, int, int] = (200, 60, 30)) -> Array:
    """Frames of one colour with a white square that moves to the right."""
    frames = np.full((length, height, width, 3), colour, np.uint8)
    for index in range(length):
        frames[index, 4:12, index : index + 8] = 255
    return frames


def decode(mp4: bytes) -> tuple[Array, av.VideoStream]:
    with av.open(io.BytesIO(mp4), "r") as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
        return frames, container.streams.video[0]


def test_every_frame_comes_back_in_its_size_and_colours() -> None:
    frames = clip(17, 64, 96)
    decoded, _ = decode(encode_mp4(frames, 10))
    assert decoded.shape == frames.shape
    assert np.abs(decoded.astype(int) - frames).mean() < 4


def test_the_codec_is_one_that_browsers_play() -> None:
    _, stream = decode(encode_mp4(clip(5), 10))
    assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")


@pytest.mark.parametrize("fps", [5, 12.5, 20])
def test_frames_are_shown_for_the_time_asked(fps: float) -> None:
    _, stream = decode(encode_mp4(clip(10), fps))
    assert stream.average_rate == fps


def test_odd_sizes_are_padded_by_the_edge() -> None:
    frames = clip(3, 31, 47)
    decoded, _ = decode(encode_mp4(frames, 10, crf=1))
    assert decoded.shape == (3, 32, 48, 3)
    assert np.abs(decoded[:, 31].astype(int) - decoded[:, 30]).mean() < 6


def test_the_same_frames_give_the_same_bytes() -> None:
    assert encode_mp4(clip(8), 10) == encode_mp4(clip(8), 10)


@pytest.mark.parametrize(
    "frames", [np.zeros((0, 8, 8, 3), np.uint8), np.zeros((4, 8, 8, 3)), np.zeros((8, 8, 3), "u1")]
)
def test_other_arrays_are_refused(frames: Array) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 \(K, H, W, 3\)"):
        encode_mp4(frames, 10)


def test_side_by_side_has_the_length_of_the_longest_clip_and_holds_the_others() -> None:
    short, long = clip(4), clip(9, colour=(20, 80, 160))
    video = side_by_side([Panel(short, "base"), Panel(long, "post-trained")], height=64, gap=4, hold=2)
    assert len(video) == 11
    left, right = video[:, -64:, :96], video[:, -64:, 100:196]
    np.testing.assert_array_equal(left[3:], np.broadcast_to(left[3], (8, 64, 96, 3)))
    np.testing.assert_array_equal(left[:4], short.repeat(2, 1).repeat(2, 2))
    np.testing.assert_array_equal(right[:9], long.repeat(2, 1).repeat(2, 2))


def test_clips_of_other_sizes_are_scaled_to_the_same_height() -> None:
    video = side_by_side([Panel(clip(3, 64, 64), "happened"), Panel(clip(3, 32, 48), "imagined")], height=96, gap=0)
    assert video.shape[2] == 96 + 144
    assert video.shape[1] % 2 == video.shape[2] % 2 == 0


def test_captions_are_written_above_and_fit_however_long() -> None:
    frames = clip(2)
    plain = side_by_side([Panel(frames, "")], height=128)
    band = plain.shape[1] - 128
    for caption in ("base policy", "a caption that is much longer than the clip is wide " * 3, "gelöst → ✓"):
        video = side_by_side([Panel(frames, caption)], height=128)
        changed = (video != plain).any(axis=(0, 3))
        assert changed[:band].any()
        assert not changed[band:].any()
        assert not changed[:, :2].any() and not changed[:, -2:].any()


def test_the_ending_is_shown_only_from_the_last_frame_on() -> None:
    frames = clip(5)
    plain = side_by_side([Panel(frames, "base")], height=64, hold=2)
    ended = side_by_side([Panel(frames, "base", "solved at step 20", True)], height=64, hold=2)
    assert [bool((a != b).any()) for a, b in zip(plain, ended, strict=True)] == [False] * 4 + [True] * 3
