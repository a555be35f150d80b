"""Node ``sim_arm``: a task of LIBERO or RoboCasa as cameras, joint states, end-effector pose and an arm for commands.

Lockstep (default): stamps are simulated time from 0; physics advances only on a TRACK command that answers the current
state, so an episode over the graph equals one in process bit for bit. ``realtime:=true``: 20 Hz by the wall clock, as a
robot would, holding without commands. A simulator in a process of its own that crashes or hangs ends the episode with
that reason and an unknown outcome; the next reset begins another one.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
from rclpy.executors import Executor
from sensor_msgs.msg import Image

from world2act.node import COMMAND, ERROR, EVENT, IMAGE, LATCHED, OK, STATE, World2ActNode, make, message_class
from world2act.running import run_node
from world2act.topics import state_topics
from world2act_core.episodes import compose, fields
from world2act_core.episodes.messages import EPISODE_EVENT_TOPIC, SKILL_PROMPT_TOPIC
from world2act_core.errors import SimulatorLost, World2ActError
from world2act_core.runtime.deadline import Deadlines
from world2act_core.runtime.progress import SUCCESS, TIME_LIMIT, EpisodeProgress
from world2act_core.simulators.opening import Patience, open_simulator
from world2act_core.simulators.starts import Start
from world2act_core.types import Array
from world2act_interfaces.msg import ArmCommand, EpisodeEvent, SkillPrompt
from world2act_interfaces.srv import ResetArm

REPEAT_AFTER_S = 1.0  # without an answer for this long a message was lost: say the same again
SUBSCRIBERS_WITHIN_S = 20.0


class SimArmNode(World2ActNode):
    """Everything happens in the main thread: rendering contexts belong to the thread that made them."""

    def __init__(self) -> None:
        super().__init__("sim_arm")
        self._embodiment = self.embodiment_parameter()
        self._task = self.parameter("task", "libero_goal/8", "scene: suite/task")
        self._cameras = self.parameter("cameras", [], "cameras to render; none: all") or list(self._embodiment.cameras)
        self._realtime = self.parameter("realtime", False, "step by the wall clock instead of in lockstep")
        self._remote = self.parameter("remote", False, "simulate in a process of its own even if this one could")
        self._patience_s = self.parameter("patience_s", 60.0, "longest step of such a process, in seconds", 0.1, 1e4)
        self._awaited = self.parameter("await_subscribers", [], "nodes that must listen before an episode begins")
        self._simulator: Any = None
        self._progress: EpisodeProgress | None = None
        self._command: Array | None = None

    def configure(self) -> None:
        if self._realtime and self._embodiment.action.kind != "eef_delta":
            raise World2ActError(f"realtime needs an arm that can hold; {self._embodiment.name} takes no deltas")
        suite, _, task = self._task.partition("/")
        if not task.isdigit():
            raise World2ActError(f"task {self._task!r} is not suite/number, for example libero_goal/8")
        patience = Patience(call_s=self._patience_s)
        self._simulator = open_simulator(suite, int(task), remote=self._remote, patience=patience)
        if self._simulator.embodiment.name != self._embodiment.name:
            simulated = self._simulator.embodiment.name
            raise World2ActError(f"{suite} simulates a {simulated}, not a {self._embodiment.name}")
        self._events = self.speak(EpisodeEvent, EPISODE_EVENT_TOPIC, EVENT)
        topics = state_topics(self._embodiment)
        self._outputs = {topic: self.speak(message_class(kind), topic, STATE) for topic, kind in topics.items()}
        for name in self._cameras:
            topic = self._embodiment.cameras[name].topic
            self._outputs[topic] = self.speak(Image, topic, IMAGE)
        self.until_cleanup(self.create_service(ResetArm, "reset_arm", self._on_reset))

    def activate(self) -> None:
        self.listen(ArmCommand, self._embodiment.action.topic, self._on_command, COMMAND)
        self.listen(SkillPrompt, SKILL_PROMPT_TOPIC, self._on_prompt, LATCHED)
        self.every(0.2, self._repeat)

    def wind_up(self) -> bool:
        if self._progress is not None:
            self._end("cancelled")
        return True

    def deactivate(self) -> None:
        self._progress = None

    def cleanup(self) -> None:
        if self._simulator is not None:
            self._simulator.close()
            self._simulator = None

    # --- an episode ------------------------------------------------------------------------------------------------
    def _on_reset(self, request: ResetArm.Request, response: ResetArm.Response) -> ResetArm.Response:
        try:
            self._reset(request)
        except World2ActError as error:
            if self._progress is not None:  # it was lost between its START and its first frame
                self._end(compose.clipped(str(error)))
            response.success, response.message = False, str(error)
            return response
        response.success, response.task = True, self._simulator.task
        return response

    def _reset(self, request: ResetArm.Request) -> None:
        if not self.active:
            raise World2ActError("sim_arm is not active")
        if self._progress is not None:
            self._end("cancelled")
        self._await_subscribers()
        self._simulator.reset(Start.parse(request.start_id))
        if self._realtime:
            self._simulator.observe(self._cameras)  # the first rendering takes seconds: a state shown with it is stale
        self._episode = {
            "episode_id": request.episode_id,
            "task": self._simulator.task,
            "embodiment": self._embodiment.name,
            "source": request.source,
            "start_id": request.start_id,
        }
        self._progress = EpisodeProgress(self._embodiment.chunk_length, self._simulator.horizon)
        self._command = None
        self._gripper = self._embodiment.gripper.open
        self._stamp_ns = self._now_ns()
        self._events.publish(compose.episode_event(compose.START, self._stamp_ns, make=make, **self._episode))
        self._observe(frames=True)
        self._deadlines = Deadlines(self._embodiment.step_s, time.monotonic())

    def _await_subscribers(self) -> None:
        """An episode's first messages must not be lost on a node that is still being discovered."""
        deadline = time.monotonic() + SUBSCRIBERS_WITHIN_S
        first = next(iter(self._outputs))  # the state topic that all of them need
        while missing := set(self._awaited) - self._listeners(first):
            if time.monotonic() > deadline:
                raise World2ActError(f"node {min(missing)} does not listen to {first}; is it running and active?")
            time.sleep(0.02)

    def _listeners(self, topic: str) -> set[str]:
        """Nodes that listen, as soon as every publisher here has found every reader that is known."""
        for publisher in self._outputs.values():
            known = self.get_subscriptions_info_by_topic(publisher.topic_name)
            if publisher.get_subscription_count() < len(known):
                return set()
        found = self.get_subscriptions_info_by_topic(self._outputs[topic].topic_name)
        return {info.node_name for info in found}

    def _end(self, reason: str) -> None:
        assert self._progress is not None
        success = self._progress.solved if reason in (SUCCESS, TIME_LIMIT) else None
        event = compose.episode_event(
            compose.END,
            self._stamp_ns,
            success=success,
            reason=reason,
            skills=self._progress.skills(),
            make=make,
            **self._episode,
        )
        self._progress = None
        self._events.publish(event)
        self.report(OK, f"episode {self._episode['episode_id']} ended: {reason}")

    def _on_prompt(self, prompt: SkillPrompt) -> None:
        if self._progress is None or prompt.episode_id != self._episode["episode_id"]:
            return
        if prompt.skill:
            self._progress.prompt(prompt.skill)
        else:
            self._end("cancelled")

    # --- control steps ---------------------------------------------------------------------------------------------
    def _on_command(self, command: ArmCommand) -> None:
        if self._progress is None or command.mode != ArmCommand.TRACK:
            return  # a hold is no step in lockstep, and no command by the wall clock
        values = fields.command_values(command, self._embodiment.action)
        if self._realtime:
            self._command = values
        elif fields.stamp_ns(command.header.stamp) == self._stamp_ns:  # else it answers a state that is over
            self._step(values)

    def _step(self, action: Array) -> None:
        try:
            self._advance(action)
        except SimulatorLost as loss:
            if self._progress is not None:
                self._end(compose.clipped(str(loss)))
            self.report(ERROR, str(loss))

    def _advance(self, action: Array) -> None:
        assert self._progress is not None
        action = self._embodiment.clamp(action)
        self._gripper = float(action[self._embodiment.gripper.index])
        reason = self._progress.advance(self._simulator.step(action))
        self._stamp_ns = self._now_ns()
        self._observe(frames=self._progress.at_boundary)
        if reason:
            self._end(reason)

    def _now_ns(self) -> int:
        if self._realtime:
            return self.get_clock().now().nanoseconds
        assert self._progress is not None
        return fields.seconds_to_ns(self._progress.step / self._embodiment.control_rate_hz)

    def _observe(self, frames: bool) -> None:
        seen = self._simulator.observe(self._cameras if frames else ())
        messages = compose.state_messages(self._embodiment, seen.state, self._stamp_ns, make)
        for name, image in seen.images.items():
            camera = self._embodiment.cameras[name]
            messages.append((camera.topic, compose.image_message(image, camera, self._stamp_ns, make)))
        self._shown = messages
        self._show()

    def _show(self) -> None:
        for topic, message in self._shown:
            self._outputs[topic].publish(message)
        self._shown_at = time.monotonic()

    def _repeat(self) -> None:
        if self._progress is not None and not self._realtime and time.monotonic() - self._shown_at > REPEAT_AFTER_S:
            self._show()

    # --- real time -------------------------------------------------------------------------------------------------
    def spin_once(self, executor: Executor) -> None:
        if not self._realtime or self._progress is None:
            super().spin_once(executor)
            return
        executor.spin_once(timeout_sec=self._deadlines.remaining(time.monotonic()))
        if self._progress is not None and self._deadlines.reached(time.monotonic()):
            command, self._command = self._command, None
            self._step(self._hold_action() if command is None else command)
            self.report(OK, "real time", missed_deadlines=self._deadlines.missed)

    def _hold_action(self) -> Array:
        """How this simulated arm holds: no displacement, the gripper as it is. Zero means that only for deltas."""
        action = np.zeros(self._embodiment.action.size, np.float32)
        action[self._embodiment.gripper.index] = self._gripper
        return action


def main() -> None:
    sys.exit(run_node(SimArmNode))
