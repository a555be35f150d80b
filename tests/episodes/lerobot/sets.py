"""Small LeRobot data sets: ours, and such as others make them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.episodes.example import random_episode, small_embodiment
from world2act_core.embodiment import Embodiment
from world2act_core.episodes.lerobot import LeRobotWriter, iterate_lerobot
from world2act_core.types import Array, Episode

EMBODIMENT = small_embodiment()


def write_set(path: Path, *episodes: Episode, embodiment: Embodiment = EMBODIMENT, **options: Any) -> Path:
    """A data set of whole episodes, without loss unless another codec is named."""
    with LeRobotWriter(path, embodiment, **{"codec": "lossless", **options}) as writer:
        for episode in episodes:
            writer.write_episode(episode)
    return path


def read_set(path: Path, embodiment: Embodiment = EMBODIMENT, **options: Any) -> list[Episode]:
    return list(iterate_lerobot(path, embodiment, **options))


def smooth_episode(embodiment: Embodiment, steps: int, seed: int = 0) -> Episode:
    """An episode whose images look a little like a camera's: shading, and an object that moves."""
    episode = random_episode(embodiment, steps, seed)
    height, width = next(iter(episode.images.values())).shape[1:3]
    rows, columns = np.mgrid[:height, :width]

    def picture(k: int, tint: int) -> Array:
        shading = np.stack([rows + columns, rows * 2, columns * 2], -1) / (height + width)
        image = 40 + tint + 120 * shading
        image[(rows - height // 2) ** 2 + (columns - 4 * k - 20) ** 2 < 200] = (200, 60, 30)
        return image.clip(0, 255).astype(np.uint8)

    frames = range(len(episode.frame_steps))
    return replace(
        episode,
        images={
            name: np.stack([picture(k, 10 * tint) for k in frames]) for tint, name in enumerate(embodiment.cameras)
        },
    )


def psnr(left: Array, right: Array) -> float:
    """Peak signal-to-noise ratio in dB of 8-bit images."""
    error = float(np.mean((left.astype(np.float64) - right.astype(np.float64)) ** 2))
    return float(10 * np.log10(255**2 / max(error, 1e-12)))


def rows_of(path: Path) -> pa.Table:
    """All rows of a data set, as pyarrow reads them."""
    return pa.concat_tables([pq.read_table(file) for file in sorted((path / "data").rglob("*.parquet"))])


def records_of(path: Path) -> list[dict[str, Any]]:
    """All rows of ``meta/episodes``."""
    files = sorted((path / "meta/episodes").rglob("*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def decoded(path: Path) -> tuple[Array, Array]:
    """Seconds ``(N,)`` and images ``(N, H, W, 3)`` of all frames of a video."""
    with av.open(str(path)) as container:
        frames = [(float(frame.time or 0), frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    return np.array([time for time, _ in frames]), np.stack([image for _, image in frames])


def foreign_set(
    path: Path,
    lengths: Sequence[int],
    state: dict[str, Any],
    action: dict[str, Any],
    *,
    fps: float = 20,
    images: Sequence[str] = (),
    in_rows: bool = False,
    columns: dict[str, Any] | None = None,
    features: dict[str, Any] | None = None,
    size: tuple[int, int] = (16, 24),
) -> Path:
    """A data set as others make it: one file of each kind, one row group, no columns of ours.

    Args:
        path: folder to be made.
        lengths: rows of each episode.
        state, action: ``shape`` and ``names`` of the feature; values are row number + 0.01 * dimension.
        fps: of ``info.json``.
        images: names of image features; row ``n`` shows the grey value ``n``, the left third black.
        in_rows: PNG in the rows instead of mp4.
        columns, features: further columns of the rows, and what ``info.json`` says of them.
        size: height and width of the images.
    """
    total = sum(lengths)
    number = np.concatenate([np.arange(length) for length in lengths])
    table: dict[str, Any] = {
        "observation.state": _values(total, state["shape"][0]),
        "action": _values(total, action["shape"][0]),
        "timestamp": pa.array((number / fps).astype(np.float32)),
        "frame_index": number,
        "episode_index": np.repeat(np.arange(len(lengths)), lengths),
        "index": np.arange(total),
        "task_index": np.repeat(np.arange(len(lengths)) % 2, lengths),
        **(columns or {}),
    }
    begins = np.cumsum([0, *lengths])
    records: dict[str, Any] = {
        "episode_index": list(range(len(lengths))),
        "tasks": [[f"task {e % 2}"] for e in range(len(lengths))],
        "length": list(lengths),
        "data/chunk_index": [0] * len(lengths),
        "data/file_index": [0] * len(lengths),
        "dataset_from_index": begins[:-1],
        "dataset_to_index": begins[1:],
    }
    known: dict[str, Any] = {"observation.state": {"dtype": "float32", **state}}
    known["action"] = {"dtype": "float32", **action}
    for name in images:
        known[name] = {"dtype": "image" if in_rows else "video", "shape": [*size, 3], "names": None}
        pictures = [_picture(n, size) for n in range(total)]
        if in_rows:
            table[name] = [{"bytes": _png(picture), "path": None} for picture in pictures]
            continue
        _mp4(path / f"videos/{name}/chunk-000/file-000.mp4", pictures, int(fps))
        records |= {f"videos/{name}/chunk_index": [0] * len(lengths), f"videos/{name}/file_index": [0] * len(lengths)}
        records |= {f"videos/{name}/{end}_timestamp": begin / fps
                    for end, begin in (("from", begins[:-1]), ("to", begins[1:]))}  # fmt: skip
    _store(path / "data/chunk-000/file-000.parquet", pa.table(table))
    _store(path / "meta/episodes/chunk-000/file-000.parquet", pa.table(records))
    tasks = pa.table({"task_index": [0, 1], "__index_level_0__": ["task 0", "task 1"]})  # as pandas names it
    _store(path / "meta/tasks.parquet", tasks)
    info = {
        "codebase_version": "v3.0",
        "robot_type": "panda",
        "total_episodes": len(lengths),
        "total_frames": total,
        "fps": fps,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        "features": {**known, **(features or {})},
    }
    (path / "meta/info.json").write_text(json.dumps(info))
    return path


def _values(rows: int, dimensions: int) -> pa.Array:
    values = np.arange(rows)[:, None] + 0.01 * np.arange(dimensions)
    return pa.array(values.astype(np.float32).tolist(), pa.list_(pa.float32()))


def _picture(number: int, size: tuple[int, int]) -> Array:
    image = np.full((*size, 3), number, np.uint8)
    image[:, : size[1] // 3] = 0
    return image


def _png(image: Array) -> bytes:
    import cv2

    return bytes(cv2.imencode(".png", image[..., ::-1])[1])


def _mp4(path: Path, images: list[Array], fps: int) -> None:
    path.parent.mkdir(parents=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb", rate=fps, options={"qp": "0", "g": "10"})
        stream.height, stream.width, stream.pix_fmt = *images[0].shape[:2], "rgb24"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def _store(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
