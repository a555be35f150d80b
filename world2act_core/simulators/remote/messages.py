"""What both sides say: JSON objects over a stream socket, each behind its length. Never pickle: a socket is a door.

A request is ``{"op": NAME, ...}``. An answer holds what the operation gives, or ``{"error": {"kind", "message"}}``.
Numbers survive JSON to the bit: Python writes the shortest decimal that reads back as the same float64. Arrays do not
travel here: ``arrays`` of a message says where in the shared memory they lie (see ``shared``).
"""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Mapping
from typing import Any, TypeVar

from world2act_core import errors
from world2act_core.errors import World2ActError

VERSION = 1
"""Of this protocol; both sides must speak the same one."""
LONGEST = 1 << 20
"""Bytes; a longer message is no message of ours."""
_LENGTH = struct.Struct("<I")

Value = TypeVar("Value")


class BadMessage(Exception):
    """What arrived is no message of this protocol; what follows on this socket means nothing."""


def send(connection: socket.socket, message: Mapping[str, Any], deadline: float | None = None) -> None:
    """Send a message.

    Args:
        deadline: of ``time.monotonic``; None waits for ever.

    Raises:
        TimeoutError: the other side did not take it until then.
        OSError: the other side is gone.
    """
    content = json.dumps(message, separators=(",", ":")).encode()
    connection.settimeout(_left(deadline))
    connection.sendall(_LENGTH.pack(len(content)) + content)


def receive(connection: socket.socket, deadline: float | None = None) -> dict[str, Any]:
    """The next message.

    Raises:
        EOFError: the other side is gone.
        TimeoutError: none came until then.
        BadMessage: what came is none.
        OSError: the connection broke.
    """
    content = _whole(connection, deadline)
    try:
        message = json.loads(content)
    except ValueError:
        raise BadMessage(f"{content[:40]!r} is not JSON") from None
    if not isinstance(message, dict):
        raise BadMessage(f"{content[:40]!r} is not an object")
    return message


def _whole(connection: socket.socket, deadline: float | None) -> bytes:
    """One message without its length, mostly by one system call: nobody says two before the other has answered."""
    got, end = b"", _LENGTH.size
    while len(got) < end:
        connection.settimeout(_left(deadline))
        part = connection.recv(1 << 16)
        if not part:
            raise EOFError
        got += part
        if len(got) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(got)
            end = _LENGTH.size + length
            if length > LONGEST or len(got) > end:
                raise BadMessage(f"{len(got)} bytes that claim to be a message of {length}")
    return got[_LENGTH.size :]


def _left(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def checked(message: Mapping[str, Any], name: str, *kinds: type[Value]) -> Value:
    """A field of a message, its kind checked. (A bool is no number.)

    Raises:
        World2ActError: it is missing or of another kind.
    """
    value = message.get(name)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        said = "is missing" if name not in message else f"is {value!r:.60}"
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise World2ActError(f"{message.get('op', 'message')!r:.40}: {name} {said}, expected {expected}")
    return value


def error_message(error: Exception) -> dict[str, Any]:
    """An answer that says what went wrong."""
    if isinstance(error, World2ActError):
        return {"error": {"kind": type(error).__name__, "message": str(error)}}
    return {"error": {"kind": "", "message": " ".join(f"{type(error).__name__}: {error}".split())}}


def error_from(answer: Mapping[str, Any], where: str) -> World2ActError | None:
    """The error that an answer holds, as the class that it was; None if it holds none.

    Args:
        where: who was asked what, for an error that is none of ours.
    """
    if "error" not in answer:
        return None
    said = answer["error"] if isinstance(answer["error"], dict) else {}
    kind, text = said.get("kind"), str(said.get("message", answer["error"]))
    known = getattr(errors, kind, None) if isinstance(kind, str) else None
    if isinstance(known, type) and issubclass(known, World2ActError):
        return known(text)
    return World2ActError(f"{where} failed ({text}): its log says where")
