"""A policy behind a GR00T server: ``gr00t://host:5555``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import zmq

from world2act_core.embodiment import Embodiment
from world2act_core.errors import ContractError, PolicyServerError
from world2act_core.policies.gr00t.wire import ABOUT, MODALITIES, PORT, ModalityConfig, new_socket, pack, unpack
from world2act_core.policies.remote import Agreement, Answer, RemotePolicy, left, seconds_told
from world2act_core.policies.server_address import ServerAddress, choice, parse_address
from world2act_core.types import Observation

NESTED, FLAT = "nested", "flat"


class Gr00tPolicy(RemotePolicy):
    """Speaks to a GR00T server; ``format=flat`` is for one that was started with the simulation wrapper."""

    protocol = "gr00t"

    def __init__(self, address: ServerAddress, embodiment: Embodiment) -> None:
        self._flat = choice(address, "format", (NESTED, FLAT)) == FLAT
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: zmq.Socket[Any] | None = None
        self._action_keys: tuple[str, ...] = ()
        super().__init__(address, embodiment)

    def close(self) -> None:
        super().close()
        self._context.term()

    def _connect(self, deadline: float) -> None:
        self._disconnect()
        self._socket = new_socket(self._context, zmq.REQ)
        self._socket.connect(f"tcp://{self.address.netloc}")

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close(linger=0)
            self._socket = None

    def _agree(self, deadline: float) -> Agreement:
        said = self._call("get_modality_config", None, deadline)
        if not isinstance(said, dict) or not all(isinstance(said.get(name), ModalityConfig) for name in MODALITIES):
            raise self.fault(f"does not say its {', '.join(MODALITIES)}: is it a GR00T N1.6 or N1.7 server?")
        video, state, action, language = (said[name] for name in MODALITIES)
        self._must_know("cameras", video.modality_keys, self.mapping.images)
        self._must_know("state keys", state.modality_keys, self.mapping.state)
        self._must_know("actions", action.modality_keys, self.mapping.actions)
        if missing := [key for key in self.mapping.actions if key not in action.modality_keys]:
            raise ContractError(f"{self.address} gives no action {missing[0]!r}, which {self.mapping.file} needs")
        for name in ("video", "state", "language"):
            if said[name].delta_indices != [0]:
                raise ContractError(
                    f"{self.address} wants {name} of the steps {said[name].delta_indices} around now, but an "
                    f"observation holds only now: use a policy without history"
                )
        if len(language.modality_keys) != 1:
            raise ContractError(f"{self.address} wants {len(language.modality_keys)} instructions: there is one")
        self._action_keys = tuple(action.modality_keys)
        greeting = self._call("ping", None, deadline)
        self.heed(greeting.get(ABOUT) if isinstance(greeting, dict) else None)
        return Agreement(
            tuple(video.modality_keys),
            tuple(state.modality_keys),
            language.modality_keys[0],
            len(action.delta_indices),
        )

    def _must_know(self, what: str, keys: Sequence[str], known: Mapping[str, Any]) -> None:
        if unknown := [key for key in keys if key not in known]:
            raise ContractError(
                f"{self.address} is a policy for other {what}: it has {', '.join(keys)}, but {self.mapping.file} "
                f"for {self.embodiment.name} knows {', '.join(known)}, not {unknown[0]}"
            )

    def _ask(
        self, agreement: Agreement, observations: Sequence[Observation], prompts: Sequence[str], deadline: float
    ) -> Answer:
        encode = self.mapping
        video = {
            key: np.stack([encode.encode_image(key, o.images) for o in observations])[:, None]
            for key in agreement.images
        }
        state = {
            key: np.stack([encode.encode_state(key, o.state) for o in observations])[:, None] for key in agreement.state
        }
        request: dict[str, Any]
        if self._flat:
            request = {f"video.{key}": value for key, value in video.items()}
            request |= {f"state.{key}": value for key, value in state.items()}
            request[agreement.language] = list(prompts)
        else:
            language = {agreement.language: [[prompt] for prompt in prompts]}
            request = {"video": video, "state": state, "language": language}
        said = self._call("get_action", {"observation": request, "options": None}, deadline)
        if not isinstance(said, (list, tuple)) or len(said) != 2 or not isinstance(said[0], dict):
            raise self.fault("did not answer with actions and information")
        actions, info = said
        prefix = "action." if self._flat else ""
        return Answer(
            {key.removeprefix(prefix): value for key, value in actions.items() if isinstance(value, np.ndarray)},
            _told(info),
            info.get("identity", "") if isinstance(info, dict) else "",
        )

    def _restart(self, deadline: float) -> None:
        self._call("reset", {"options": None}, deadline)

    def _call(self, endpoint: str, data: Mapping[str, Any] | None, deadline: float) -> Any:
        """One request, one reply, each within its time: a dead server must not hang the robot."""
        request: dict[str, Any] = {"endpoint": endpoint}
        if data is not None:
            request["data"] = data
        if token := self.address.token():
            request["api_token"] = token
        frame = self._exchange(pack(request), deadline)
        if frame == b"ERROR":
            raise self.fault(f"answered {endpoint} with ERROR: see its log")
        try:
            said = unpack(frame)
        except PolicyServerError as error:
            raise self.fault(str(error)) from error
        if isinstance(said, dict) and "error" in said:
            raise self.fault(f"refused {endpoint}{self._hint(endpoint)}: {said['error']}")
        return said

    def _exchange(self, frame: bytes, deadline: float) -> bytes:
        assert self._socket is not None
        try:
            self._socket.setsockopt(zmq.SNDTIMEO, round(1000 * left(deadline)))
            self._socket.send(frame)
            self._socket.setsockopt(zmq.RCVTIMEO, round(1000 * left(deadline)))
            answer: bytes = self._socket.recv()
            return answer
        except zmq.Again:
            raise self.fault("did not answer in time: is it running, and is the network up?") from None
        except zmq.ZMQError as error:
            raise self.fault(f"cannot be spoken to: {error}") from error

    def _hint(self, endpoint: str) -> str:
        """A server with the simulation wrapper refuses nested observations, and the other way round."""
        if endpoint != "get_action" or self.horizon:
            return ""
        other = NESTED if self._flat else FLAT
        return f" (a server of the other kind takes ?format={other})"


def _told(info: Any) -> dict[str, float]:
    """What our own server tells about itself; NVIDIA's tells nothing."""
    timing = info.get("timing") if isinstance(info, dict) else None
    told = {part: seconds_told(timing, f"{part}_s") for part in ("server", "policy")}
    return {part: seconds for part, seconds in told.items() if seconds}


def open_gr00t(reference: str, embodiment: Embodiment) -> Gr00tPolicy:
    """``//host:5555`` → policy.

    Raises:
        World2ActError: as `RemotePolicy` does.
    """
    return Gr00tPolicy(parse_address("gr00t", reference, PORT, ("format",)), embodiment)
