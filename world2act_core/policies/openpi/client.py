"""A policy behind an openpi server: ``openpi://host:8000``."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from world2act_core.embodiment import Embodiment
from world2act_core.errors import ContractError, PolicyServerError
from world2act_core.policies.openpi.wire import LARGEST, PORT, pack, unpack
from world2act_core.policies.remote import Agreement, Answer, RemotePolicy, StaleConnection, left, seconds_told
from world2act_core.policies.server_address import ServerAddress, choice, parse_address
from world2act_core.types import Observation


class OpenpiPolicy(RemotePolicy):
    """Speaks to an openpi server. It executes ``M`` steps of a chunk before it asks again, as any policy here does."""

    protocol = "openpi"

    def __init__(self, address: ServerAddress, embodiment: Embodiment) -> None:
        self._open = contextlib.ExitStack()
        self._connection: ClientConnection | None = None
        self._tls = choice(address, "tls", ("false", "true")) == "true"
        self._server: dict[str, Any] = {}
        super().__init__(address, embodiment)
        self.metadata = {**self.metadata, "said": self._server}

    def _connect(self, deadline: float) -> None:
        self._disconnect()
        token = self.address.token()
        try:
            plain = socket.create_connection((self.address.host, self.address.port), left(deadline))
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # The library bounds waiting for an answer, but not sending: a server that no longer reads would hang us.
            seconds = struct.pack("ll", int(self.address.timeout_s), int(self.address.timeout_s % 1 * 1e6))
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, seconds)
            connecting = connect(
                f"{'wss' if self._tls else 'ws'}://{self.address.netloc}",
                sock=plain,
                compression=None,
                max_size=LARGEST,
                additional_headers={"Authorization": f"Api-Key {token}"} if token else None,
                open_timeout=left(deadline),
                close_timeout=0.2,
                ping_interval=None,  # a server that thinks does not answer pings; our own time-out bounds the wait
                proxy=None,
            )
            self._connection = self._open.enter_context(connecting)
        except (OSError, EOFError, WebSocketException) as error:
            raise self.fault(f"cannot be connected to: {_reason(error)}") from error

    def _disconnect(self) -> None:
        self._connection = None
        with contextlib.suppress(OSError, WebSocketException):
            self._open.close()

    def _agree(self, deadline: float) -> Agreement:
        """The first frame is the server's metadata; ours tells in it what openpi's leaves to be found out."""
        said = self._receive(deadline)
        self._server = said
        images, state = said.get("images"), said.get("state")
        if isinstance(images, list) and isinstance(state, list):
            self.must_know(images, state)
            self.heed(said)
        else:
            images, state = list(self.mapping.images), list(self.mapping.standard_state)
        horizon, size = said.get("action_horizon", 0), said.get("action_dim", 0)
        told = isinstance(horizon, int) and isinstance(size, int) and horizon > 0 and size > 0
        if told and size != self.embodiment.action.size:
            raise ContractError(
                f"{self.address} gives actions of {size} numbers, but {self.embodiment.name} has "
                f"{self.embodiment.action.size}: it is a policy for another robot"
            )
        return Agreement(tuple(images), tuple(state), self.mapping.language, horizon if told else 0, proven=told)

    def _restart(self, deadline: float) -> None:
        """openpi has no word for it. Where our own server serves a policy that remembers, a new connection says it."""
        if self.stateful:
            self._connect(deadline)
            self.heed(self._receive(deadline))

    def _ask(
        self, agreement: Agreement, observations: Sequence[Observation], prompts: Sequence[str], deadline: float
    ) -> Answer:
        answers = [self._infer(agreement, o, prompt, deadline) for o, prompt in zip(observations, prompts, strict=True)]
        whole = {}
        for key in self.mapping.actions:
            rows = [row for answer in answers if isinstance(row := answer.actions.get(key), np.ndarray)]
            if len(rows) == len(answers) and len({row.shape for row in rows}) == 1:
                whole[key] = np.stack(rows)
        parts = {part for answer in answers for part in answer.timing}
        told = {part: sum(answer.timing.get(part, 0.0) for answer in answers) for part in parts}
        return Answer(whole, told, answers[-1].identity)

    def _infer(self, agreement: Agreement, observation: Observation, prompt: str, deadline: float) -> Answer:
        request: dict[str, Any] = {key: self.mapping.encode_image(key, observation.images) for key in agreement.images}
        request |= {key: self.mapping.encode_state(key, observation.state) for key in agreement.state}
        request[agreement.language] = prompt
        assert self._connection is not None
        try:
            self._connection.send(pack(request))
        except (OSError, WebSocketException) as error:
            raise self.fault(f"cannot be sent to: {_reason(error)}", StaleConnection) from error
        said = self._receive(deadline)
        told = {part: seconds_told(said.get(f"{part}_timing"), "infer_ms", 0.001) for part in ("server", "policy")}
        return Answer(said, {part: seconds for part, seconds in told.items() if seconds}, said.get("identity", ""))

    def _receive(self, deadline: float) -> dict[str, Any]:
        assert self._connection is not None
        try:
            frame = self._connection.recv(left(deadline))
        except TimeoutError:
            raise self.fault("did not answer in time: is it running, and is the network up?") from None
        except (OSError, WebSocketException) as error:
            raise self.fault(f"closed the connection: {_reason(error)}", StaleConnection) from error
        if isinstance(frame, str):  # a traceback, whose last line says what it was; then the server closes
            raise self.fault(f"failed: {(frame.strip().splitlines() or ['without a word'])[-1]}")
        try:
            said = unpack(frame)
        except PolicyServerError as error:
            raise self.fault(str(error)) from error
        if not isinstance(said, dict):
            raise self.fault("answered something else than a map")
        return said


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def open_openpi(reference: str, embodiment: Embodiment) -> OpenpiPolicy:
    """``//host:8000`` → policy.

    Raises:
        World2ActError: as `RemotePolicy` does.
    """
    return OpenpiPolicy(parse_address("openpi", reference, PORT, ("tls",)), embodiment)
