"""Any policy of ours behind openpi's protocol, so that openpi-client and what is built on it can use it unchanged."""

from __future__ import annotations

import hmac
import http
import threading
import time
from typing import Any

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from world2act_core.errors import ContractError, World2ActError
from world2act_core.policies.openpi.wire import LARGEST, pack, unpack
from world2act_core.policies.serving import ServedPolicy, Server, said_of

GOODBYE_S = 2.0
"""How long a new client waits for the last one's connection to be closed, of a policy that remembers its episode; and
how long this server, when it ends, waits for a connection to close."""


class OpenpiServer(Server):
    """Metadata first, then observations and actions in turn; a request that is wrong gets a text, and its connection
    ends. A new connection begins a new episode, because the protocol has no word for that.

    Args:
        served: the policy. One that remembers its episode serves one connection at a time.
        host, port: where it listens; port 0 takes a free one.
        token: that connections must bring as ``Authorization: Api-Key TOKEN``; "" asks for none.

    Raises:
        World2ActError: the address cannot be bound.
    """

    def __init__(self, served: ServedPolicy, host: str, port: int, token: str = "") -> None:
        self._served, self._token = served, token
        self._episode = threading.Lock()
        try:
            self._server = serve(
                self._converse,
                host,
                port,
                compression=None,
                max_size=LARGEST,
                process_request=self._admit,
                close_timeout=GOODBYE_S,
                ping_interval=None,  # a robot may think between two requests for as long as it wants
            )
        except OSError as error:
            raise World2ActError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
        self.address = f"openpi://{host}:{self._server.socket.getsockname()[1]}"

    def serve(self) -> None:
        self._server.serve_forever()

    def stop(self) -> None:
        self._server.shutdown()

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path == "/healthz":
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        given = request.headers.get("Authorization", "")
        if self._token and not hmac.compare_digest(given.encode(), f"Api-Key {self._token}".encode()):
            return connection.respond(http.HTTPStatus.UNAUTHORIZED, "Unauthorized: Invalid API key\n")
        return None

    def _converse(self, connection: ServerConnection) -> None:
        alone = self._served.policy.stateful
        if alone and not self._episode.acquire(timeout=GOODBYE_S):
            connection.send("the policy remembers its episode, and another client is in one: end that first")
            return
        try:
            self._served.reset()
            connection.send(pack(self._served.about))
            while True:
                self._answer(connection)
        except ConnectionClosed:
            return
        except Exception as error:  # noqa: BLE001  (whatever a stranger sent or the policy did: the server lives on)
            try:
                connection.send(said_of(error))
                connection.close(1011, "Internal server error")
            except ConnectionClosed:
                return
        finally:
            if alone:
                self._episode.release()

    def _answer(self, connection: ServerConnection) -> None:
        frame = connection.recv()
        began = time.perf_counter()
        request = unpack(frame if isinstance(frame, bytes) else frame.encode())
        if not isinstance(request, dict):
            raise ContractError("a request must be a map")
        mapping = self._served.mapping
        reply = self._served.answer(
            {key: _one(request[key]) for key in mapping.images if key in request},
            {key: _one(request[key]) for key in mapping.state if key in request},
            [request.get(mapping.language, "")],
            1,
        )
        answer: dict[str, Any] = {key: value[0] for key, value in reply.actions.items()}
        answer["server_timing"] = {"infer_ms": 1000 * (time.perf_counter() - began)}
        answer["identity"] = self._served.identity
        answer["policy_timing"] = {"infer_ms": 1000 * reply.policy_s}
        connection.send(pack(answer))


def _one(value: Any) -> Any:
    """A batch of one: the protocol has none."""
    return value[None] if isinstance(value, np.ndarray) else value
