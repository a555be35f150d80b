"""Node ``scripted_operator``: stands where somebody with a teleoperation device would, for the emulated arm.

Opens and closes the gripper, for its calibration. Then begins an episode with ``skill_prompter/start`` as an operator
does, moves the arm (publishes what its controllers take, and each action as ArmCommand), ends the episode with
``skill_prompter/stop``, goes home; after the last one the process ends. A device of yours must publish what this node
publishes.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from rclpy.executors import Executor
from std_srvs.srv import Trigger

from world2act.node import COMMAND_OFFERED, ERROR, EVENT, OK, STATE_READER, World2ActNode, make, message_class
from world2act.outputs import OutputPublisher
from world2act.running import run_node
from world2act.topics import state_topics
from world2act_core.episodes import compose, fields
from world2act_core.episodes.messages import EPISODE_EVENT_TOPIC
from world2act_core.errors import World2ActError
from world2act_core.runtime.chunks import Hold, Track
from world2act_core.runtime.deadline import Deadlines
from world2act_core.runtime.outputs import OutputConverter
from world2act_core.runtime.safety import Measured
from world2act_core.simulators.emulator.operator import ScriptedOperator
from world2act_core.types import Array
from world2act_interfaces.msg import ArmCommand, EpisodeEvent

STREAMS = ("eef_position", "joint_positions")
ASK_AGAIN_S = 1.0
EVENT_WITHIN_S = 90.0  # the prompter itself waits a minute for the others


class ScriptedOperatorNode(World2ActNode):
    """Everything happens in the main thread: a generator that goes on at every control step."""

    def __init__(self) -> None:
        super().__init__("scripted_operator")
        self._embodiment = self.embodiment_parameter()
        self._episodes = self.parameter("episodes", 8, "how many to show", 1, 10_000)
        self._seed = self.parameter("seed", 0, "another seed shows other ones", 0, 2**31 - 1)
        self._converter = OutputConverter(self._embodiment, Measured(self._embodiment))
        self._state: dict[str, Array] = {}
        self._heard: list[int] = []

    def configure(self) -> None:
        self._operator = ScriptedOperator(self._embodiment, self._seed)
        self._commands = self.speak(ArmCommand, self._embodiment.action.topic, COMMAND_OFFERED)
        self._outputs = OutputPublisher(self, self._embodiment, lambda topic: topic)
        self._prompter = {
            name: self.until_cleanup(self.create_client(Trigger, f"skill_prompter/{name}"))
            for name in ("ready", "start", "stop")
        }

    def activate(self) -> None:
        for topic, kind in state_topics(self._embodiment).items():
            self.listen(message_class(kind), topic, functools.partial(self._on_state, topic), STATE_READER)
        self.listen(EpisodeEvent, EPISODE_EVENT_TOPIC, lambda event: self._heard.append(event.event), EVENT)
        self._deadlines = Deadlines(self._embodiment.step_s, time.monotonic())
        self._script = self._perform()

    def _on_state(self, topic: str, message: Any) -> None:
        for name in STREAMS:
            stream = self._embodiment.state[name]
            if stream.topic == topic and fields.carries(message, stream):
                self._state[name] = fields.state_value(message, stream)

    def spin_once(self, executor: Executor) -> None:
        if not self.active:
            super().spin_once(executor)
            return
        executor.spin_once(timeout_sec=self._deadlines.remaining(time.monotonic()))
        if not (self.active and self._deadlines.reached(time.monotonic())):
            return
        try:
            self.done = next(self._script, self) is self
        except Exception as error:  # the script cannot go on, whatever it was
            self.exit_code, self.done = 1, True
            if not isinstance(error, World2ActError):
                raise
            self.report(ERROR, str(error))

    # --- what an operator does, one control step a yield -------------------------------------------------------------
    def _perform(self) -> Iterator[None]:
        while len(self._state) < len(STREAMS):
            self.report(OK, "waiting for the arm's state")
            yield
        yield from self._ask("ready")
        yield from self._move(self._operator.exercise(*self._measured()), "opening and closing the gripper")
        for number in range(1, self._episodes + 1):
            yield from self._move(self._operator.way_home(*self._measured()), "going home")
            self._heard.clear()  # events of an earlier run are kept for whoever comes late
            yield from self._ask("start")
            yield from self._until(compose.START)
            yield from self._move(self._operator.episode(*self._measured()), f"episode {number} of {self._episodes}")
            yield from self._ask("stop")
            yield from self._until(compose.END)
            self.get_logger().info(f"episode {number} of {self._episodes} was shown")

    def _measured(self) -> tuple[Array, Array]:
        return self._state["eef_position"], self._state["joint_positions"]

    def _move(self, actions: Array, doing: str) -> Iterator[None]:
        """One command a control step, then one that holds: the arm is at rest between two ways."""
        for step, values in enumerate(actions):
            self.report(OK, doing, missed_deadlines=self._deadlines.missed)
            self._send(Track(0, step, values, self.seconds_now()))
            yield
        self._send(Hold("the operator lets go"))
        yield

    def _send(self, wanted: Track | Hold) -> None:
        now = self.get_clock().now().nanoseconds
        command, outgoing = self._converter.convert(wanted)
        self._outputs.send(outgoing, now)
        if isinstance(command, Track):
            message = compose.track_command(np.asarray(command.values), now, make=make)
        else:
            message = compose.hold_command(command.reason, now, make=make)
        self.publish(self._commands, message)

    def _ask(self, name: str) -> Iterator[None]:
        """Call a service of the prompter until it says yes."""
        client = self._prompter[name]
        while True:
            future, asked = client.call_async(Trigger.Request()), time.monotonic()
            while not future.done() and time.monotonic() - asked < ASK_AGAIN_S:
                yield
            if future.done() and future.result().success:
                return
            why = future.result().message if future.done() else "no answer"
            client.remove_pending_request(future)
            self.report(OK, f"skill_prompter/{name}: {why}")
            yield

    def _until(self, event: int) -> Iterator[None]:
        """The prompter has said that the episode began, or ended."""
        deadline = time.monotonic() + EVENT_WITHIN_S
        while event not in self._heard:
            if time.monotonic() > deadline:
                raise World2ActError(f"no episode began or ended within {EVENT_WITHIN_S:g} s: see skill_prompter's log")
            yield
        self._heard.clear()


def main() -> None:
    sys.exit(run_node(ScriptedOperatorNode))
