"""A policy that is watched: what it answered and how long it took, for whoever evaluates it."""

from __future__ import annotations

import time

import numpy as np

from world2act_core.policies.protocol import Policy
from world2act_core.types import ActionChunk, Array, Observation


class WatchedPolicy(Policy):
    """Another policy, one episode long.

    Attributes:
        seconds: what every call took.
        answers: ``(H, A)`` of every call, as the policy gave them.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.cameras, self.horizon, self.streams = policy.cameras, policy.horizon, policy.streams
        self.stateful, self.metadata = policy.stateful, policy.metadata
        self.seconds: list[float] = []
        self.answers: list[Array] = []

    def reset(self) -> None:
        self._policy.reset()
        self.seconds, self.answers = [], []

    def act(self, observation: Observation, prompt: str) -> ActionChunk:
        began = time.perf_counter()
        chunk = self._policy.act(observation, prompt)
        self.seconds.append(time.perf_counter() - began)
        self.answers.append(chunk.actions)
        return chunk

    def commands(self, steps: int, chunk_length: int) -> Array | None:
        """``(steps, A)``: the first ``chunk_length`` steps of every answer, which is what is executed; None if the
        episode was not made of them."""
        executed = [answer[:chunk_length] for answer in self.answers]
        joined = np.concatenate(executed) if executed else np.empty((0, 0))
        return joined if len(joined) == steps else None
