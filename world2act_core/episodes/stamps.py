"""When what happened between a photon and the chunk of actions that answers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from world2act_core.episodes.fields import NS, stamp_ns

_APART_NS = 3600 * NS


@dataclass(frozen=True)
class ChunkStamps:
    """The stamps of an ActionChunk message, nanoseconds since 1970 by the policy node's clock.

    Attributes:
        observation: the observation that the chunk answers, by the clock of the robot's drivers (simulated time in
            lockstep, the policy's clock on a robot).
        images: camera → acquisition (the robot's clock), arrival at the policy.
        received: when the last part of the observation arrived.
        assembled: when the observation was synchronised and its images decoded.
        published: just before the chunk was published for the first time.
    """

    observation: int
    images: Mapping[str, tuple[int, int]]
    received: int
    assembled: int
    inference_start: int
    inference_end: int
    published: int


def chunk_stamps(message: Any) -> ChunkStamps:
    """The stamps of an ActionChunk, from a bag or live.

    Raises:
        ValueError: its arrays of cameras and their stamps differ in length.
    """
    acquired, received = map(stamp_ns, message.image_stamps), map(stamp_ns, message.image_received)
    pairs = zip(acquired, received, strict=True)
    return ChunkStamps(
        observation=stamp_ns(message.header.stamp),
        images=dict(zip(message.cameras, pairs, strict=True)),
        received=stamp_ns(message.received),
        assembled=stamp_ns(message.assembled),
        inference_start=stamp_ns(message.inference_start),
        inference_end=stamp_ns(message.inference_end),
        published=stamp_ns(message.published),
    )


def two_clocks(stamp: int, now: int) -> bool:
    """Whether a stamp is by another clock than ``now`` (nanoseconds): simulated time, not a clock that is slow."""
    return abs(now - stamp) > _APART_NS
