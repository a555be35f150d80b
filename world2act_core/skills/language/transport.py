"""One HTTP POST, with its limits kept.

The standard library does this, because the endpoint needs no extra: the HTTP client that Hugging Face's libraries use
comes only with the extra ``language``, which is for local models.
"""

from __future__ import annotations

import http.client
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_RESPONSE = 1 << 20
"""Bytes; an answer with 30 k tokens of reasoning beside it stays below a quarter."""


@dataclass(frozen=True)
class Response:
    """Status, headers and body, whatever the status is. ``complete`` is False if the body passed ``MAX_RESPONSE``."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    complete: bool


class NoResponse(Exception):
    """No connection, a connection that broke, or a timeout; the message says which."""


def post(
    url: str, body: bytes, headers: Mapping[str, str], *, connect_s: float, read_s: float, deadline: float
) -> Response:
    """POST and read the response. Redirects are not followed.

    Args:
        connect_s: seconds until the connection (with TLS) stands.
        read_s: seconds of silence in which the server may think.
        deadline: on ``time.monotonic()``; looked at whenever something arrives, because a busy server may send blank
            lines for many minutes to keep the connection open.

    Raises:
        NoResponse: nothing, or not all of it, arrived in time.
    """
    request = urllib.request.Request(url, body, dict(headers), method="POST")
    # A proxy sees nothing of TLS, but all of a plain request, with the key: http is for this machine and goes direct.
    proxies = urllib.request.ProxyHandler(None if url.startswith("https:") else {})
    opener = urllib.request.build_opener(proxies, _Http(read_s), _Https(read_s), _AsItIs)
    try:
        with opener.open(request, timeout=connect_s) as response:
            return _read(response, deadline)
    except urllib.error.URLError as error:
        raise NoResponse(f"cannot connect: {error.reason}") from error
    except TimeoutError as error:
        raise NoResponse(f"nothing was heard for {read_s:g} s") from error
    except (OSError, http.client.HTTPException) as error:
        raise NoResponse(f"the connection broke: {type(error).__name__}") from error


def _read(response: Any, deadline: float) -> Response:
    body = b""
    while len(body) <= MAX_RESPONSE and (block := response.read1(1 << 16)):
        body += block
        if time.monotonic() > deadline:
            raise NoResponse("the answer was not complete when the time was up")
    return Response(response.status, response.headers, body[:MAX_RESPONSE], len(body) <= MAX_RESPONSE)


class _AsItIs(urllib.request.HTTPErrorProcessor):
    """Every status is handed back, redirects too: the key must reach no other host than the one that was named."""

    def http_response(self, request: urllib.request.Request, response: Any) -> Any:
        return response

    https_response = http_response


class _Http(urllib.request.HTTPHandler):
    def __init__(self, read_s: float) -> None:
        super().__init__()
        self.read_s = read_s

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_connection(http.client.HTTPConnection, self.read_s), request)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, read_s: float) -> None:
        super().__init__()
        self.read_s = read_s

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        connection = _connection(http.client.HTTPSConnection, self.read_s)
        return self.do_open(connection, request, context=ssl.create_default_context())


def _connection(base: type[http.client.HTTPConnection], read_s: float) -> Any:
    """urllib has one timeout for everything; once the connection stands, a model may think longer than that."""

    class Connection(base):  # type: ignore[misc, valid-type]
        def connect(self) -> None:
            super().connect()
            self.sock.settimeout(read_s)

    return Connection
