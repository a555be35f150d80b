"""An arm and its cameras whose clock, ``/clock``, belongs to the test: faults of time by the second, at any speed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rosgraph_msgs.msg import Clock

from tests.ros.support import FakeArm, Probe
from world2act.node import LATCHED, RECORD, make
from world2act_core.embodiment import Embodiment
from world2act_core.episodes import compose, fields
from world2act_interfaces.msg import ActionChunk, ArmCommand, SkillPrompt

TICK_S = 0.02
FRAME_TICKS = 5  # 10 Hz
NODES = ("policy", "command")
EXECUTED = "is executed and no newer one has come"  # why the arm holds when the policy says nothing more


class Stage:
    """Every ``TICK_S`` of the machine, if it is fast enough, the stage's clock goes on by as much.

    Attributes:
        now: the stage's clock; set it to make the clock jump.
        shows: camera → from the present to the stamps of the images that it shows now; change it to make a camera fail.
        commands, chunks: everything heard.
    """

    def __init__(self, probe: Probe, embodiment: Embodiment, nodes: tuple[str, ...] = NODES) -> None:
        self.probe, self.embodiment, self.now = probe, embodiment, 1000.0
        self.arm = FakeArm(probe, embodiment)
        self.shows: dict[str, Callable[[float], list[float]]] = {}
        self.mend()
        self._clock = probe.node.create_publisher(Clock, "/clock", 1)
        self._prompts = probe.node.create_publisher(SkillPrompt, "skill_prompt", LATCHED)
        probe.listen(ArmCommand, embodiment.action.topic, RECORD)
        probe.listen(ActionChunk, "action_chunk", RECORD)
        if "/diagnostics" not in probe.heard:
            probe.listen(DiagnosticArray, "/diagnostics", RECORD)
        self.commands: list[ArmCommand] = probe.heard[embodiment.action.topic]
        self.chunks: list[ActionChunk] = probe.heard["action_chunk"]
        self._ticks, self._episodes = itertools.count(), itertools.count(1)
        probe.node.create_timer(TICK_S, self._tick)
        for name in nodes:
            probe.wait_ready(name)

    def mend(self) -> None:
        """Every camera shows the present."""
        self.shows = dict.fromkeys(self.embodiment.cameras, lambda now: [now])

    def _tick(self) -> None:
        self.now += TICK_S
        sec, nanosec = fields.split_ns(round(self.now * 1e9))
        message = Clock()
        message.clock.sec, message.clock.nanosec = sec, nanosec
        self._clock.publish(message)
        self.arm.show_state(self.now)
        if next(self._ticks) % FRAME_TICKS == 0:
            for name, show in self.shows.items():
                for stamp in show(self.now):
                    self.arm.show_images(stamp, name)

    def begin(self) -> str:
        """A new episode."""
        episode = f"e{next(self._episodes)}"
        self._prompts.publish(compose.skill_prompt(episode, "task", "skill", 0, 1, round(self.now * 1e9), make))
        return episode

    def end(self) -> None:
        self._prompts.publish(SkillPrompt())
        self.wait_hold("no episode is running")

    def wait_tracked(self, chunks: int = 1) -> list[ArmCommand]:
        """Until so many further chunks move the arm; returns what was commanded from now on."""
        began = len(self.commands)

        def new() -> list[ArmCommand]:
            return [c for c in self.commands[began:] if c.mode == ArmCommand.TRACK]

        # The first that is seen may have begun before.
        self.probe.wait(lambda: len({c.chunk for c in new()}) > chunks, 60, f"{chunks} further chunks move the arm")
        return self.commands[began:]

    def wait_hold(self, says: str) -> ArmCommand:
        """Until the arm is told from now on to hold for this reason."""
        began = len(self.commands)
        return self.probe.wait(lambda: [c for c in self.commands[began:] if says in c.reason], 60, f"hold: {says!r}")[0]

    def wait_said(self, name: str, says: str) -> None:
        """Until a node's diagnostics say so from now on."""
        heard: list[Any] = self.probe.heard["/diagnostics"]
        began = len(heard)

        def said() -> bool:
            return any(s.name == name and says in s.message for array in heard[began:] for s in array.status)

        self.probe.wait(said, 60, f"{name} says {says!r}")

    def still(self, seconds: float) -> None:
        """Fails if anything moves the arm within so many seconds of the stage's clock."""
        began, until = len(self.commands), self.now + seconds
        self.probe.wait(lambda: self.now >= until, 60, "the stage's clock goes on")
        assert not [c for c in self.commands[began:] if c.mode == ArmCommand.TRACK], "something moved the arm"
