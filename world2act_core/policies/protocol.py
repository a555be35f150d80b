"""The one protocol behind which every policy stands."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

from world2act_core.errors import ContractError
from world2act_core.types import ActionChunk, Observation

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Policy(Protocol):
    """Observation and skill prompt in, action chunk in the embodiment's layout out.

    A policy derives from this class and fills in what is abstract; the rest has defaults.
    """

    cameras: tuple[str, ...]
    """Cameras whose images the policy needs in an observation."""
    horizon: int
    """Steps of the chunks that it gives: the embodiment's ``M``, or more if it looks further ahead."""
    streams: tuple[str, ...] | None = None
    """State streams that it reads; None: not known, so it is shown all there are."""
    stateful: bool = False
    """It remembers the episode so far, so it can act in one episode at a time only."""
    metadata: Mapping[str, Any] = NOTHING
    """What else is known about it, for reports: model, server, versions. Never a secret."""

    @abstractmethod
    def reset(self) -> None:
        """Forget the episode so far."""

    @abstractmethod
    def act(self, observation: Observation, prompt: str) -> ActionChunk:
        """The next chunk, ``(horizon, A)``, finite and within the embodiment's range.

        Raises:
            World2ActError: there is none; the arm holds, and may ask again.
        """

    def act_batch(self, observations: Sequence[Observation], prompts: Sequence[str]) -> list[ActionChunk]:
        """Chunks for several observations, each of another episode; one after the other unless a policy knows better.

        Raises:
            ContractError: several of a policy that remembers its episode.
        """
        if self.stateful and len(observations) > 1:
            raise ContractError(
                f"{type(self).__name__} remembers its episode, so it cannot act in {len(observations)} at a time"
            )
        return [self.act(observation, prompt) for observation, prompt in zip(observations, prompts, strict=True)]

    def close(self) -> None:
        """Free what the policy holds: connections, memory of a device."""
        return
