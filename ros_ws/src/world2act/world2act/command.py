"""Node ``command``: action chunks → one command a control step, in a process of its own.

Subscribes: skill_prompt, action_chunk, the embodiment's state topics that a command needs. Publishes: ArmCommand on the
embodiment's action topic, which says what was done and why, and what the contract's ``output`` names for the arm.
"""

from __future__ import annotations

import functools
import sys
import threading
import time
from typing import Any

import numpy as np

from world2act.node import (
    COMMAND,
    COMMAND_OFFERED,
    LATCHED,
    OK,
    STATE_READER,
    WARN,
    World2ActNode,
    make,
    message_class,
    run_node,
)
from world2act.outputs import OutputPublisher
from world2act.topics import state_topics
from world2act_core.episodes import compose, fields
from world2act_core.episodes.messages import ACTION_CHUNK_TOPIC, SKILL_PROMPT_TOPIC
from world2act_core.runtime.chunks import Track
from world2act_core.runtime.commander import Answer, Arrival, LockstepCommander, WallCommander
from world2act_core.runtime.deadline import DeadlineThread
from world2act_core.runtime.outputs import MeasuredState, OutputConverter
from world2act_core.types import ActionChunk
from world2act_interfaces.msg import ActionChunk as ActionChunkMessage
from world2act_interfaces.msg import ArmCommand, SkillPrompt

SHORT_HOLD_S = 1.0


class CommandNode(World2ActNode):
    """Asks the commander what to send: per state of the arm (``clock:=state``) or per control period (``wall``)."""

    def __init__(self) -> None:
        super().__init__("command")
        self._embodiment = self.embodiment_parameter()
        self._clock_kind = self.parameter("clock", "state", "state: one command a state (lockstep); wall: control rate")
        self._hold_after_s = self.parameter("hold_after_s", 1.0, "lockstep: wait this long for a chunk", 0.05, 60.0)
        self._state_timeout_s = self.parameter("state_timeout_s", 0.5, "wall: hold without a state for", 0.05, 10.0)
        self._max_age_s = self.parameter("max_age_s", 2.0, "wall: refuse chunks that answer older images", 0.05, 60.0)
        self._lock = threading.Lock()  # the commander is used by callbacks and by the deadline thread
        self._thread: DeadlineThread | None = None
        self._state_stamp: Any = None
        self._holding_since: float | None = None

    def configure(self) -> None:
        self._publisher = self.speak(ArmCommand, self._embodiment.action.topic, COMMAND_OFFERED)
        self._outputs = OutputPublisher(self, self._embodiment)

    def activate(self) -> None:
        self._measured = MeasuredState(self._embodiment, self._state_timeout_s)
        self._converter = OutputConverter(self._embodiment, self._measured)
        if self._clock_kind == "wall":
            self._wall: WallCommander | None = WallCommander(self._embodiment, self._state_timeout_s, self._max_age_s)
            self._commander: Any = self._wall
        else:
            self._wall, self._commander = None, LockstepCommander(self._embodiment, self._hold_after_s)
            self.every(0.1, self._poll)
        self.listen(SkillPrompt, SKILL_PROMPT_TOPIC, self._on_prompt, LATCHED)
        self.listen(ActionChunkMessage, ACTION_CHUNK_TOPIC, self._on_chunk, COMMAND)
        topics = state_topics(self._embodiment)
        self._clock_stream = next(iter(self._embodiment.state))  # its messages say when the arm was last heard of
        needed = {self._embodiment.state[name].topic for name in (self._clock_stream, *self._converter.streams)}
        for topic in needed:
            callback = functools.partial(self._on_state, topic)
            self.listen(message_class(topics[topic]), topic, callback, STATE_READER)
        if self._wall is not None:
            self._thread = DeadlineThread(self._embodiment.step_s, self._tick)
            self._thread.start()

    def deactivate(self) -> None:
        if self._thread is not None:
            self._thread.stop()
            self._thread = None

    def _on_prompt(self, prompt: SkillPrompt) -> None:
        with self._lock:
            self._commander.on_prompt(prompt.episode_id, prompt.skill, fields.stamp_s(prompt.header.stamp))
        self._poll()

    def _on_chunk(self, message: ActionChunkMessage) -> None:
        with self._lock:
            self._commander.on_chunk(arrival(message))
        self._poll()

    def _on_state(self, topic: str, message: Any) -> None:
        with self._lock:
            if self._clock_stream in self._measured.update(topic, message, time.monotonic()):
                self._state_stamp = message.header.stamp
                self._commander.on_state(fields.stamp_s(message.header.stamp), time.monotonic())
        self._poll()

    def _poll(self) -> None:
        """Lockstep: whatever came may have made a command due."""
        if self._wall is not None:
            return
        with self._lock:
            answer = self._commander.poll(time.monotonic())
        if answer is not None:
            self._publish(answer, fields.stamp_ns(self._state_stamp))

    def _tick(self) -> None:
        """Wall clock: every control period, in the deadline thread."""
        now_ns = self.get_clock().now().nanoseconds
        with self._lock:
            answer = self._commander.tick(fields.ns_to_seconds(now_ns), time.monotonic())
        self._publish(answer, now_ns)

    def _publish(self, answer: Answer, stamp_ns: int) -> None:
        with self._lock:
            command, outgoing = self._converter.convert(answer.command, time.monotonic())
        self._outputs.send(outgoing, stamp_ns)
        missed = self._thread.missed if self._thread else 0
        if isinstance(command, Track):
            message = compose.track_command(command.values, stamp_ns, command.chunk, command.step, make=make)
            self._holding_since = None
            self.report(OK, "tracking", chunk=command.chunk, missed_deadlines=missed)
        else:
            message = compose.hold_command(command.reason, stamp_ns, make=make)
            self._holding_since = self._holding_since or time.monotonic()
            # By the wall clock every chunk is followed by a short hold; that is not worth a warning.
            level = WARN if time.monotonic() - self._holding_since > SHORT_HOLD_S or self._wall is None else OK
            self.report(level, f"holding: {command.reason}", missed_deadlines=missed)
        self.publish(self._publisher, message)


def arrival(message: ActionChunkMessage) -> Arrival:
    """An ActionChunk message as the core judges it; a wrong length stays visible as a wrong shape."""
    data = np.array(message.data, np.float32)
    shape = (message.horizon, message.action_dim)
    actions = data.reshape(shape) if data.size == message.horizon * message.action_dim else data.reshape(1, -1)
    stamp = fields.stamp_s(message.header.stamp)
    return Arrival(ActionChunk(actions, stamp, message.skill), message.sequence, message.episode_id, message.embodiment)


def main() -> None:
    sys.exit(run_node(CommandNode))
