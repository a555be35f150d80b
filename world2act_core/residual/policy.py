"""Frozen base + residual as one policy. No torch here: the residual may as well be an exported graph."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np

from world2act_core.embodiment import Embodiment
from world2act_core.embodiment.displacement import Displacement, standing, standing_stream
from world2act_core.errors import RunError
from world2act_core.policies.protocol import Policy
from world2act_core.policies.seen import Inputs, seen_arrays
from world2act_core.types import ActionChunk, Array, Observation

_log = logging.getLogger(__name__)


class Corrects(Protocol):
    """A residual that is ready to act: ``residual.network.Residual``, or a graph of ``residual.engine``.

    Attributes:
        units: of the displacements that it goes by; empty for actions as they are (see ``embodiment.displacement``).
        overrules: whether it says the whole action, whatever the base's is.
    """

    @property
    def units(self) -> tuple[float, ...]: ...

    @property
    def overrules(self) -> bool: ...

    def correct(self, base: Array, proprio: Array, frames: Array) -> Array:
        """Base chunk ``(B, M, A)``, proprioception ``(B, P)``, frames uint8 ``(B, S, V S, 3)`` → ``(B, M, A)``."""


class PostTrainedPolicy(Policy):
    """a_final = a_base + f_theta(s), clamped to the embodiment's range (World2Act, section 3.3).

    A base that is overruled anyway is not asked: a large one takes longer to answer than everything else together.

    Args:
        base: any policy; it is not changed.
        residual: in evaluation mode; or one for each skill, by prompt.
        inputs: what the residual sees; None takes the ``config`` of a compact base.
        strength: multiplies the residual; 0 gives the base policy bit for bit.
        strict: with a residual for each skill: whether a prompt that none was trained for is an error. Else the base
            acts alone there, and ``alone`` says why.

    Attributes:
        alone: why the base acted alone in the last chunk; "" where it did not.
    """

    def __init__(
        self,
        base: Policy,
        residual: Corrects | Mapping[str, Corrects],
        embodiment: Embodiment,
        strength: float = 1.0,
        *,
        inputs: Inputs | None = None,
        strict: bool = False,
    ) -> None:
        self.base, self.embodiment, self.strength, self.strict = base, embodiment, strength, strict
        self.inputs: Inputs = base.config if inputs is None else inputs  # type: ignore[attr-defined]
        self.horizon, self.stateful = embodiment.chunk_length, base.stateful  # a base may look further ahead
        self.metadata = base.metadata
        self.cameras = tuple(dict.fromkeys((*base.cameras, *self.inputs.cameras)))
        self._any: Corrects | None = None if isinstance(residual, Mapping) else residual
        by_skill = residual if isinstance(residual, Mapping) else {}
        placed = any(one.units for one in (*by_skill.values(), *filter(None, [self._any])))
        seen = (*self.inputs.streams, *[standing_stream(embodiment)] * placed)
        self.streams = None if base.streams is None else tuple(dict.fromkeys((*base.streams, *seen)))
        self._skills = {spoken(prompt): one for prompt, one in by_skill.items()}
        self.alone = ""
        self._nothing = np.zeros((self.horizon, embodiment.action.size), np.float32)

    def reset(self) -> None:
        self.base.reset()

    def close(self) -> None:
        self.base.close()

    def act(self, observation: Observation, prompt: str) -> ActionChunk:
        """The base's chunk, corrected.

        Raises:
            RunError: no residual knows the skill, and ``strict``.
        """
        residual = self._residual(prompt) if self.strength else None
        if residual is not None and residual.overrules and self.strength == 1.0:
            chunk = ActionChunk(self._nothing, observation.stamp, prompt)
        else:
            chunk = self.base.act(observation, prompt)
        executed = chunk.actions[: self.horizon]
        if residual is None:
            return replace(chunk, actions=executed)
        correction = self._correction(residual, executed, observation)
        actions = self.embodiment.clamp(executed + np.float32(self.strength) * correction)
        return ActionChunk(actions, chunk.stamp, prompt, chunk.timing)

    def _correction(self, residual: Corrects, chunk: Array, observation: Observation) -> Array:
        """Of a chunk ``(M, A)``, in action units, whatever the residual goes by."""
        frames, proprio = seen_arrays(observation, self.inputs, self.embodiment)
        if not residual.units:
            return residual.correct(chunk[None], proprio, frames)[0]
        displacement = Displacement(residual.units)
        told = displacement.of(chunk, standing(self.embodiment, observation.state))
        corrected: Array = displacement.step * residual.correct(told[None], proprio, frames)[0]
        return corrected

    def _residual(self, prompt: str) -> Corrects | None:
        found = self._any or self._skills.get(spoken(prompt))
        reason = ""
        if found is None:
            reason = f"no residual was trained for {prompt!r}; there are {', '.join(map(repr, sorted(self._skills)))}"
            if self.strict:
                raise RunError(reason)
            if reason != self.alone:
                _log.warning("%s: the base acts alone", reason)
        self.alone = reason
        return found


def spoken(prompt: str) -> str:
    """A prompt as it is compared: case, spaces and a full stop say nothing."""
    return " ".join(prompt.casefold().split()).rstrip(".")
