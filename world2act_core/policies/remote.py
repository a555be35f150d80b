"""What all policies behind a server have in common: agreeing first, checking every answer, coming back after a fault.

A subclass speaks its protocol: `_connect`, `_agree`, `_ask`, `_restart` and `_disconnect`. Whatever goes wrong becomes
one `PolicyServerError`; the next call connects anew, so that a server which died and came back is used again without a
restart of anything here.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from world2act_core.embodiment import Embodiment
from world2act_core.errors import ContractError, PolicyServerError, World2ActError, printable, without_key
from world2act_core.policies.identity import shortened
from world2act_core.policies.mapping import STILL_PROMPT, ModelMapping, load_mapping
from world2act_core.policies.protocol import Policy
from world2act_core.policies.server_address import ServerAddress
from world2act_core.types import LONGEST_CHUNK, ActionChunk, Array, Observation

LARGEST_SIDE = 4096
"""Rows or columns of an image that a server may ask for."""


@dataclass(frozen=True)
class Agreement:
    """What client and server agreed on before anything moves.

    Attributes:
        images, state: keys that the server wants.
        language: key of the prompt.
        horizon: steps of its chunks; 0: it does not say.
        proven: it has said all about its chunks; else it is asked for one to see.
    """

    images: tuple[str, ...]
    state: tuple[str, ...]
    language: str
    horizon: int
    proven: bool = False


@dataclass(frozen=True)
class Answer:
    """One answer of a server.

    Attributes:
        actions: key → ``(B, H, D)``.
        timing: what it says that it took, part → seconds.
        identity: of the policy that answered, where the server is one of ours; "" of others.
    """

    actions: Mapping[str, Array]
    timing: Mapping[str, float] = field(default_factory=dict)
    identity: Any = ""


class StaleConnection(PolicyServerError):
    """The server closed a connection that was good before: it was restarted, or grew tired of waiting for us."""


class RemotePolicy(Policy):
    """A policy behind a server, checked against the embodiment when it is opened.

    Args:
        address: of the server.
        embodiment: the arm that it will act for.

    Raises:
        PolicyServerError: the server is absent, refuses us, or does not answer like its protocol.
        ContractError: it is a policy for another robot, or looks less far ahead than the arm executes.
    """

    protocol: str
    identity: str = ""
    """SHA-256 of what the policy is made of; where the server does not say, what its address calls it, or ""."""

    def __init__(self, address: ServerAddress, embodiment: Embodiment) -> None:
        self.address, self.embodiment = address, embodiment
        self.mapping: ModelMapping = load_mapping(self.protocol, embodiment, address.mapping)
        self.identity = address.identity
        self._connected = self._restart_due = self._states_identity = False
        self._agreement: Agreement | None = None
        self.horizon = 0
        address.token()  # a secret that is not there is reported before anything is connected
        try:
            agreement = self._establish(time.monotonic() + address.connect_timeout_s)
            if not agreement.proven:
                agreement = self._find_out(agreement)
        except World2ActError:
            self.close()
            raise
        self._agreement, self.horizon = agreement, agreement.horizon
        self.cameras = tuple(self.mapping.images[key].camera for key in agreement.images)
        parts = [part for key in agreement.state for part in self.mapping.state[key].parts]
        self.streams = tuple(dict.fromkeys(part.stream for part in parts))
        self.metadata = {
            "protocol": self.protocol,
            "server": str(address),
            "images": self.mapping.frame_sizes(agreement.images),
            "identity": self.identity,
        }

    # --- to be filled in ---------------------------------------------------------------------------------------------
    @abstractmethod
    def _connect(self, deadline: float) -> None:
        """Open the connection; ``deadline`` on ``time.monotonic()``."""

    @abstractmethod
    def _agree(self, deadline: float) -> Agreement:
        """Ask what the server wants and check it; raise ContractError if it does not fit."""

    @abstractmethod
    def _ask(
        self, agreement: Agreement, observations: Sequence[Observation], prompts: Sequence[str], deadline: float
    ) -> Answer:
        """One request; raise PolicyServerError, through `fault`, if it fails."""

    def _restart(self, deadline: float) -> None:
        """Tell the server that a new episode begins."""

    @abstractmethod
    def _disconnect(self) -> None:
        """Drop the connection, if there is one, at once and in whatever state it is."""

    # --- the policy --------------------------------------------------------------------------------------------------
    def reset(self) -> None:
        """A new episode. The server hears of it with the next request, so an absent one is no error here."""
        self._restart_due = True

    def act(self, observation: Observation, prompt: str) -> ActionChunk:
        return self.act_batch([observation], [prompt])[0]

    def act_batch(self, observations: Sequence[Observation], prompts: Sequence[str]) -> list[ActionChunk]:
        """Chunks for several observations, in one request where the protocol can.

        Raises:
            PolicyServerError: no answer in time, or one that is none; the next call connects anew.
            ContractError: an answer of another shape than agreed on, or not finite.
        """
        began = time.perf_counter()
        try:
            actions, told = self._answered(observations, prompts)
        except World2ActError:
            self._drop()
            raise
        timing = {"round_trip": time.perf_counter() - began, **told}
        return [
            ActionChunk(chunk, observation.stamp, prompt, timing)
            for chunk, observation, prompt in zip(actions, observations, prompts, strict=True)
        ]

    def close(self) -> None:
        self._drop()

    # --- within ------------------------------------------------------------------------------------------------------
    def _answered(
        self, observations: Sequence[Observation], prompts: Sequence[str]
    ) -> tuple[Array, Mapping[str, float]]:
        deadline = time.monotonic() + self.address.timeout_s
        old = self._connected
        try:
            answer = self._asked(observations, prompts, deadline)
        except StaleConnection:
            if not old:
                raise
            self._drop()
            answer = self._asked(observations, prompts, deadline)
        if self._states_identity and answer.identity and answer.identity != self.identity:
            raise self._another()  # some connections outlive the server that they were made to
        return self._checked(answer, len(observations), self.horizon), answer.timing

    def _asked(self, observations: Sequence[Observation], prompts: Sequence[str], deadline: float) -> Answer:
        if not self._connected:
            self._establish(deadline)
        assert self._agreement is not None
        if self._restart_due:
            self._restart(deadline)
            self._restart_due = False
        return self._ask(self._agreement, observations, prompts, deadline)

    def _establish(self, deadline: float) -> Agreement:
        """Connect and agree; after a reconnection the server must be what it was."""
        self._connect(deadline)
        self._connected = True
        agreement = self._agree(deadline)
        if agreement.horizon and not self.embodiment.chunk_length <= agreement.horizon <= LONGEST_CHUNK:
            raise ContractError(
                f"{self.address} answers chunks of {agreement.horizon} steps, but {self.embodiment.name} executes "
                f"{self.embodiment.chunk_length} and takes at most {LONGEST_CHUNK}"
            )
        before = self._agreement
        if before is not None and (agreement.horizon or before.horizon, agreement.images, agreement.state) != (
            before.horizon, before.images, before.state,
        ):  # fmt: skip
            raise self._another()
        return agreement

    def _find_out(self, agreement: Agreement) -> Agreement:
        """Ask for one chunk, of a black scene and a robot at rest, to see that the answer fits; then forget it."""
        deadline = time.monotonic() + self.address.connect_timeout_s
        answer = self._ask(agreement, [self.mapping.still()], [STILL_PROMPT], deadline)
        horizon = self._checked(answer, 1, agreement.horizon).shape[1]
        self._restart_due = True
        return Agreement(agreement.images, agreement.state, agreement.language, horizon)

    def _checked(self, answer: Answer, batch: int, horizon: int) -> Array:
        """The answer as ``(B, H, A)`` float32 of the embodiment."""
        try:
            actions = self.mapping.decode_actions(answer.actions)
        except ContractError as error:
            raise ContractError(f"{self.address} answered what cannot be executed: {error}") from None
        steps = horizon or (actions.shape[1] if actions.ndim == 3 else 0)
        fits = actions.ndim == 3 and actions.shape[:2] == (batch, steps)
        if not fits or not self.embodiment.chunk_length <= steps <= LONGEST_CHUNK:
            wanted = horizon or f"{self.embodiment.chunk_length} to {LONGEST_CHUNK}"
            raise ContractError(
                f"{self.address} answered actions of shape {actions.shape}, expected {batch} chunk(s) of {wanted} "
                f"steps of {self.embodiment.action.size}"
            )
        return actions

    def _drop(self) -> None:
        self._connected = False
        self._disconnect()

    def must_know(self, images: Sequence[str], state: Sequence[str]) -> None:
        """Raise ContractError if a server of ours asks for keys that the mapping does not have."""
        unknown = [key for key in images if not isinstance(key, str) or key not in self.mapping.images]
        unknown += [key for key in state if not isinstance(key, str) or key not in self.mapping.state]
        if unknown:
            raise ContractError(
                f"{self.address} is a policy for another robot: it wants {unknown[0]!r}, which {self.mapping.file} "
                f"for {self.embodiment.name} does not know"
            )

    def heed(self, about: Any) -> None:
        """What only a server of ours says of itself: which policy it serves, that it remembers, how it sees images.

        Raises:
            PolicyServerError: it says nonsense.
            ContractError: it serves another policy than before.
        """
        if not isinstance(about, dict):
            return
        self.stateful = about.get("stateful") is True
        said, before = about.get("identity"), self.identity
        self._states_identity = bool(said)
        self.identity = (printable(said) if isinstance(said, str) else "") or self.address.identity
        if self.address.identity not in ("", self.identity):
            raise ContractError(
                f"{self.address} says that it serves {shortened(self.identity)}, its address says "
                f"{self.address.identity}: leave identity out, the server knows"
            )
        if before and self.identity != before:
            self.identity = before
            raise self._another()
        sizes: dict[str, tuple[int, int]] = {}
        frames = about.get("frames")
        for key, size in frames.items() if isinstance(frames, dict) else ():
            whole = isinstance(size, (list, tuple)) and all(isinstance(number, int) for number in size)
            if (
                key not in self.mapping.images
                or not whole
                or len(size) != 2
                or not 0 < min(size) <= max(size) <= LARGEST_SIDE
            ):
                raise self.fault(f"wants an image {str(key)[:40]!r} of size {str(size)[:40]}, which there is not")
            sizes[key] = (size[0], size[1])
        self.mapping = self.mapping.resized(sizes)

    def _another(self) -> ContractError:
        return ContractError(f"{self.address} came back with another policy than before: restart to use it")

    def fault(self, reason: str, kind: type[PolicyServerError] = PolicyServerError) -> PolicyServerError:
        """The error to raise, with foreign words made fit for a message and our token taken out of them."""
        return kind(f"{self.address} {printable(without_key(reason, self.address.token()))}")


def left(deadline: float) -> float:
    """Seconds until a deadline on ``time.monotonic()``, never less than a millisecond."""
    return max(0.001, deadline - time.monotonic())


def seconds_told(said: Any, name: str, unit: float = 1.0) -> float:
    """A duration in what a server says about itself, in seconds; 0 where it says none or nonsense."""
    value = said.get(name) if isinstance(said, dict) else None
    if not isinstance(value, (int, float)) or not 0 <= value < 1e9:
        return 0.0
    return float(value) * unit
