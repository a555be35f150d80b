"""State streams as a hand at work would log them, told as a story: move, close, open, wait."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from world2act_core.skills.types import Streams
from world2act_core.types import Array

OPEN, EMPTY = 0.08, 0.001
"""Metres between the fingers of a Panda, fully open and closed on nothing."""
FINGERS_M_S, HAND_M_S = 0.2, 0.2
"""How fast fingers and hand move."""
LAG = 1
"""Control steps between a command to the gripper and the first motion of the fingers."""


class Tape:
    """A recording in the making. Every method records steps and returns the number of the step reached.

    Args:
        width: metres between the fingers in the beginning.
        at: metres, where the hand is in the beginning.
    """

    def __init__(self, width: float = OPEN, at: tuple[float, float, float] = (0, 0, 0.3), step_s: float = 0.05) -> None:
        self.step_s = step_s
        self._width, self._position, self._yaw = [width], [np.array(at, float)], [0.0]
        self._told: list[bool] = []
        self._closing = False

    @property
    def step(self) -> int:
        return len(self._width) - 1

    def move(self, *by: float, speed: float = HAND_M_S) -> int:
        """Move the hand by ``(x, y, z)`` metres."""
        begin, way = self._position[-1], np.array(by, float)
        steps = max(1, round(float(np.linalg.norm(way)) / speed / self.step_s))
        for number in range(1, steps + 1):
            self._record(position=begin + way * number / steps)
        return self.step

    def turn(self, radians: float, steps: int = 20) -> int:
        """Turn the hand about its fingers."""
        begin = self._yaw[-1]
        for number in range(1, steps + 1):
            self._record(yaw=begin + radians * number / steps)
        return self.step

    def wait(self, steps: int) -> int:
        for _ in range(steps):
            self._record()
        return self.step

    def close(self, onto: float) -> int:
        """Close until the fingers stop, at the step that is returned; then wait for the grip to settle."""
        self._closing = True
        self.wait(LAG)
        stopped = self._fingers(onto)
        self.wait(8)
        return stopped

    def open(self, to: float = OPEN) -> int:
        """Let go, at the step that is returned: the last one before the fingers move."""
        self._closing = False
        free = self.wait(LAG)
        self._fingers(to)
        return free

    def slip(self) -> int:
        """What is held slips out, from the step that is returned on."""
        lost = self.step
        self._fingers(EMPTY)
        return lost

    def squeeze(self, width: float) -> int:
        """Something from outside moves the fingers; nobody told them to."""
        return self._fingers(width)

    def streams(self) -> Streams:
        half = np.array(self._yaw) / 2
        told = np.array(self._told, bool)
        commands = np.zeros((self.step, 7))
        commands[:, 6] = np.where(told, 1.0, -1.0)
        return Streams(
            width=np.array(self._width),
            fully_open=OPEN,
            position=np.array(self._position),
            orientation=np.column_stack([np.cos(half), np.sin(half), 0 * half, 0 * half]),
            step_s=self.step_s,
            commands=commands,
            gripper_command=told,
        )

    def _fingers(self, width: float) -> int:
        stride = FINGERS_M_S * self.step_s
        while abs(self._width[-1] - width) > 1e-9:
            self._record(width=self._width[-1] + float(np.clip(width - self._width[-1], -stride, stride)))
        return self.step

    def _record(self, width: float | None = None, position: Array | None = None, yaw: float | None = None) -> None:
        self._width.append(self._width[-1] if width is None else width)
        self._position.append(self._position[-1] if position is None else position)
        self._yaw.append(self._yaw[-1] if yaw is None else yaw)
        self._told.append(self._closing)


def pick_and_place(tape: Tape, onto: float = 0.03, carry: float = 0.3) -> tuple[int, int]:
    """Down, grasp, up, along y, down, release, up: the steps of grasp and release."""
    tape.move(0, 0, -0.2)
    grasp = tape.close(onto)
    tape.move(0, 0, 0.15)
    tape.move(0, carry, 0)
    tape.move(0, 0, -0.15)
    release = tape.open()
    tape.move(0, 0, 0.2)
    return grasp, release


def without_commands(streams: Streams) -> Streams:
    """The same as an action-free video."""
    return replace(streams, commands=None, gripper_command=None)


def trembling(streams: Streams, seed: int = 0) -> Streams:
    """The same with 1 mm of noise on the width, and now and then a sample that is altogether wrong."""
    rng = np.random.default_rng(seed)
    width = streams.width + rng.uniform(-0.001, 0.001, streams.width.shape)
    wrong = np.arange(5, len(width) - 5, 11)
    width[wrong] = rng.uniform(0, OPEN, wrong.shape)
    return replace(streams, width=np.abs(width))
