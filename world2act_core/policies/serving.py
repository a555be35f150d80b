"""What our servers have in common: one policy behind a lock, shown requests through the protocol's mapping."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from world2act_core import __version__
from world2act_core.embodiment import Embodiment
from world2act_core.errors import ContractError, World2ActError
from world2act_core.policies.mapping import ModelMapping, observation_from
from world2act_core.policies.protocol import Policy
from world2act_core.types import Array

LARGEST_BATCH = 64
log = logging.getLogger("world2act.serve")


class Server(Protocol):
    """A policy server that has bound its address and serves when it is told to."""

    address: str
    """Where it listens, as an address that `open_policy` takes."""

    def serve(self) -> None:
        """Serve until `stop` is called."""

    def stop(self) -> None:
        """End `serve`, from another thread or a signal handler."""


@dataclass(frozen=True)
class Reply:
    """What came of one request: actions key → ``(B, H, D)`` float32, and the seconds that the policy took."""

    actions: dict[str, Array]
    policy_s: float


class ServedPolicy:
    """A policy as a protocol sees it.

    Args:
        policy: who acts. One request at a time reaches it.
        mapping: of the protocol and the policy's embodiment.
        identity: SHA-256 of what the policy is made of, for whoever must not mix it up; "" where nobody knows.

    Raises:
        ContractError: the policy needs a camera or stream that does not travel in this protocol, or its actions do not.
    """

    def __init__(self, policy: Policy, mapping: ModelMapping, identity: str = "") -> None:
        if mapping.fixed:
            raise ContractError(
                f"{mapping.file} fixes action dimensions, so it says what a model lacks and not all that a policy may "
                f"do: a server needs each in its actions"
            )
        self.policy, self.mapping, self.identity = policy, mapping, identity
        self.embodiment: Embodiment = mapping.embodiment
        self.images = mapping.image_keys(policy.cameras)
        self.state = mapping.state_keys(policy.streams)
        self.horizon = policy.horizon
        self._lock = threading.Lock()

    @property
    def about(self) -> dict[str, object]:
        """What a server says about itself to whoever asks."""
        return {
            "server": f"world2act {__version__}",
            "embodiment": self.embodiment.name,
            "action_horizon": self.horizon,
            "action_dim": self.embodiment.action.size,
            "images": list(self.images),
            "frames": self._frames(),
            "state": list(self.state),
            "stateful": self.policy.stateful,
            "identity": self.identity,
        }

    def _frames(self) -> dict[str, list[int]]:
        """Key → rows and columns that the policy sees best: what it asks for, else what its contract records."""
        asked = self.policy.metadata.get("images", {})
        frames = {}
        for key in self.images:
            camera = self.mapping.images[key].camera
            frames[key] = list(asked.get(camera, self.embodiment.cameras[camera].upright_size))
        return frames

    def reset(self) -> None:
        with self._lock:
            self.policy.reset()

    def answer(
        self, images: Mapping[str, Array], state: Mapping[str, Array], prompts: Sequence[str], batch: int
    ) -> Reply:
        """Actions for a batch of observations.

        Args:
            images: key → ``(B, H, W, 3)`` uint8; keys that the policy does not need are left aside.
            state: key → ``(B, D)``; as well.
            prompts: ``B`` texts.
            batch: ``B``.

        Raises:
            ContractError: something is missing or has another shape than the protocol's.
            World2ActError: the policy gives no chunk.
        """
        if not 1 <= batch <= LARGEST_BATCH:
            raise ContractError(f"a request has {batch} observations: expected 1 to {LARGEST_BATCH}")
        if len(prompts) != batch or not all(isinstance(prompt, str) for prompt in prompts):
            raise ContractError(f"{self.mapping.language} must hold {batch} text(s)")
        used_images = self._used("image", self.images, images, batch)
        used_state = self._used("state", self.state, state, batch)
        observations = [
            observation_from(
                self.mapping,
                {key: value[row] for key, value in used_images.items()},
                {key: value[row] for key, value in used_state.items()},
                time.time(),
            )
            for row in range(batch)
        ]
        with self._lock:
            began = time.perf_counter()
            chunks = self.policy.act_batch(observations, prompts)
            took = time.perf_counter() - began
        for chunk in chunks:
            self.embodiment.check_chunk(chunk, longest=self.horizon)
        return Reply(self.mapping.encode_actions(np.stack([chunk.actions for chunk in chunks])), took)

    def _used(self, kind: str, keys: Sequence[str], given: Mapping[str, Array], batch: int) -> dict[str, Array]:
        for key in keys:
            if key not in given:
                raise ContractError(f"a request has no {kind} {key}, which the policy needs")
            if not isinstance(given[key], np.ndarray) or given[key].shape[:1] != (batch,):
                shape = getattr(given[key], "shape", type(given[key]).__name__)
                raise ContractError(f"{kind} {key} is {shape}: expected {batch} of them in an array")
        return {key: given[key] for key in keys}


def said_of(error: Exception) -> str:
    """What a client is told of an error: the sentence of ours; of any other only its kind, the rest is for the log."""
    if isinstance(error, World2ActError):
        log.warning("a request was refused: %s", error)
        return str(error)
    log.error("a request failed", exc_info=error)
    return f"the server failed ({type(error).__name__}): see its log"
