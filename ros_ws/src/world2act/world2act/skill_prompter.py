"""Node ``skill_prompter``: carries out tasks. Action ``run_task``; twins for dashboards: ``~/start`` and ``~/stop``.

With ``skills:=split`` a task is carried out skill by skill: the instruction is split by the grammar, and the next skill
begins when the events that end the present one were seen, or its time is up (world2act_core.runtime.skill_tracking).
With a simulator it brings the arm to the start state (``reset_arm``) and waits for the arm's own verdict; on a robot it
marks the episode itself and ends it at the time limit or when it is stopped. Publishes: skill_prompt (latched).
"""

from __future__ import annotations

import functools
import json
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.duration import Duration
from rclpy.executors import MultiThreadedExecutor
from std_srvs.srv import Trigger

from world2act.node import EVENT, LATCHED, OK, RECORD, STATE_READER, World2ActNode, make, message_class
from world2act.running import run_node
from world2act.topics import state_topics
from world2act_core.calibration.files import GRIPPER_FILE
from world2act_core.calibration.store import measured_gripper
from world2act_core.episodes import compose, fields
from world2act_core.episodes.messages import EPISODE_EVENT_TOPIC, SKILL_PROMPT_TOPIC
from world2act_core.errors import World2ActError
from world2act_core.runtime.skill_tracking import SkillTracker, plan_skills
from world2act_core.skills.types import MeasuredGripper
from world2act_interfaces.action import RunTask
from world2act_interfaces.msg import ArmCommand, EpisodeEvent, SkillPrompt
from world2act_interfaces.srv import ResetArm

OUTCOMES = {"success": RunTask.Result.SUCCEEDED, "time limit": RunTask.Result.TIME_LIMIT,
            "cancelled": RunTask.Result.CANCELLED}  # fmt: skip
READY_WITHIN_S = 60.0
HEARD_WITHIN_S = 1.0  # an END is known to have arrived, unless a reader is gone
# A goal and a deactivation each occupy one while they wait, and what they wait for needs another: not by the machine's
# number of processors.
THREADS = 4
VERDICT_WITHIN_S = 10.0  # the arm's START after a reset, its END after it was told to stop


@dataclass
class _Task:
    """The task in progress, as callbacks of several threads see it."""

    request: RunTask.Goal
    episode_id: str
    began: float = field(default_factory=time.monotonic)
    start_stamp: float = 0.0
    start: EpisodeEvent | None = None
    end: EpisodeEvent | None = None
    stop_reason: str = ""
    tracked: int = 0
    last_stamp: float = 0.0
    holding_since: float | None = None
    hold_reason: str = ""
    tracker: SkillTracker | None = None
    prompted: int = 0
    changed: threading.Event = field(default_factory=threading.Event)


class SkillPrompterNode(World2ActNode):
    """One task at a time."""

    def __init__(self) -> None:
        super().__init__("skill_prompter")
        self._embodiment = self.embodiment_parameter()
        self._has_simulator = self.parameter("simulator", True, "the arm is simulated and has reset_arm")
        self._default = {
            "task": self.parameter("task", "", "instruction for ~/start"),
            "start_id": self.parameter("start", "", "start state for ~/start, simulator only"),
            "source": self.parameter("source", "policy", "who acts, as bags call it"),
        }
        self._time_limit_s = self.parameter(
            "time_limit_s", 60.0, "longest task; a simulated arm keeps its own count", 0.1, 1e5
        )
        self._hold_limit_s = self.parameter("hold_limit_s", 15.0, "a task whose arm holds this long failed", 0.1, 1e5)
        skills = self.parameter("skills", "whole", "whole: the instruction is one skill; split: skill by skill")
        if skills not in ("whole", "split"):
            raise World2ActError(f"skills:={skills} is neither whole nor split")
        self._split = skills == "split"
        self._skill_limit_s = self.parameter(
            "skill_limit_s", 0.0, "split: the next skill begins after so long; 0: only by what is seen", 0.0, 1e5
        )
        self._calibration = self.parameter("calibration", "", "split: folder with the gripper's measured widths")
        self._state: dict[str, Any] = {}
        self._wait_for = self.parameter("wait_for", [], "nodes that must be ready before a task begins")
        self._group = ReentrantCallbackGroup()
        self._hearing = MutuallyExclusiveCallbackGroup()  # one at a time, but also while the node winds up
        self._task: _Task | None = None
        self._lock = threading.Lock()

    def configure(self) -> None:
        group, keep = self._group, self.until_cleanup
        self._prompts = self.speak(SkillPrompt, SKILL_PROMPT_TOPIC, LATCHED)
        if self._has_simulator:
            self._reset_arm = keep(self.create_client(ResetArm, "reset_arm", callback_group=group))
        else:
            self._events = self.speak(EpisodeEvent, EPISODE_EVENT_TOPIC, EVENT)
        # After reset_arm: endpoints are announced in order, so a node that answers these has found that client too.
        self._ready = {
            name: keep(self.create_client(Trigger, f"{name}/ready", callback_group=group)) for name in self._wait_for
        }
        keep(self.create_service(Trigger, "~/stop", self._on_stop, callback_group=group))
        keep(self.create_service(Trigger, "~/start", self._on_start, callback_group=group))
        server = ActionServer(
            self,
            RunTask,
            "run_task",
            execute_callback=self._on_goal,
            goal_callback=self._on_goal_request,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
            callback_group=group,
        )
        keep(server)

    def activate(self) -> None:
        if self._has_simulator:
            self.listen(EpisodeEvent, EPISODE_EVENT_TOPIC, self._on_event, EVENT, self._hearing)
        self.listen(ArmCommand, self._embodiment.action.topic, self._on_command, RECORD, self._hearing)
        for topic, kind in state_topics(self._embodiment).items() if self._split else ():
            heard = functools.partial(self._on_state, topic)
            self.listen(message_class(kind), topic, heard, STATE_READER, self._hearing)

    def wind_up(self) -> bool:
        """A task is stopped and its END is out before the node falls silent: else the arm would go on without it."""
        self._request_stop("skill_prompter was deactivated")
        return self._task is None

    # --- requests --------------------------------------------------------------------------------------------------
    def _on_goal_request(self, _: RunTask.Goal) -> GoalResponse:
        return GoalResponse.ACCEPT if self.active and self._task is None else GoalResponse.REJECT

    def _on_goal(self, goal: Any) -> RunTask.Result:
        result = self._run(goal.request, goal)
        if goal.is_cancel_requested and result.outcome == RunTask.Result.CANCELLED:
            goal.canceled()
        elif result.outcome == RunTask.Result.FAULT:
            goal.abort()
        else:
            goal.succeed()  # the task ran to its end; the outcome says how
        return result

    def _on_start(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Begin the default task and return at once; its end is an EpisodeEvent."""
        if not self.active or self._task is not None:
            response.message = "a task is running" if self._task else "skill_prompter is not active"
            return response
        request = RunTask.Goal(**self._default)
        threading.Thread(target=self._run, args=(request, None), daemon=True).start()
        response.success, response.message = True, "started"
        return response

    def _on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._task is not None
        response.message = "stopping" if response.success else "no task is running"
        self._request_stop("cancelled")
        return response

    def _request_stop(self, reason: str) -> None:
        task = self._task
        if task is not None:
            task.stop_reason = task.stop_reason or reason
            task.changed.set()

    # --- what the arm says -----------------------------------------------------------------------------------------
    def _on_event(self, event: EpisodeEvent) -> None:
        task = self._task
        if task is None or event.episode_id != task.episode_id:
            return
        if event.event == EpisodeEvent.START:
            task.start = event
        elif event.event == EpisodeEvent.END:
            task.end = event
        task.changed.set()

    def _on_state(self, topic: str, message: Any) -> None:
        """The newest row of every stream."""
        for stream in self._embodiment.state.values():
            if stream.topic == topic and fields.carries(message, stream):
                self._state[stream.name] = fields.state_value(message, stream)

    def _track(self, task: _Task, command: ArmCommand) -> None:
        """Whether a skill is over, at every control step."""
        tracker = task.tracker
        if tracker is None or len(self._state) < len(self._embodiment.state):
            return
        holds = command.mode != ArmCommand.TRACK
        action = None if holds else fields.command_values(command, self._embodiment.action)
        if tracker.step(dict(self._state), action):
            self.get_logger().info(f"skill {tracker.index + 1} of {len(tracker.plan)} begins: {tracker.why}")
            task.changed.set()

    def _on_command(self, command: ArmCommand) -> None:
        task = self._task
        if task is None:
            return
        self._track(task, command)
        task.last_stamp = fields.stamp_s(command.header.stamp)
        if command.mode == ArmCommand.TRACK:
            task.tracked, task.holding_since = task.tracked + 1, None
        else:
            task.hold_reason = command.reason
            task.holding_since = task.holding_since or time.monotonic()

    # --- a task ----------------------------------------------------------------------------------------------------
    def _run(self, request: RunTask.Goal, goal: Any | None) -> RunTask.Result:
        with self._lock:
            if self._task is not None or not self.active:
                why = "another task is running" if self._task else "skill_prompter is not active"
                return RunTask.Result(outcome=RunTask.Result.FAULT, reason=why)
            self._task = _Task(request, request.episode_id or uuid.uuid4().hex)
        task = self._task
        try:
            instruction = self._begin(task)
            self._prompt(task, instruction)
            reason = self._wait(task, goal, instruction)
            return self._finish(task, instruction, reason)
        except World2ActError as error:
            self.get_logger().error(str(error))
            return RunTask.Result(outcome=RunTask.Result.FAULT, reason=str(error))
        finally:
            self._task = None
            self.report(OK, "idle")

    def _begin(self, task: _Task) -> str:
        """Everything is ready, the episode has begun; returns the instruction."""
        if self._split and task.request.task:
            plan_skills(task.request.task)  # what is not understood is refused before anything moves
        for name, client in self._ready.items():
            self._await_ready(name, client, task)
        request = task.request
        if not self._has_simulator:
            if not request.task:
                raise World2ActError("the task has no instruction: give one with the goal or as parameter task")
            now = self.get_clock().now().nanoseconds
            task.start_stamp = fields.ns_to_seconds(now)
            about = self._about(task, request.task)
            self.publish(self._events, compose.episode_event(compose.START, now, make=make, **about))
            self._plan(task, request.task)
            return request.task
        self._state.clear()
        arm = ResetArm.Request(start_id=request.start_id, episode_id=task.episode_id, source=request.source)
        reply = self._call(self._reset_arm, arm, READY_WITHIN_S)
        if reply is None:
            raise World2ActError(f"reset_arm did not answer within {READY_WITHIN_S:g} s; is sim_arm running?")
        if not reply.success:
            raise World2ActError(reply.message)
        deadline = time.monotonic() + VERDICT_WITHIN_S
        while task.start is None:  # it may come after the reply; its stamp says where the arm's clock begins
            self._pause(task.changed, 0.02)
            task.changed.clear()
            if time.monotonic() > deadline:
                raise World2ActError(f"the arm did not announce the episode within {VERDICT_WITHIN_S:g} s")
        task.start_stamp = fields.stamp_s(task.start.header.stamp)
        self._plan(task, request.task or reply.task)
        return request.task or reply.task

    def _about(self, task: _Task, instruction: str) -> dict[str, Any]:
        return {
            "episode_id": task.episode_id,
            "task": instruction,
            "embodiment": self._embodiment.name,
            "source": task.request.source,
        }

    def _await_ready(self, name: str, client: Any, task: _Task) -> None:
        deadline, why = time.monotonic() + READY_WITHIN_S, "it does not answer; is it running?"
        while time.monotonic() < deadline:
            # Asked anew where an answer is lost, as it is when the server has not found this client yet.
            answer = self._call(client, Trigger.Request(), 1.0)
            if answer is not None and answer.success:
                return
            why = answer.message if answer is not None else why
            if self._pause(task.changed, 0.05) and task.stop_reason:
                raise World2ActError(f"stopped before the task began: {task.stop_reason}")
        raise World2ActError(f"node {name} is not ready after {READY_WITHIN_S:g} s: {why}")

    def _call(self, client: Any, request: Any, timeout_s: float) -> Any | None:
        """Call a service from this thread, the executor's other threads deliver the reply; None if none comes."""
        deadline = time.monotonic() + timeout_s
        while not client.wait_for_service(0.1):
            self._pause(threading.Event(), 0.0)
            if time.monotonic() > deadline:
                return None
        arrived = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: arrived.set())
        while not self._pause(arrived, 0.1):
            if time.monotonic() > deadline:
                client.remove_pending_request(future)
                return None
        return future.result()

    def _pause(self, event: threading.Event, seconds: float) -> bool:
        """Wait for an event, but not longer than ROS lives; True if it happened."""
        if not self.context.ok():
            raise World2ActError("the task was given up: ROS is shutting down")
        return event.wait(seconds)

    def _plan(self, task: _Task, instruction: str) -> None:
        """Split the instruction if that was asked for; the robot's first states come after this."""
        if not self._split:
            return
        try:
            plan = plan_skills(instruction)
        except World2ActError:
            self._prompt(task, instruction, over=True)  # a simulated arm has begun already
            raise
        task.tracker = SkillTracker(plan, self._embodiment, self._skill_limit_s, gripper=self._gripper())

    def _gripper(self) -> MeasuredGripper | None:
        """As measured, where that was done."""
        stored = self._calibration and (Path(self._calibration) / GRIPPER_FILE).is_file()
        return measured_gripper(self._calibration) if stored else None

    def _skill(self, task: _Task, instruction: str) -> tuple[str, int, int]:
        """The skill under way, its index, and how many there are."""
        if task.tracker is None:
            return instruction, 0, 1
        return task.tracker.plan[task.prompted].prompt, task.prompted, len(task.tracker.plan)

    def _prompt(self, task: _Task, instruction: str, over: bool = False) -> None:
        """Say which skill is under way; ``over``: none."""
        task.prompted = task.tracker.index if task.tracker else 0
        skill, index, count = self._skill(task, instruction)
        stamp = fields.seconds_to_ns(task.start_stamp)
        prompt = compose.skill_prompt(task.episode_id, instruction, "" if over else skill, index, count, stamp, make)
        self.publish(self._prompts, prompt)

    def _wait(self, task: _Task, goal: Any | None, instruction: str) -> str:
        """Until the task is over; returns why, or "" where the arm's END says it."""
        task.began = time.monotonic()
        while task.end is None:
            if self._pause(task.changed, 0.1):
                task.changed.clear()
            if task.tracker is not None and task.tracker.index != task.prompted:
                self._prompt(task, instruction)
            elapsed = time.monotonic() - task.began
            if task.end is not None:
                break  # a cancel that comes with the END is too late
            if task.stop_reason or (goal is not None and goal.is_cancel_requested):
                return task.stop_reason or "cancelled"
            if task.holding_since and time.monotonic() - task.holding_since > self._hold_limit_s:
                return f"the arm held for {self._hold_limit_s:g} s: {task.hold_reason}"
            if not self._has_simulator and elapsed > self._time_limit_s:
                return "time limit"
            so_far = max(0.0, task.last_stamp - task.start_stamp) if self._has_simulator else elapsed
            progress = min(1.0, so_far / self._time_limit_s)
            skill, index, count = self._skill(task, instruction)
            self.report(OK, f"running: {skill}", episode=task.episode_id, progress=f"{progress:.2f}")
            if goal is not None:
                goal.publish_feedback(RunTask.Feedback(skill=skill, index=index, count=count, progress=progress))
        return ""

    def _finish(self, task: _Task, instruction: str, reason: str) -> RunTask.Result:
        self._prompt(task, instruction, over=True)
        if self._has_simulator:
            deadline = time.monotonic() + VERDICT_WITHIN_S
            while task.end is None and time.monotonic() < deadline:
                self._pause(task.changed, 0.05)
                task.changed.clear()
            if task.end is None:
                raise World2ActError(f"{reason}; and the arm did not confirm its end within {VERDICT_WITHIN_S:g} s")
            reason = reason or task.end.reason
            end = fields.stamp_s(task.end.header.stamp)
            steps = counted_steps(task.end.skills_json)
        else:
            now = self.get_clock().now().nanoseconds
            end, steps = fields.ns_to_seconds(now), task.tracked
            about = self._about(task, instruction)
            skills = task.tracker.skills() if task.tracker else ()
            event = compose.episode_event(compose.END, now, reason=reason, skills=skills, make=make, **about)
            self.publish(self._events, event)
            self._events.wait_for_all_acked(Duration(seconds=HEARD_WITHIN_S))
        outcome = OUTCOMES.get(reason, RunTask.Result.FAULT)
        return RunTask.Result(outcome=outcome, reason=reason, duration_s=end - task.start_stamp, steps=steps)


def counted_steps(skills_json: str) -> int:
    """How many steps a simulated arm itself counted, by the skills of its END."""
    try:
        return max((int(end) for _, _, end in json.loads(skills_json)), default=0)
    except (ValueError, TypeError) as error:
        raise World2ActError(f"the arm's END has skills {skills_json[:80]!r}, which cannot be read") from error


def main() -> None:
    sys.exit(run_node(SkillPrompterNode, lambda: MultiThreadedExecutor(THREADS)))
