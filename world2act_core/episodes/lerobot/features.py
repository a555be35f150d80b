"""The features of a data set: which columns and videos it has, and what its numbers are called."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from world2act_core.embodiment import Embodiment, StateStream
from world2act_core.episodes.lerobot.layout import (
    ACTION,
    DONE,
    FRAME_AGE,
    IMAGES,
    LANGUAGE,
    STAMP,
    STATE,
    SUBTASK_INDEX,
)
from world2act_core.episodes.lerobot.video import Codec
from world2act_core.types import Episode

Features = dict[str, dict[str, Any]]

_PARTS = {"position": ("x", "y", "z"), "orientation": ("x", "y", "z", "w")}

# What LeRobot asks of every data set; `timestamp` is frame_index / fps there, so our own stamps have their own column.
_COUNTERS = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}

_LANGUAGE_ROW = pa.struct(
    [
        pa.field("role", pa.string()),
        pa.field("content", pa.string()),
        pa.field("style", pa.string()),
        pa.field("timestamp", pa.float32()),
        pa.field("camera", pa.string()),
        pa.field("tool_calls", pa.list_(pa.string())),
    ]
)


def state_names(stream: StateStream) -> list[str]:
    """What the numbers of a stream are called in ``observation.state``, e.g. ``eef_position.x``."""
    return [f"{stream.name}.{name}" for name in stream.joints or _PARTS[stream.field]]


def state_streams(embodiment: Embodiment, episode: Episode) -> list[StateStream]:
    """The streams that an episode has, in the order of the contract, which is their order in ``observation.state``."""
    return [stream for name, stream in embodiment.state.items() if name in episode.state]


def dataset_features(embodiment: Embodiment, episode: Episode, codec: Codec, language: bool) -> Features:
    """The features of a data set whose first episode is this one.

    Names that begin with ``observation`` or ``action`` are inputs and outputs of LeRobot's policies, so the columns
    that only keep account (``stamp``, ``frame_age``) have other names.
    """
    names = [name for stream in state_streams(embodiment, episode) for name in state_names(stream)]
    features: Features = {STATE: _feature("float32", len(names), names)}
    if episode.actions is not None:
        features[ACTION] = _feature("float32", embodiment.action.size, list(embodiment.action.names))
    for camera in (name for name in embodiment.cameras if name in episode.images):
        height, width = episode.images[camera].shape[1:3]
        features[f"{IMAGES}{camera}"] = {
            "dtype": "video",
            "shape": [height, width, 3],
            "names": ["height", "width", "channels"],
            "info": codec.info(height, width, int(embodiment.control_rate_hz)),
        }
    if episode.images:
        features[FRAME_AGE] = _feature("int64", 1)
    features[STAMP] = _feature("float64", 1)
    features[DONE] = _feature("bool", 1)
    features[SUBTASK_INDEX] = _feature("int64", 1)
    if language:
        features[LANGUAGE] = _feature("language", 1)
    return {**features, **{name: _feature(dtype, 1) for name, dtype in _COUNTERS.items()}}


def cameras_of(features: Features) -> dict[str, tuple[int, int]]:
    """Camera → height and width, of the cameras that are stored as video."""
    return {
        name.removeprefix(IMAGES): (feature["shape"][0], feature["shape"][1])
        for name, feature in features.items()
        if feature["dtype"] == "video" and name.startswith(IMAGES)
    }


def arrow_schema(features: Features) -> pa.Schema:
    """Columns of the data files: one value a row, or a list of fixed length."""
    return pa.schema([(name, _arrow_type(f)) for name, f in features.items() if f["dtype"] != "video"])


def _arrow_type(feature: dict[str, Any]) -> pa.DataType:
    if feature["dtype"] == "language":
        return pa.list_(_LANGUAGE_ROW)
    value = {"bool": pa.bool_(), "int64": pa.int64(), "float32": pa.float32(), "float64": pa.float64()}
    (size,) = feature["shape"]
    plain = value[feature["dtype"]]
    return plain if size == 1 else pa.list_(plain, size)  # LeRobot reads shape [1] as a plain number


def _feature(dtype: str, size: int, names: list[str] | None = None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [size], "names": names}
