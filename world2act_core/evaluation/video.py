"""Frames to H.264 video that any browser plays, and several clips side by side with captions."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from world2act_core.errors import MissingExtraError
from world2act_core.types import Array

_BAND = (24, 27, 34)
_TEXT = (240, 242, 246)
_BADGES = {True: (15, 118, 110), False: (180, 83, 9), None: (71, 85, 105)}


@dataclass(frozen=True)
class Panel:
    """One clip of a side-by-side video.

    Attributes:
        frames: ``(K, H, W, 3)`` uint8 RGB, ``K >= 1``.
        caption: shown above the clip throughout.
        ending: shown on the last frame, which is held while longer clips go on, e.g. ``solved at step 72``.
        good: colours the ending: True solved, False not, None neutral.
    """

    frames: Array
    caption: str
    ending: str = ""
    good: bool | None = None


def side_by_side(panels: Sequence[Panel], *, height: int = 384, gap: int = 12, hold: int = 0) -> Array:
    """Clips next to each other, each under its caption, all starting together.

    Args:
        panels: at least one.
        height: rows given to each clip's image; clips are scaled to it (nearest neighbour), keeping their shape.
        gap: columns between clips.
        hold: frames to stay on the end after the longest clip.

    Returns:
        ``(K, H, W, 3)`` uint8 with ``K`` the length of the longest clip plus ``hold``; H and W are even.
    """
    if not panels:
        raise ValueError("a side-by-side video needs at least one clip")
    length = max(len(_checked(panel.frames)) for panel in panels) + hold
    columns = [_column(panel, length, height) for panel in panels]
    spacer = np.full((length, columns[0].shape[1], gap, 3), _BAND, np.uint8)
    joined = [columns[0]]
    for column in columns[1:]:
        joined += [spacer, column]
    return _even(np.concatenate(joined, axis=2))


def encode_mp4(frames: Array, fps: float, *, crf: int = 20) -> bytes:
    """Encode to an H.264 mp4 in memory: yuv420p and BT.709, as browsers expect.

    Odd sizes are padded by repeating the last row or column. The same frames give the same bytes.

    Args:
        frames: ``(K, H, W, 3)`` uint8 RGB, ``K >= 1``.
        fps: frames a second of playback.
        crf: x264's quality, 0 (lossless) to 51; 20 is hard to tell from the original.

    Raises:
        MissingExtraError: PyAV, or the H.264 encoder in it, is not installed.
        ValueError: the frames have another shape or type.
    """
    try:
        import av
    except ImportError:
        raise MissingExtraError("video needs PyAV, which is not installed: pip install world2act") from None
    if "libx264" not in av.codecs_available:
        raise MissingExtraError("this PyAV was built without the H.264 encoder: pip install --force-reinstall av")
    frames = _even(_checked(frames))
    memory = io.BytesIO()
    with av.open(memory, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(crf), "preset": "medium"}
        stream.codec_context.thread_count = 1  # the bytes would depend on the number of cores
        stream.codec_context.colorspace = stream.codec_context.color_primaries = stream.codec_context.color_trc = 1
        for frame in frames:
            image = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(image.reformat(format="yuv420p", dst_colorspace="ITU709")))
        container.mux(stream.encode(None))
    return memory.getvalue()


def _checked(frames: Array) -> Array:
    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or 0 in frames.shape:
        raise ValueError(f"video frames are {frames.dtype} {frames.shape}: expected uint8 (K, H, W, 3) with K >= 1")
    return frames


def _even(frames: Array) -> Array:
    """Pad to even height and width, as 4:2:0 colour needs."""
    return np.pad(frames, ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)), mode="edge")


def _column(panel: Panel, length: int, height: int) -> Array:
    """A clip scaled, held to ``length`` frames, with caption band and ending."""
    width = max(2, round(panel.frames.shape[2] * height / panel.frames.shape[1]))
    rows = np.arange(height) * panel.frames.shape[1] // height
    columns = np.arange(width) * panel.frames.shape[2] // width
    images = panel.frames[:, rows][:, :, columns]
    images = np.concatenate([images, np.repeat(images[-1:], length - len(images), axis=0)])
    if panel.ending:
        band = _text_band(panel.ending, width, height, _BADGES[panel.good])
        images[len(panel.frames) - 1 :, -band.shape[0] :] = band
    caption = _text_band(panel.caption, width, height, _BAND)
    return np.concatenate([np.broadcast_to(caption, (length, *caption.shape)), images], axis=1)


def _text_band(text: str, width: int, height: int, colour: tuple[int, int, int]) -> Array:
    """A strip ``(rows, width, 3)`` of one colour with centred text, made smaller if it would not fit."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    # Matplotlib brings this font along, so the letters are the same on every machine.
    face = str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
    rows = max(16, height // 11)
    size = rows * 0.52
    length = ImageFont.truetype(face, size).getlength(text)
    font = ImageFont.truetype(face, max(1.0, size * min(1.0, 0.94 * width / max(1.0, length))))
    band = Image.new("RGB", (width, rows), colour)
    ImageDraw.Draw(band).text((width / 2, rows / 2), text, fill=_TEXT, font=font, anchor="mm")
    return np.asarray(band)
