"""The one protocol behind which every policy stands."""

from __future__ import annotations

from typing import Protocol

from world2act_core.types import ActionChunk, Observation


class Policy(Protocol):
    """Observation and skill prompt in, action chunk in the embodiment's layout out."""

    cameras: tuple[str, ...]
    """Cameras whose images the policy needs in an observation."""

    def reset(self) -> None:
        """Forget the episode so far."""

    def act(self, observation: Observation, prompt: str) -> ActionChunk:
        """The next chunk, ``(M, A)``, finite and within the embodiment's range."""
