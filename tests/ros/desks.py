"""Whoever speaks to the command process: arm, prompter and policy; and the operator with stop, reset and dead-man."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from std_msgs.msg import Bool, Empty
from std_srvs.srv import Trigger

from tests.ros.support import FakeArm
from world2act.node import COMMAND, EMERGENCY, LATCHED, RECORD, STATE, make
from world2act_core.embodiment import Embodiment
from world2act_core.episodes import compose
from world2act_interfaces.msg import ActionChunk, ArmCommand, SkillPrompt

MOVE = np.full((40, 7), 0.25)  # two seconds: whatever interrupts it comes in the middle, also on a busy machine


class Desk:
    """Speaks to the command process as arm, prompter and policy."""

    def __init__(self, probe: Any, embodiment: Embodiment, commands: str = "arm_command") -> None:
        self.probe, self.embodiment = probe, embodiment
        self.arm = FakeArm(probe, embodiment)
        self._prompts = probe.node.create_publisher(SkillPrompt, "skill_prompt", LATCHED)
        self._chunks = probe.node.create_publisher(ActionChunk, "action_chunk", COMMAND)
        probe.listen(ArmCommand, commands, RECORD)
        self.commands: list[ArmCommand] = probe.heard[commands]
        probe.wait_ready("command")
        publishers = (self._prompts, self._chunks, *self.arm.publishers.values())
        read = [publisher for publisher in publishers if probe.node.count_subscribers(publisher.topic_name)]
        probe.wait(lambda: all(p.get_subscription_count() for p in read), 15, "the command process is connected")

    def prompt(self, episode: str, skill: str = "skill", stamp: float = 0.0) -> None:
        self._prompts.publish(compose.skill_prompt(episode, "task", skill, 0, 1, round(stamp * 1e9), make))

    def chunk(self, episode: str, stamp: float, actions: np.ndarray, sequence: int = 1, horizon: int = 4) -> None:
        message = ActionChunk(episode_id=episode, embodiment=self.embodiment.name, sequence=sequence)
        message.header = compose.header(round(stamp * 1e9), make=make)
        message.horizon, message.action_dim = horizon, 7
        message.data = np.asarray(actions, np.float32).reshape(-1).tolist()
        self._chunks.publish(message)

    def held_because(self, says: str) -> ArmCommand:
        """Wait for a hold that says so; the arm shows its state again and again, because prompt, state and chunk may
        overtake each other on their way and a state is answered only once."""
        shown, last = 0, 0.0

        def held() -> list[ArmCommand]:
            nonlocal shown, last
            if time.monotonic() - last > 0.5:
                self.arm.show_state(0.05 * shown)
                shown, last = shown + 1, time.monotonic()
            return [command for command in self.commands if says in command.reason]

        return self.probe.wait(held, 15, f"a hold that says {says!r}")[0]

    def next_command(self, seconds: float = 5.0) -> ArmCommand:
        count = len(self.commands)
        self.probe.wait(lambda: len(self.commands) > count, seconds, "a command")
        return self.commands[count]


class OperatorDesk(Desk):
    """The same by the wall clock, with the operator's switches and an arm that shows its state at 10 Hz."""

    def __init__(self, probe: Any, embodiment: Embodiment, commands: str = "arm_command") -> None:
        create = probe.node.create_publisher
        self._stops = create(Empty, "stop", EMERGENCY)
        self._dead_man = create(Bool, "dead_man", STATE)
        self._services = {name: probe.node.create_client(Trigger, f"command/{name}") for name in ("stop", "reset")}
        probe.listen(DiagnosticStatus, "command/status", LATCHED)
        super().__init__(probe, embodiment, commands)
        probe.node.create_timer(0.1, lambda: self.arm.show_state(time.time()))
        self.sent = 0

    def stop(self) -> None:
        self._stops.publish(Empty())

    def press(self, pressed: bool) -> None:
        self._dead_man.publish(Bool(data=pressed))

    def call(self, name: str) -> Trigger.Response:
        return self.probe.wait_for_reply(self._services[name], Trigger.Request(), 15)

    def move(self, episode: str = "e1", stamp: float = 0.0, actions: np.ndarray = MOVE) -> int:
        """A chunk that answers the present or ``stamp``; returns its number."""
        self.sent += 1
        self.chunk(episode, stamp or time.time(), actions, sequence=self.sent, horizon=len(actions))
        return self.sent

    def tracked(self, chunk: int) -> list[ArmCommand]:
        return [c for c in self.commands if c.mode == ArmCommand.TRACK and c.chunk == chunk]

    def wait_tracked(self, chunk: int, steps: int = 1) -> None:
        self.probe.wait(lambda: len(self.tracked(chunk)) >= steps, 15, f"step {steps} of chunk {chunk}")

    def wait_reason(self, says: str) -> ArmCommand:
        before = len(self.commands)
        return self.probe.wait(lambda: [c for c in self.commands[before:] if says in c.reason], 15, f"{says!r}")[0]

    def begin(self, episode: str = "e1") -> None:
        self.prompt(episode, stamp=time.time() - 0.001)
        self.wait_reason("waiting for")

    def status(self) -> DiagnosticStatus:
        return self.probe.heard["command/status"][-1]
