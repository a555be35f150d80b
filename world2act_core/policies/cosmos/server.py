"""Any policy of ours behind Cosmos Policy's protocol."""

from __future__ import annotations

import hmac
import http
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from world2act_core.errors import ContractError, World2ActError
from world2act_core.policies.cosmos.wire import ABOUT_PATH, FAILED, LARGEST, PATH, pack, unpack
from world2act_core.policies.serving import ServedPolicy, Server, log, said_of


class CosmosServer(Server):
    """Answers ``POST /act``; a request that is wrong gets "error", as the protocol says, and the reason is logged.

    Args:
        served: the policy; one that remembers its episode cannot be served, because nothing says when one begins.
        host, port: where it listens; port 0 takes a free one.
        token: that requests must bring as ``Authorization: Bearer TOKEN``, which is ours; "" asks for none.

    Raises:
        ContractError: the policy remembers its episode.
        World2ActError: the address cannot be bound.
    """

    def __init__(self, served: ServedPolicy, host: str, port: int, token: str = "") -> None:
        if served.policy.stateful:
            raise ContractError(
                "a policy that remembers its episode cannot be served by the Cosmos protocol, which has no reset: "
                "use --protocol gr00t"
            )
        try:
            self._server = ThreadingHTTPServer((host, port), _handler(served, token))
        except OSError as error:
            raise World2ActError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
        self._server.daemon_threads = True
        self.address = f"cosmos://{host}:{self._server.server_address[1]}"

    def serve(self) -> None:
        try:
            self._server.serve_forever(poll_interval=0.1)
        finally:
            self._server.server_close()

    def stop(self) -> None:
        self._server.shutdown()


def _handler(served: ServedPolicy, token: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body leave in one piece: two would wait for each other's receipt
        timeout = 60.0  # of silence: then the connection is closed, and a client that comes back opens a new one

        def do_GET(self) -> None:
            if self.path == ABOUT_PATH and self._allowed():
                self._say(http.HTTPStatus.OK, json.dumps(served.about).encode())
            elif self.path != ABOUT_PATH:
                self._say(http.HTTPStatus.NOT_FOUND, b'{"detail": "Not Found"}')

        def do_POST(self) -> None:
            if self.path != PATH:
                self.close_connection = True  # its body was not read
                self._say(http.HTTPStatus.NOT_FOUND, b'{"detail": "Not Found"}')
            elif self._allowed():
                self._say(http.HTTPStatus.OK, self._act())

        def _act(self) -> bytes:
            try:
                text = self.headers.get("Content-Length", "")
                if not text.isdigit() or int(text) > LARGEST:
                    self.close_connection = True
                    raise ContractError(f"a request must say its length, at most {LARGEST >> 20} MB")
                return pack(_answer(served, unpack(self.rfile.read(int(text)))))
            except Exception as error:  # noqa: BLE001  (whatever was sent or the policy did: the server lives on)
                said_of(error)
                return pack(FAILED)

        def _allowed(self) -> bool:
            given = self.headers.get("Authorization", "")
            if not token or hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
                return True
            self.close_connection = True
            self._say(http.HTTPStatus.UNAUTHORIZED, b'{"detail": "Unauthorized"}')
            return False

        def _say(self, status: http.HTTPStatus, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

        def log_message(self, format: str, *args: Any) -> None:
            log.debug(format, *args)

    return Handler


def _answer(served: ServedPolicy, request: Any) -> dict[str, Any]:
    if not isinstance(request, dict):
        raise ContractError("a request must be a map")
    mapping = served.mapping

    def given(keys: Any) -> dict[str, Any]:
        return {key: value[None] if isinstance(value := request[key], np.ndarray) else value
                for key in keys if key in request}  # fmt: skip

    reply = served.answer(given(mapping.images), given(mapping.state), [request.get(mapping.language, "")], 1)
    chunk = next(iter(reply.actions.values()))[0]
    return {"actions": list(chunk), "future_image_predictions": {}, "value_prediction": None,
            "identity": served.identity}  # fmt: skip
