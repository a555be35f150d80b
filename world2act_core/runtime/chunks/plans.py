"""The three ways from chunks to single actions. Time is counted in executed steps: a hold executes nothing.

A chunk is taken with ``skip``: how many steps were executed since its observation. Its action ``skip`` is the next one;
those before it are for a time that has passed.

==============  ==============================================================================================
``open_loop``   ``M`` steps of a chunk, then the next one (World2Act, section 4). The arm holds while the policy thinks.
``ensemble``    every step is the weighted mean of all chunks that foresaw it: temporal ensembling (Zhao et al. 2023,
                arXiv 2304.13705, section IV-C). The policy is asked as often as it can answer.
``real_time``   the policy thinks while its last chunk goes on; where old and new overlap they are blended. The weights
                are the soft mask of real-time chunking (Black et al. 2025, arXiv 2506.07339, eq. 5). Its inpainting,
                which makes the *new* chunk fit, needs a flow or diffusion policy; this blend works with any policy.
==============  ==============================================================================================

Inference is hidden in ``real_time`` only if a chunk is longer than what is executed while the next one is computed, and
there is something to blend only if a part of it is left by then. A policy whose horizon is exactly ``M`` gives up the
end of each chunk for that: with ``d`` steps of delay ``M - d`` are executed before the next inference begins.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from world2act_core.embodiment import Embodiment
from world2act_core.errors import ContractError
from world2act_core.runtime.chunks.commands import Track
from world2act_core.types import Array

OPEN_LOOP, ENSEMBLE, REAL_TIME = MODES = ("open_loop", "ensemble", "real_time")
ENSEMBLE_DECAY = 0.01  # ACT's m: weights exp(-m i), i = 0 for the oldest prediction


class Plan(Protocol):
    """Chunks in, actions out. ``steps`` of a chunk can be executed at most."""

    def steps(self, horizon: int) -> int: ...

    def take(self, sequence: int, stamp: float, actions: Array, skip: int) -> None:
        """A new chunk, ``(H, A)``, whose actions from ``skip`` on are still to come."""

    def next(self) -> Track | None:
        """The next action; None when there is none."""

    def clear(self) -> None: ...


class OpenLoop:
    """One chunk, its first ``M`` steps."""

    def __init__(self, chunk_length: int) -> None:
        self._length = chunk_length
        self.clear()

    def steps(self, horizon: int) -> int:
        return min(horizon, self._length)

    def clear(self) -> None:
        self._actions: Array | None = None

    def take(self, sequence: int, stamp: float, actions: Array, skip: int) -> None:
        self._sequence, self._stamp, self._actions, self._next = sequence, stamp, actions[: self._length], skip

    def next(self) -> Track | None:
        if self._actions is None or self._next >= len(self._actions):
            return None
        step = self._next
        self._next += 1
        return Track(self._sequence, step, self._actions[step], self._stamp)


class Ensemble:
    """Every chunk that still has something to say about the step.

    Args:
        decay: ``m`` in the weights ``exp(-m i)``, ``i = 0`` for the oldest; 0 weighs all alike.
    """

    def __init__(self, decay: float = ENSEMBLE_DECAY) -> None:
        self._decay = decay
        self.clear()

    def steps(self, horizon: int) -> int:
        return horizon

    def clear(self) -> None:
        self._chunks: list[tuple[int, Array]] = []  # executed steps at which it began, actions; oldest first
        self._executed = 0

    def take(self, sequence: int, stamp: float, actions: Array, skip: int) -> None:
        self._sequence, self._stamp = sequence, stamp
        self._chunks.append((self._executed - skip, actions))

    def next(self) -> Track | None:
        self._chunks = [(begin, a) for begin, a in self._chunks if self._executed - begin < len(a)]
        if not self._chunks:
            return None
        foreseen = [actions[self._executed - begin] for begin, actions in self._chunks]
        weights = np.exp(-self._decay * np.arange(len(foreseen)))
        values = (weights / weights.sum()) @ np.asarray(foreseen, np.float64)
        step = self._executed - self._chunks[-1][0]
        self._executed += 1
        return Track(self._sequence, step, values.astype(np.float32), self._stamp)


class RealTime:
    """One plan; a new chunk is blended into what is left of it."""

    def __init__(self) -> None:
        self.clear()

    def steps(self, horizon: int) -> int:
        return horizon

    def clear(self) -> None:
        self._actions: Array = np.empty((0, 0), np.float32)
        self._next = 0

    def take(self, sequence: int, stamp: float, actions: Array, skip: int) -> None:
        left = self._actions[self._next :]
        overlap = min(len(left), len(actions) - skip)
        blended = actions.copy()
        if overlap:
            keep = soft_mask(len(left))[:overlap, None]
            blended[skip : skip + overlap] += keep * (left[:overlap] - actions[skip : skip + overlap])
        self._sequence, self._stamp, self._actions, self._next = sequence, stamp, blended, skip

    def next(self) -> Track | None:
        if self._next >= len(self._actions):
            return None
        step = self._next
        self._next += 1
        return Track(self._sequence, step, self._actions[step], self._stamp)


def soft_mask(left: int) -> Array:
    """Weight of the old plan at each of its ``left`` steps, ``(left,)`` float32, falling towards 0.

    ``c (e^c - 1) / (e - 1)`` with ``c`` falling linearly from just below 1 (Black et al. 2025, eq. 5, without the part
    that is frozen because it is executed during inference: here the new chunk is there already).
    """
    c = np.arange(left, 0, -1) / (left + 1)
    return (c * np.expm1(c) / (math.e - 1)).astype(np.float32)


def check_mode(mode: str, embodiment: Embodiment) -> None:
    """Raise ContractError for a mode that does not exist or whose means would mean nothing on this robot."""
    if mode not in MODES:
        raise ContractError(f"there is no execution mode {mode!r}; there are {', '.join(MODES)}")
    if mode != OPEN_LOOP and "quaternion_xyzw" in embodiment.action.units:
        raise ContractError(f"{embodiment.name}: mode {mode} averages actions, which quaternions do not allow")


def make_plan(mode: str, embodiment: Embodiment) -> Plan:
    """The plan of an execution mode.

    Raises:
        ContractError: no such mode, or not for this robot.
    """
    check_mode(mode, embodiment)
    if mode == ENSEMBLE:
        return Ensemble()
    return RealTime() if mode == REAL_TIME else OpenLoop(embodiment.chunk_length)
