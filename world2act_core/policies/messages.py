"""msgpack frames, in which GR00T and openpi put what they say, each with arrays of its own kind."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import msgpack

from world2act_core.errors import PolicyServerError

_BROKEN = (ValueError, TypeError, KeyError, EOFError, OverflowError, struct.error, msgpack.UnpackException)


def packed(message: Any, encode: Callable[[Any], Any]) -> bytes:
    """A message as one msgpack frame; ``encode`` makes maps of what msgpack does not know."""
    frame: bytes = msgpack.packb(message, default=encode)
    return frame


def unpacked(frame: bytes, decode: Callable[[dict[Any, Any]], Any], protocol: str) -> Any:
    """The message of a frame; ``decode`` undoes what ``encode`` did.

    Raises:
        PolicyServerError: it is none.
    """
    try:
        return msgpack.unpackb(frame, object_hook=decode)
    except _BROKEN as error:
        raise PolicyServerError(f"sent a frame that is no {protocol} message ({type(error).__name__})") from error
