"""Camera images in mp4: which codecs, writing a file frame by frame, reading some frames of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import av
import numpy as np
from av.video.frame import PictureType
from av.video.stream import VideoStream

from world2act_core.errors import ContractError, MissingExtraError, World2ActError
from world2act_core.types import Array


@dataclass(frozen=True)
class Codec:
    """How images become video.

    A key frame every other frame (``g`` 2) lets a reader jump to any frame, as LeRobot's shuffled training does.

    Attributes:
        name: what a user calls it.
        encoder: FFmpeg's name of the encoder.
        canonical: FFmpeg's name of the format.
        encoded, stored: pixel format given to the encoder, and the one that the stream then has.
        options: of the encoder.
        threads: of the encoder, 0 for its own choice; with 1 the same images give the same bytes on any machine.
    """

    name: str
    encoder: str
    canonical: str
    encoded: str
    stored: str
    options: dict[str, Any] = field(default_factory=dict)
    threads: int = 0

    def info(self, height: int, width: int, fps: int) -> dict[str, Any]:
        """What ``info.json`` says about a video feature, in LeRobot's keys."""
        options = {f"video.{key}": value for key, value in self.options.items() if key in ("g", "crf", "preset")}
        others = {key: value for key, value in self.options.items() if f"video.{key}" not in options}
        return {
            "video.height": height,
            "video.width": width,
            "video.codec": self.canonical,
            "video.pix_fmt": self.stored,
            "video.fps": fps,
            "video.channels": 3,
            "video.video_backend": "pyav",
            **options,
            "video.extra_options": others,
            "has_audio": False,
            "is_depth_map": False,
        }


DEFAULT_CODEC = "av1"
CODECS = {
    codec.name: codec
    for codec in (
        # LeRobot's own default (configs/video.py: libsvtav1, yuv420p, g 2, crf 30, preset 12).
        Codec("av1", "libsvtav1", "av1", "yuv420p", "yuv420p", {"g": 2, "crf": 30, "preset": 12}),
        # For players and machines that cannot decode AV1.
        Codec("h264", "libx264", "h264", "yuv420p", "yuv420p", {"g": 2, "crf": 18, "preset": "medium"}, threads=1),
        # RGB planes without loss, in an mp4 that LeRobot's readers open; ten to thirty times larger.
        Codec("lossless", "libx264rgb", "h264", "rgb24", "gbrp", {"g": 2, "qp": 0, "preset": "veryfast"}, threads=1),
    )
}


def codec_named(name: str) -> Codec:
    """The codec of a name in ``CODECS``."""
    if name not in CODECS:
        raise World2ActError(f"no video codec {name!r}: choose one of {', '.join(CODECS)}")
    if CODECS[name].encoder not in av.codecs_available:
        raise MissingExtraError(
            f"this PyAV was built without {CODECS[name].encoder}, which codec {name} needs: take another codec or "
            "pip install --force-reinstall av"
        )
    return CODECS[name]


@contextmanager
def own_priority() -> Iterator[None]:
    """Keep this thread's scheduling: run as root, libsvtav1 puts whoever opens it under SCHED_FIFO at priority 99, and
    every process that is started from then on inherits that and starves the rest of the machine."""
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


class VideoWriter:
    """Writes one mp4 frame by frame.

    Args:
        path: any name; it is overwritten.
        codec: how to encode.
        fps: whole frames a second; frame ``n`` is shown from ``n / fps`` on.
        height, width: of every frame.

    Raises:
        ContractError: the codec cannot encode images of this size.
    """

    def __init__(self, path: Path, codec: Codec, fps: int, height: int, width: int) -> None:
        os.environ.setdefault("SVT_LOG", "1")  # libsvtav1 reads it; otherwise it prints a banner a file
        self.path = path
        self.frames, self.size = 0, 0  # size in bytes; the encoder holds some frames back
        self._tick = Fraction(1, fps)
        self._encoded = codec.encoded
        # The index in front of the frames: a reader over the network need not fetch the end first.
        self._container = av.open(str(path), "w", format="mp4", options={"movflags": "faststart"})
        options = {key: str(value) for key, value in codec.options.items()}
        self._stream = cast(VideoStream, self._container.add_stream(codec.encoder, rate=fps, options=options))
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, codec.encoded
        self._stream.codec_context.thread_count = codec.threads
        try:
            with own_priority():
                self._stream.codec_context.open()
        except av.FFmpegError as error:
            self.abandon()
            raise ContractError(
                f"codec {codec.name} cannot encode images of {width}x{height} pixels ({error.strerror}): take another"
            ) from error

    def write(self, images: Array, held: Array) -> None:
        """Append an episode's frames.

        The first is a key frame. Where images are held, every new one is: much has changed since the last, and an
        encoder that only says what changed left the very frames that count 3 to 6 dB worse (AV1, test scenes).

        Args:
            images: ``(K, H, W, 3)`` uint8 RGB.
            held: ``(N,)`` which of them each frame shows, ascending.
        """
        rare = 2 * len(np.unique(held)) <= len(held)  # no more key frames than every other, which g 2 gives anyway
        shown = -1
        for number, k in enumerate(held):
            if k != shown:
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(images[k]), format="rgb24")
                frame, shown = picture.reformat(format=self._encoded), k
                frame.pict_type = PictureType.I if rare or number == 0 else PictureType.NONE
            else:
                frame.pict_type = PictureType.NONE
            frame.pts, frame.time_base = self.frames, self._tick
            self._encode(frame)
            self.frames += 1

    def close(self) -> None:
        """Write what the encoder holds back, and the index."""
        self._encode(None)
        self._container.close()

    def _encode(self, frame: av.VideoFrame | None) -> None:
        packets = self._stream.encode(frame)
        self.size += sum(packet.size for packet in packets)
        self._container.mux(packets)

    def abandon(self) -> None:
        """Close and remove the file, whatever state it is in."""
        with suppress(av.FFmpegError, OSError, ValueError):  # it is thrown away
            self._container.close()
        self.path.unlink(missing_ok=True)


class VideoReader:
    """Reads frames of one mp4 by number; a context manager.

    Raises:
        World2ActError: the file is missing, is no video or is damaged; names file and frame.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.path, self._fps = path, fps
        try:
            self._container = av.open(str(path))
        except (av.FFmpegError, OSError) as error:
            raise World2ActError(f"{path} cannot be opened as video: {error.strerror}") from error
        streams = [stream for stream in self._container.streams.video if stream.codec_context is not None]
        if not streams:
            self._container.close()
            raise World2ActError(f"{path} holds no video that this PyAV can decode")
        self._stream = streams[0]
        self._stream.thread_type = "AUTO"

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.close()

    def read(self, numbers: Array) -> Array:
        """Frames by number.

        Args:
            numbers: ``(K,)`` ascending, ``K >= 1``; frame ``n`` is the one shown at ``n / fps`` seconds.

        Returns:
            ``(K, H, W, 3)`` uint8 RGB.
        """
        wanted = [int(number) for number in numbers]
        found: list[Array] = []
        try:
            for number, frame in self._frames_from(wanted[0]):
                if number > wanted[len(found)]:
                    break
                if number == wanted[len(found)]:
                    if frame.is_corrupt:
                        break
                    found.append(frame.to_ndarray(format="rgb24"))
                    if len(found) == len(wanted):
                        return np.stack(found)
        except (av.FFmpegError, OSError) as error:
            raise World2ActError(
                f"{self.path}: frame {wanted[len(found)]} cannot be decoded: {error.strerror}"
            ) from error
        raise World2ActError(f"{self.path}: frame {wanted[len(found)]} is missing or damaged")

    def _frames_from(self, number: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decoded frames with their numbers, from the key frame at or before ``number`` on."""
        base = self._stream.time_base or Fraction(1, 1_000_000)
        # LeRobot numbers frames by time, so do we: half a frame earlier is the last place before the frame wanted.
        start = max(0, int((number / self._fps) / base))
        self._container.seek(start, stream=self._stream, backward=True)
        for frame in self._container.decode(self._stream):
            if frame.pts is not None:
                yield round(float(frame.pts * base) * self._fps), frame
