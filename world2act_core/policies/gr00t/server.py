"""Any policy of ours behind NVIDIA's GR00T protocol, so that its clients and evaluations can use it unchanged."""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import zmq

from world2act_core.errors import ContractError, World2ActError
from world2act_core.policies.gr00t.wire import ABOUT, ModalityConfig, new_socket, pack, unpack
from world2act_core.policies.serving import ServedPolicy, Server, said_of
from world2act_core.types import Array

POLL_MS = 100


class Gr00tServer(Server):
    """Answers one request at a time, nested and flat ones alike; a request that is wrong gets an error and no more.

    Args:
        served: the policy.
        host, port: where it listens; port 0 takes a free one.
        token: that requests must carry; "" asks for none.

    Raises:
        World2ActError: the address cannot be bound.
    """

    def __init__(self, served: ServedPolicy, host: str, port: int, token: str = "") -> None:
        self._served, self._token, self._stop = served, token, threading.Event()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = new_socket(self._context, zmq.REP)
        try:
            self._socket.bind(f"tcp://{host}:{port or '*'}")
        except zmq.ZMQError as error:
            self._close()
            raise World2ActError(f"cannot listen on {host}:{port}: {error}") from error
        bound = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.address = f"gr00t://{host}:{bound.rpartition(':')[2]}"

    def serve(self) -> None:
        try:
            while not self._stop.is_set():
                if self._socket.poll(POLL_MS):
                    frame: bytes = self._socket.recv()
                    self._socket.send(self._reply(frame))
        finally:
            self._close()

    def stop(self) -> None:
        self._stop.set()

    def _close(self) -> None:
        self._socket.close(linger=200)  # the last answer, to `kill`, may still be on its way
        self._context.term()

    def _reply(self, frame: bytes) -> bytes:
        began = time.perf_counter()
        try:
            request = unpack(frame)
            if not isinstance(request, dict):
                raise ContractError("a request must be a map with endpoint and data")
            given = str(request.get("api_token", ""))
            if self._token and not hmac.compare_digest(given.encode(), self._token.encode()):
                raise ContractError("Unauthorized: Invalid API token")
            return pack(self._handle(request.get("endpoint", "get_action"), request.get("data") or {}, began))
        except Exception as error:  # noqa: BLE001  (whatever a stranger sent or the policy did: the server lives on)
            return pack({"error": said_of(error)})

    def _handle(self, endpoint: Any, data: Any, began: float) -> Any:
        if not isinstance(data, dict):
            raise ContractError("data must be a map")
        if endpoint == "ping":
            return {"status": "ok", "message": "Server is running", ABOUT: self._served.about}
        if endpoint == "get_modality_config":
            return self._modalities()
        if endpoint == "reset":
            self._served.reset()
            return {}
        if endpoint == "get_action":
            return self._act(data.get("observation"), began)
        if endpoint == "kill":
            self.stop()
            return None
        raise ContractError(f"unknown endpoint {str(endpoint)[:40]!r}")

    def _modalities(self) -> dict[str, ModalityConfig]:
        now, served = [0], self._served
        return {
            "video": ModalityConfig(now, list(served.images)),
            "state": ModalityConfig(now, list(served.state)),
            "action": ModalityConfig(list(range(served.horizon)), list(served.mapping.actions)),
            "language": ModalityConfig(now, [served.mapping.language]),
        }

    def _act(self, observation: Any, began: float) -> list[Any]:
        if not isinstance(observation, dict) or not all(isinstance(key, str) for key in observation):
            raise ContractError("get_action needs data.observation, a map")
        flat = not any(isinstance(observation.get(name), dict) for name in ("video", "state", "language"))
        images, state, prompts = self._flat(observation) if flat else self._nested(observation)
        reply = self._served.answer(
            {key: _now(f"video {key}", value, 5) for key, value in images.items() if key in self._served.images},
            {key: _now(f"state {key}", value, 3) for key, value in state.items() if key in self._served.state},
            prompts,
            len(prompts),
        )
        actions = {f"action.{key}" if flat else key: value for key, value in reply.actions.items()}
        timing = {"policy_s": reply.policy_s, "server_s": time.perf_counter() - began}
        return [actions, {"timing": timing, "identity": self._served.identity}]

    def _nested(self, observation: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], list[Any]]:
        parts = [observation.get(name, {}) for name in ("video", "state", "language")]
        if not all(isinstance(part, dict) for part in parts):
            raise ContractError("observation must hold the maps video, state and language")
        said = parts[2].get(self._served.mapping.language)
        rows: list[Any] = list(said) if isinstance(said, (list, tuple)) else [None]
        if not all(isinstance(row, (list, tuple)) and len(row) == 1 for row in rows):
            raise ContractError(f"language {self._served.mapping.language} must be a list of lists of one text")
        return parts[0], parts[1], [row[0] for row in rows]

    def _flat(self, observation: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], list[Any]]:
        said = observation.get(self._served.mapping.language)
        if not isinstance(said, (list, tuple)):
            raise ContractError(f"observation must hold {self._served.mapping.language}, a list of texts")
        video, state = (
            {key.removeprefix(kind): value for key, value in observation.items() if key.startswith(kind)}
            for kind in ("video.", "state.")
        )
        return video, state, list(said)


def _now(what: str, value: Any, dimensions: int) -> Array:
    """``(B, 1, ...)`` → ``(B, ...)``: a policy of ours sees now and no history."""
    if not isinstance(value, np.ndarray) or value.ndim != dimensions or value.shape[1] != 1:
        shape = getattr(value, "shape", type(value).__name__)
        raise ContractError(f"{what} is {shape}: expected {dimensions} dimensions, the second of size 1")
    return value[:, 0]
