"""What the arm was last seen to do: joint positions and the end effector's pose, as plain floats."""

from __future__ import annotations

import math
from typing import Any

from world2act_core.embodiment import Embodiment, StateStream
from world2act_core.episodes import fields
from world2act_core.errors import ContractError
from world2act_core.runtime.freshness import why_stale

NEEDED = ("joint_positions", "eef_position", "eef_orientation")
UNIT_TOLERANCE = 0.05  # of a quaternion's length; an all-zero one, "not known" to some drivers, is no orientation
SPEED_WINDOW_S = 0.04  # a speed from two neighbouring samples of a fast driver would be mostly noise


class Measured:
    """Takes the messages of the state topics that the safety filter needs.

    Attributes:
        topics: to subscribe to.
        joints: rad, of stream ``joint_positions``; empty before anything came.
        position: ``(x, y, z)`` m, of stream ``eef_position``; empty if there is none.
        orientation: quaternion ``(x, y, z, w)``, of stream ``eef_orientation``; empty if there is none.
        speed: of the end effector, m/s, over at least ``SPEED_WINDOW_S``.
    """

    def __init__(self, embodiment: Embodiment) -> None:
        self._streams = {name: embodiment.state[name] for name in NEEDED if name in embodiment.state}
        self.topics = tuple(dict.fromkeys(stream.topic for stream in self._streams.values()))
        self._by_topic = {t: [s for s in self._streams.values() if s.topic == t] for t in self.topics}
        self._refused: dict[str, str] = {}
        self.forget()

    def forget(self) -> None:
        """Nothing has been seen."""
        self.joints: list[float] = []
        self.position: list[float] = []
        self.orientation: list[float] = []
        self.speed = 0.0
        self._stamps: dict[str, float] = {}  # by stream
        self._received: dict[str, float] = {}
        self._announced: set[str] = set()  # topics that came since the last complete instant
        self._instant = math.nan
        self._reference: tuple[float, list[float]] = (-math.inf, [])

    def add(self, topic: str, message: Any, monotonic: float) -> bool:
        """A message of one of ``topics``; any other is passed over.

        Returns:
            True if every topic has now come with this message's stamp, once each.

        Raises:
            ContractError: the message contradicts the contract; none of it is taken.
        """
        streams = [stream for stream in self._by_topic.get(topic, []) if fields.carries(message, stream)]
        if not streams:
            return False  # another publisher on the same topic
        try:
            rows = [_row(message, stream) for stream in streams]
        except ContractError as error:
            self._refused[topic] = str(error)
            raise
        self._refused.pop(topic, None)
        stamp = fields.stamp_s(message.header.stamp)
        for stream, row in zip(streams, rows, strict=True):
            self.set(stream.name, row, stamp, monotonic)
        if stamp != self._instant:
            self._instant = stamp
            self._announced.clear()
        self._announced.add(topic)
        if len(self._announced) < len(self.topics):
            return False
        self._announced.clear()
        return True

    def set(self, stream: str, values: list[float], stamp: float, monotonic: float) -> None:
        """One stream's newest row."""
        self._stamps[stream], self._received[stream] = stamp, monotonic
        if stream == "joint_positions":
            self.joints = values
        elif stream == "eef_orientation":
            self.orientation = values
        else:
            self.position = values
            self._measure_speed(stamp, values)

    def _measure_speed(self, stamp: float, position: list[float]) -> None:
        since, start = self._reference
        if stamp < since or not start:  # the clock began anew
            self._reference, self.speed = (stamp, position), 0.0
        elif stamp - since >= SPEED_WINDOW_S:
            self._reference, self.speed = (stamp, position), math.dist(position, start) / (stamp - since)

    def fault(self, now: float | None, monotonic: float, max_age_s: float) -> str:
        """Why the arm's state is not known, or ""; see ``freshness.why_stale``."""
        for name, stream in self._streams.items():
            if stream.topic in self._refused:
                return self._refused[stream.topic]
            if name not in self._received:
                return f"{_label(stream)}: nothing has been received"
            why = why_stale(self._stamps[name], self._received[name], now, monotonic, max_age_s)
            if why:
                return f"{_label(stream)}: {why}"
        return ""


def _row(message: Any, stream: StateStream) -> list[float]:
    """The stream's values; an orientation must be one, because steps are added to it and what comes out leaves."""
    row: list[float] = fields.state_value(message, stream).tolist()
    if stream.name == "eef_orientation" and abs((length := math.hypot(*row)) - 1.0) > UNIT_TOLERANCE:
        raise ContractError(f"{_label(stream)}: the quaternion's length is {length:.3g}, not 1")
    return row


def _label(stream: StateStream) -> str:
    return f"{stream.name} on {stream.topic}"
