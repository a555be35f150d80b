"""Positions as displacements (ours): how far an action leads from where the arm stood when its chunk began.

Video shows how far things moved, and hardly where an arm is. Where a contract's actions say where to go (joint
positions, a pose), adapters and residual therefore go by the difference to the measured state, in units of what a chunk
usually moves; where actions are displacements already, by the actions as they are. A quaternion is taken as it is, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from world2act_core.embodiment.contract import Embodiment
from world2act_core.errors import ContractError
from world2act_core.types import Array

LEAST_UNIT = 1e-3
"""In action units: a dimension that moves less does not move."""


def placed_dimensions(embodiment: Embodiment) -> list[int]:
    """The action dimensions that say where to go, of which the state says where the arm is."""
    layout = embodiment.action
    if layout.is_delta:
        return []
    return [layout.names.index(name) for name in _places(embodiment) if name in layout.names]


def may_rest(embodiment: Embodiment) -> bool:
    """Whether every dimension but the gripper's has a displacement of 0, at which the arm stays where it stands."""
    layout = embodiment.action
    return layout.is_delta or {*placed_dimensions(embodiment), embodiment.gripper.index} == set(range(layout.size))


def standing(embodiment: Embodiment, state: Mapping[str, Any]) -> Array:
    """State streams ``(..., D)`` each → ``(..., A)`` float32: the action that leads to where the arm stands already, 0
    in dimensions that no stream tells of."""
    layout = embodiment.action
    measured = np.asarray(state[standing_stream(embodiment)], np.float32)
    found = np.zeros((*measured.shape[:-1], layout.size), np.float32)
    for place, name in enumerate(_places(embodiment)):
        if name in layout.names:
            dim = layout.names.index(name)
            found[..., dim] = measured[..., place] / layout.scale[dim]
    return found


def standing_stream(embodiment: Embodiment) -> str:
    """The state stream that says where the arm stands."""
    return "joint_positions" if embodiment.action.kind.startswith("joint") else "eef_position"


def _places(embodiment: Embodiment) -> tuple[str, ...]:
    """Names of the action dimensions whose places the stream of ``standing`` holds, in its order."""
    stream = embodiment.state.get(standing_stream(embodiment))
    if stream is None:
        return ()
    return stream.joints if standing_stream(embodiment) == "joint_positions" else ("x", "y", "z")


@dataclass(frozen=True)
class Displacement:
    """Between actions and what adapters and residual go by.

    Attributes:
        units: of each action dimension, in action units; 0 for a dimension that is taken as it is. Empty: all are.
    """

    units: tuple[float, ...] = ()

    @staticmethod
    def between(embodiment: Embodiment, actions: Array, standing: Array | None) -> Displacement:
        """With the root mean square of what chunks ``(N, M, A)`` move from where the arm stood ``(N, A)`` as units: a
        joint that always stands a little off its command is no large displacement then."""
        placed = placed_dimensions(embodiment)
        if not placed or standing is None:
            return Displacement()
        moves = np.sqrt(np.square(actions - standing[:, None]).mean((0, 1)))
        units = np.zeros(embodiment.action.size)
        units[placed] = np.maximum(moves[placed], LEAST_UNIT)
        return Displacement(tuple(map(float, units)))

    def of(self, actions: Array, standing: Array | None) -> Array:
        """Action chunks ``(..., M, A)`` from arms that stood at ``(..., A)`` → displacements ``(..., M, A)``.

        Raises:
            ContractError: it is not known where they stood.
        """
        return (actions - self._from(standing)) / self.step if self.units else actions

    def back(self, displacements: Array, standing: Array | None) -> Array:
        """The inverse of ``of``."""
        return displacements * self.step + self._from(standing) if self.units else displacements

    @property
    def step(self) -> Array:
        """``(A,)`` float32: how far 1 leads in each dimension, in action units."""
        units = np.asarray(self.units, np.float32)
        return np.where(units > 0, units, 1).astype(np.float32)

    def _from(self, standing: Array | None) -> Array:
        if standing is None:
            raise ContractError("displacements are from where the arm stood, and that is not known of these chunks")
        return np.where(np.asarray(self.units) > 0, standing, 0).astype(np.float32)[..., None, :]
