"""What travels between a GR00T server and its clients. Nothing here unpickles: arrays are ``.npy`` bytes."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import zmq

from world2act_core.policies.messages import packed, unpacked
from world2act_core.types import Array

PORT = 5555
LARGEST = 64 << 20
"""Bytes of a message; 32 observations with two 256x256 images are 13 MB."""
ABOUT = "world2act"
"""Ours, not NVIDIA's: the key under which a server of ours tells about its policy when it is pinged."""
KINDS = "biuf"
"""Types of numbers that may travel: no objects, no records."""
MODALITIES = ("video", "state", "action", "language")


@dataclass(frozen=True)
class ModalityConfig:
    """What a GR00T policy says of one modality: its keys, and which steps around now it takes or gives."""

    delta_indices: list[int]
    modality_keys: list[str]
    sin_cos_embedding_keys: list[str] | None = None
    mean_std_embedding_keys: list[str] | None = None
    action_configs: list[dict[str, Any]] | None = None


def pack(message: Any) -> bytes:
    """Maps, lists, texts, numbers, arrays and ModalityConfigs → one msgpack frame."""
    return packed(message, _encode)


def unpack(frame: bytes) -> Any:
    """The message of a frame.

    Raises:
        PolicyServerError: it is none.
    """
    return unpacked(frame, _decode, "GR00T")


def new_socket(context: zmq.Context[Any], kind: int) -> zmq.Socket[Any]:
    """A socket that never holds its process up when it is closed, and takes no message beyond `LARGEST`."""
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, LARGEST)
    return socket


def _encode(value: Any) -> Any:
    if isinstance(value, ModalityConfig):
        return {"__ModalityConfig_class__": True, "as_json": asdict(value)}
    if isinstance(value, np.ndarray):
        stream = io.BytesIO()
        np.lib.format.write_array(stream, np.ascontiguousarray(value), allow_pickle=False)
        return {"__ndarray_class__": True, "as_npy": stream.getvalue()}
    raise TypeError(f"a GR00T message cannot hold a {type(value).__name__}")


def _decode(value: dict[Any, Any]) -> Any:
    if "__ndarray_class__" in value:
        return _array(value["as_npy"])
    if "__ModalityConfig_class__" in value:
        return _modality(value["as_json"])
    return value


def _array(data: bytes) -> Array:
    """An array of ``.npy`` bytes, if they are as many as its head says: numpy would believe the head and make room."""
    stream = io.BytesIO(data)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, fortran, kind = read[np.lib.format.read_magic(stream)](stream)
    if kind.kind not in KINDS or math.prod(shape) * kind.itemsize != len(data) - stream.tell():
        raise ValueError(f"{len(data)} bytes are no {kind} array of shape {shape}")
    return np.frombuffer(data, kind, offset=stream.tell()).reshape(shape, order="F" if fortran else "C")


def _modality(said: Mapping[str, Any]) -> ModalityConfig:
    """Fields that a later release adds are left aside; those that are needed must be what they should be."""
    indices, keys = said["delta_indices"], said["modality_keys"]
    if not all(isinstance(index, int) for index in indices) or not all(isinstance(key, str) for key in keys):
        raise ValueError("a ModalityConfig's indices or keys are of another type")
    optional = ("sin_cos_embedding_keys", "mean_std_embedding_keys", "action_configs")
    return ModalityConfig(list(indices), list(keys), *(said.get(name) for name in optional))
