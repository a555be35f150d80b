"""What travels between a Cosmos Policy server and its clients: JSON in which arrays are base64 (json_numpy)."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import numpy as np

from world2act_core.errors import PolicyServerError

PORT = 8777
PATH = "/act"
ABOUT_PATH = "/world2act"
"""Ours, not NVIDIA's: what a server of ours says about its policy."""
LARGEST = 64 << 20
"""Bytes of a message; a request with two 256x256 images is 0.5 MB."""
FAILED = "error"
"""All that a server says, with status 200, when a request failed."""
KINDS = "biuf"
"""Types of numbers that may travel: no objects, no records."""


def pack(message: Any) -> bytes:
    """Maps, lists, texts, numbers and arrays → JSON."""
    return json.dumps(message, default=_encode).encode()


def unpack(body: bytes) -> Any:
    """The message of a body.

    Raises:
        PolicyServerError: it is none.
    """
    try:
        return json.loads(body, object_hook=_decode)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise PolicyServerError(f"sent what is no JSON of Cosmos Policy ({type(error).__name__})") from error


def _encode(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in KINDS:
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode("ascii")
        return {"__numpy__": data, "dtype": value.dtype.str, "shape": list(value.shape)}
    raise TypeError(f"a Cosmos Policy message cannot hold a {type(value).__name__}")


def _decode(value: dict[str, Any]) -> Any:
    if "__numpy__" not in value:
        return value
    if not isinstance(value["dtype"], str):
        raise TypeError("a type of numbers must be a text")
    kind, sizes = np.dtype(value["dtype"]), [int(size) for size in value["shape"]]
    data = base64.b64decode(value["__numpy__"], validate=True)
    if kind.kind not in KINDS or min(sizes, default=0) < 0 or math.prod(sizes) * kind.itemsize != len(data):
        raise ValueError(f"{len(data)} bytes are no {kind} array of shape {sizes}")
    array = np.frombuffer(data, kind).reshape(sizes)
    return array if sizes else array[()]
