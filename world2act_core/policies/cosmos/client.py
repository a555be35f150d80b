"""A policy behind a Cosmos Policy server: ``cosmos://host:8777``."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Sequence
from typing import Any

import numpy as np

from world2act_core.embodiment import Embodiment
from world2act_core.errors import PolicyServerError
from world2act_core.policies.cosmos.wire import ABOUT_PATH, FAILED, LARGEST, PATH, PORT, pack, unpack
from world2act_core.policies.remote import Agreement, Answer, RemotePolicy, StaleConnection, left
from world2act_core.policies.server_address import ServerAddress, choice, parse_address
from world2act_core.types import Array, Observation


class CosmosPolicy(RemotePolicy):
    """Speaks to a Cosmos Policy server. The protocol has no token; ``token_env`` is for our server, or a proxy."""

    protocol = "cosmos"

    def __init__(self, address: ServerAddress, embodiment: Embodiment) -> None:
        self._connection: http.client.HTTPConnection | None = None
        self._tls = choice(address, "tls", ("false", "true")) == "true"
        super().__init__(address, embodiment)

    def _connect(self, deadline: float) -> None:
        self._disconnect()
        host, port, wait = self.address.host, self.address.port, left(deadline)
        if self._tls:
            context = ssl.create_default_context()
            self._connection = http.client.HTTPSConnection(host, port, timeout=wait, context=context)
        else:
            self._connection = http.client.HTTPConnection(host, port, timeout=wait)
        try:
            self._connection.connect()
        except OSError as error:
            raise self.fault(f"cannot be connected to: {error}") from error

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _agree(self, deadline: float) -> Agreement:
        """NVIDIA's server says nothing about itself; ours does."""
        images, state = tuple(self.mapping.images), self.mapping.standard_state
        status, body = self._exchange("GET", ABOUT_PATH, None, deadline)
        if status == http.HTTPStatus.UNAUTHORIZED:
            raise self.fault("refuses us: name the environment variable with its token, ?token_env=NAME")
        about: Any = None
        if status == http.HTTPStatus.OK:
            try:
                about = json.loads(body)
            except ValueError:
                about = None
        if isinstance(about, dict) and isinstance(about.get("images"), list) and isinstance(about.get("state"), list):
            images, state = tuple(about["images"]), tuple(about["state"])
            self.must_know(images, state)
            self.heed(about)
        return Agreement(images, state, self.mapping.language, 0)

    def _ask(
        self, agreement: Agreement, observations: Sequence[Observation], prompts: Sequence[str], deadline: float
    ) -> Answer:
        key = next(iter(self.mapping.actions))
        answers = [self._infer(agreement, o, prompt, deadline) for o, prompt in zip(observations, prompts, strict=True)]
        if len({chunk.shape for chunk, _ in answers}) != 1:
            raise self.fault("answers chunks of different shapes")
        return Answer({key: np.stack([chunk for chunk, _ in answers])}, identity=answers[-1][1])

    def _infer(self, agreement: Agreement, observation: Observation, prompt: str, deadline: float) -> tuple[Array, Any]:
        """A chunk ``(H, A)``, and which policy says it answered."""
        request: dict[str, Any] = {key: self.mapping.encode_image(key, observation.images) for key in agreement.images}
        request |= {key: self.mapping.encode_state(key, observation.state) for key in agreement.state}
        request[agreement.language] = prompt
        status, body = self._exchange("POST", PATH, pack(request), deadline)
        if status != http.HTTPStatus.OK:
            raise self.fault(f"answered {PATH} with HTTP status {status}")
        try:
            said = unpack(body)
        except PolicyServerError as error:
            raise self.fault(str(error)) from error
        if said == FAILED:
            raise self.fault("answered 'error', which is all that it says: see its log")
        actions = said.get("actions") if isinstance(said, dict) else None
        try:
            return np.asarray(actions, np.float32), said.get("identity", "") if isinstance(said, dict) else ""
        except (ValueError, TypeError):
            raise self.fault("answered actions that are no list of vectors") from None

    def _exchange(self, method: str, path: str, body: bytes | None, deadline: float) -> tuple[int, bytes]:
        """One request and its whole answer by the deadline, however slowly it trickles."""
        assert self._connection is not None
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if token := self.address.token():
            headers["Authorization"] = f"Bearer {token}"
        try:
            self._limit(deadline)
            self._connection.request(method, path, body, headers)
            self._limit(deadline)
            response = self._connection.getresponse()
            answer = b""
            while True:
                self._limit(deadline)
                if not (block := response.read1(1 << 18)):
                    response.close()  # read1 forgets to, and the connection would take no second request
                    return response.status, answer
                answer += block
                if len(answer) > LARGEST:
                    raise self.fault(f"answered more than {LARGEST >> 20} MB")
                if left(deadline) <= 0.001:
                    raise TimeoutError
        except TimeoutError:
            raise self.fault("did not answer in time: is it running, and is the network up?") from None
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise self.fault(f"broke the connection: {reason}", StaleConnection) from error

    def _limit(self, deadline: float) -> None:
        assert self._connection is not None
        if self._connection.sock is not None:
            self._connection.sock.settimeout(left(deadline))


def open_cosmos(reference: str, embodiment: Embodiment) -> CosmosPolicy:
    """``//host:8777`` → policy.

    Raises:
        World2ActError: as `RemotePolicy` does.
    """
    return CosmosPolicy(parse_address("cosmos", reference, PORT, ("tls",)), embodiment)
