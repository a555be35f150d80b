"""What travels between an openpi server and its clients.

The published package openpi-client speaks it too, but asks for numpy < 2, which nothing else here can live with.
Nothing here unpickles: an array is its bytes, type and shape.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from world2act_core.policies.messages import packed, unpacked
from world2act_core.types import Array

PORT = 8000
LARGEST = 64 << 20
"""Bytes of a message; a request with two 224x224 images is 0.3 MB."""
KINDS = "biuf"
"""Types of numbers that may travel: no objects, no records."""


def pack(message: Any) -> bytes:
    """Maps, lists, texts, numbers and arrays → one msgpack frame."""
    return packed(message, _encode)


def unpack(frame: bytes) -> Any:
    """The message of a frame.

    Raises:
        PolicyServerError: it is none.
    """
    return unpacked(frame, _decode, "openpi")


def _encode(value: Any) -> Any:
    if isinstance(value, np.generic) and value.dtype.kind in KINDS:
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    if isinstance(value, np.ndarray) and value.dtype.kind in KINDS:
        return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    raise TypeError(f"an openpi message cannot hold a {type(value).__name__}")


def _decode(value: dict[Any, Any]) -> Any:
    if b"__ndarray__" in value:
        return array_from(value[b"data"], value[b"dtype"], value[b"shape"])
    if b"__npgeneric__" in value:
        kind = _kind(value[b"dtype"])
        return kind.type(value[b"data"])
    return value


def array_from(data: bytes, kind: Any, shape: Any) -> Array:
    """An array of its bytes; refuses what is no array of numbers, or not as many bytes as it says.

    Raises:
        ValueError, TypeError: it is none.
    """
    wanted = _kind(kind)
    sizes = [int(size) for size in shape]
    if min(sizes, default=0) < 0 or math.prod(sizes) * wanted.itemsize != len(data):
        raise ValueError(f"{len(data)} bytes are no array of shape {sizes}")
    return np.frombuffer(data, wanted).reshape(sizes)


def _kind(text: Any) -> np.dtype[Any]:
    if not isinstance(text, str):
        raise TypeError("a type of numbers must be a text")
    kind = np.dtype(text)
    if kind.kind not in KINDS or kind.names:
        raise ValueError(f"{kind} is no type of numbers")
    return kind
