"""Node ``command``: action chunks → one command a control step, in a process of its own.

Subscribes: skill_prompt, action_chunk, the state topics that the safety filter needs, ``stop`` (any message latches),
``dead_man`` (Bool, if one is asked for). Publishes: ArmCommand on the embodiment's action topic, which says what was
done and why; what the contract's ``output`` names for the arm (with ``dry_run`` each on ``dry_run/`` and its topic);
``~/status`` (latched). Services: ``~/stop``, ``~/reset``. What is checked is in docs/safety.md.
"""

from __future__ import annotations

import functools
import math
import os
import sys
import threading
import time
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from std_msgs.msg import Bool, Empty
from std_srvs.srv import Trigger

from world2act.node import (
    COMMAND,
    COMMAND_OFFERED,
    EMERGENCY,
    ERROR,
    LATCHED,
    OK,
    STATE_READER,
    WARN,
    World2ActNode,
    make,
    message_class,
    without_numbers,
)
from world2act.outputs import OutputPublisher
from world2act.running import run_node
from world2act.topics import state_topics
from world2act.transport import without_shared_memory
from world2act_core.episodes import compose, fields
from world2act_core.episodes.messages import ACTION_CHUNK_TOPIC, SKILL_PROMPT_TOPIC
from world2act_core.errors import World2ActError
from world2act_core.runtime.chunks import MODES, OPEN_LOOP, Track
from world2act_core.runtime.commander import Answer, Arrival, LockstepCommander, WallCommander
from world2act_core.runtime.deadline import DeadlineThread, Watchdog
from world2act_core.runtime.outputs import OutputConverter
from world2act_core.runtime.priority import run_in_real_time
from world2act_core.runtime.safety import SafetyFilter
from world2act_core.types import ActionChunk
from world2act_interfaces.msg import ActionChunk as ActionChunkMessage
from world2act_interfaces.msg import ArmCommand, SkillPrompt

SHORT_HOLD_S = 1.0
STALLED_S = 5.0  # the arm's driver has been holding for long; who watches the processes must learn of it


class CommandNode(World2ActNode):
    """Asks the commander what to send: per state of the arm (``clock:=state``) or per control period (``wall``)."""

    def __init__(self) -> None:
        super().__init__("command")
        self._embodiment = self.embodiment_parameter()
        self._clock_kind = self.parameter("clock", "state", "state: one command a state (lockstep); wall: control rate")
        self._mode = self.parameter("execution", OPEN_LOOP, f"wall: how chunks are executed, {', '.join(MODES)}")
        self._hold_after_s = self.parameter("hold_after_s", 1.0, "lockstep: wait this long for a chunk", 0.05, 60.0)
        state_timeout_s = self.parameter("state_timeout_s", 0.5, "wall: hold if the state is older", 0.05, 10.0)
        self._max_age_s = self.parameter("max_age_s", 2.0, "wall: refuse chunks that answer older images", 0.05, 60.0)
        dead_man_s = self.parameter(
            "dead_man_s",
            0.0,
            "hold unless dead_man is true this often; 0: if the contract asks",
            0.0,
            10.0,
        )
        self._dry_run = self.parameter("dry_run", False, "publish on dry_run/TOPIC, where no arm listens")
        priority = self.parameter(
            "thread_priority", 50, "wall: SCHED_FIFO, if the system permits; 0: do not ask", 0, 99
        )
        if self._clock_kind == "wall" and priority:
            refusal = run_in_real_time(priority)
            if refusal:
                self.get_logger().info(refusal)
        if self._clock_kind != "wall":
            if self._mode != OPEN_LOOP:
                raise World2ActError(f"execution:={self._mode} needs clock:=wall: in lockstep the arm waits")
            state_timeout_s = math.inf  # the arm waits for the policy, so its state may be as old as it likes
        self._safety = SafetyFilter(self._embodiment, state_timeout_s, self._max_age_s, dead_man_s)
        self._converter = OutputConverter(self._embodiment, self._safety.measured)
        # The commander is used by callbacks and by the deadline thread. A command is decided and published under the
        # lock: once a stop has been answered, none that was decided before it can still leave.
        self._lock = threading.Lock()
        self._commander: Any = None
        self._wall: WallCommander | None = None
        self._thread: DeadlineThread | None = None
        self._state_stamp: Any = None
        self._holding_since: float | None = None
        self._told: tuple[str, str] = ("", "")
        # These listen whatever state the node is in: a stop must never be missed.
        self._status_publisher = self.create_publisher(DiagnosticStatus, "~/status", LATCHED)
        self.create_subscription(Empty, "stop", lambda _: self._stop("topic stop"), EMERGENCY)
        self.create_service(Trigger, "~/stop", self._on_stop)
        self.create_service(Trigger, "~/reset", self._on_reset)

    def configure(self) -> None:
        self._publisher = self.speak(ArmCommand, self.outgoing(self._embodiment.action.topic), COMMAND_OFFERED)
        self._outputs = OutputPublisher(self, self._embodiment, self.outgoing)

    def outgoing(self, topic: str) -> str:
        """Where to publish what an arm would obey."""
        return f"dry_run/{topic.lstrip('/')}" if self._dry_run else topic

    def activate(self) -> None:
        with self._lock:
            if self._clock_kind == "wall":
                self._commander = self._wall = WallCommander(
                    self._embodiment, self._safety, self._max_age_s, self._mode, since=self.seconds_now()
                )
            else:
                self._commander = LockstepCommander(self._embodiment, self._safety, self._hold_after_s)
        if self._wall is None:
            self.every(0.1, self._poll)
        self.listen(SkillPrompt, SKILL_PROMPT_TOPIC, self._on_prompt, LATCHED)
        self.listen(ActionChunkMessage, ACTION_CHUNK_TOPIC, self._on_chunk, COMMAND)
        kinds = state_topics(self._embodiment)
        for topic in self._safety.measured.topics:
            self.listen(message_class(kinds[topic]), topic, functools.partial(self._on_state, topic), STATE_READER)
        if self._safety.wants_dead_man:
            self.listen(Bool, "dead_man", self._on_dead_man, STATE_READER)
        if self._wall is not None:
            self._thread = DeadlineThread(self._embodiment.step_s, self._tick)
            self._thread.start()
            Watchdog(self._thread, STALLED_S, self._stalled).start()
            self.every(0.5, self._watch)

    def _watch(self) -> None:
        """A command loop that failed ends the process: its stream stops, and the arm's driver holds."""
        if self._thread is not None and self._thread.error is not None:
            self.report(ERROR, f"the command loop failed: {self._thread.error!r}")
            self.exit_code, self.done = 1, True

    def _stalled(self) -> None:
        """From the watchdog's own thread: whatever blocks the loop (a writer of DDS, say) may block the others too."""
        print(f"command: no command left for {STALLED_S:g} s, the loop is blocked: ending", file=sys.stderr, flush=True)
        os._exit(1)

    def deactivate(self) -> None:
        if self._thread is not None:
            self._thread.stop()
            self._thread = None
        with self._lock:
            self._commander = self._wall = None  # with all that was planned
            self._say("inactive", "the node was deactivated")

    # --- stop and reset --------------------------------------------------------------------------------------------
    def _stop(self, by: str) -> None:
        with self._lock:
            self._safety.stop(by)
            self._say("stopped", f"stopped by {self._safety.stopped}")
        self._poll()

    def _on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._stop("service ~/stop")
        response.success, response.message = True, f"stopped by {self._safety.stopped}"
        return response

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        with self._lock:
            response.success = bool(self._safety.stopped)
            response.message = "reset" if response.success else "it was not stopped"
            if not response.success:
                return response
            if self._commander is not None:
                self._commander.reset(self.seconds_now())
            else:
                self._safety.reset()
            self._say("holding" if self._commander else "inactive", "the stop was reset")
        return response

    def _on_dead_man(self, message: Bool) -> None:
        with self._lock:
            self._safety.press(message.data, time.monotonic())

    def _on_prompt(self, prompt: SkillPrompt) -> None:
        with self._lock:
            if self._commander is None:
                return  # deactivated meanwhile
            self._commander.on_prompt(prompt.episode_id, prompt.skill, fields.stamp_s(prompt.header.stamp))
        self._poll()

    def _on_chunk(self, message: ActionChunkMessage) -> None:
        with self._lock:
            if self._commander is None:
                return
            self._commander.on_chunk(arrival(message))
        self._poll()

    def _on_state(self, topic: str, message: Any) -> None:
        with self._lock:
            if self._commander is None:
                return
            if self._commander.on_state(topic, message, time.monotonic()):
                self._state_stamp = message.header.stamp
        self._poll()

    def _poll(self) -> None:
        """Lockstep: whatever came may have made a command due."""
        if self._wall is not None or self._commander is None:
            return
        with self._lock:
            answer = self._commander.poll(time.monotonic())
            if answer is not None:
                self._publish(answer, fields.stamp_ns(self._state_stamp))

    def _tick(self) -> None:
        """Wall clock: every control period, in the deadline thread."""
        now_ns = self.get_clock().now().nanoseconds
        with self._lock:
            if self._wall is None:
                return  # deactivated meanwhile
            answer = self._wall.tick(fields.ns_to_seconds(now_ns), time.monotonic())
            self._publish(answer, now_ns)

    def _publish(self, answer: Answer, stamp_ns: int) -> None:
        """Called with the lock held; the safety filter has passed the command."""
        command, outgoing = self._converter.convert(answer.command)
        self._outputs.send(outgoing, stamp_ns)
        missed = self._thread.missed if self._thread else 0
        if isinstance(command, Track):
            message = compose.track_command(command.values, stamp_ns, command.chunk, command.step, make=make)
            self._holding_since = None
            doing = "leading in from the measured pose" if self._safety.ramping else "tracking"
            self.report(OK, doing, chunk=command.chunk, missed_deadlines=missed)
            self._say("tracking", doing)
        else:
            message = compose.hold_command(command.reason, stamp_ns, make=make)
            self._holding_since = self._holding_since or time.monotonic()
            # By the wall clock every chunk is followed by a short hold; that is not worth a warning.
            level = WARN if time.monotonic() - self._holding_since > SHORT_HOLD_S or self._wall is None else OK
            self.report(level, f"holding: {command.reason}", missed_deadlines=missed)
            self._say("stopped" if self._safety.stopped else "holding", command.reason)
        self.publish(self._publisher, message)

    def _say(self, state: str, reason: str) -> None:
        """``~/status``, when it is news: ``state`` is tracking, holding, stopped or inactive."""
        reason = compose.clipped(reason)
        said = (state, without_numbers(reason))
        if said == self._told:
            return
        self._told = said
        values = {"state": state, "dry_run": self._dry_run, "execution": self._mode}
        self.publish(
            self._status_publisher,
            DiagnosticStatus(
                level=WARN if state == "stopped" else OK,
                name=self.get_fully_qualified_name().lstrip("/"),
                message=reason,
                values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
            ),
        )


def arrival(message: ActionChunkMessage) -> Arrival:
    """An ActionChunk message as the core judges it; a wrong length stays visible as a wrong shape."""
    data = np.array(message.data, np.float32)
    shape = (message.horizon, message.action_dim)
    actions = data.reshape(shape) if data.size == message.horizon * message.action_dim else data.reshape(1, -1)
    stamp = fields.stamp_s(message.header.stamp)
    return Arrival(ActionChunk(actions, stamp, message.skill), message.sequence, message.episode_id, message.embodiment)


def main() -> None:
    without_shared_memory()
    sys.exit(run_node(CommandNode))
