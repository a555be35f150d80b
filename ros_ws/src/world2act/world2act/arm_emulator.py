"""Node ``arm_emulator``: a MuJoCo Panda or UR5e where the real arm and its controllers would be.

Subscribes to what the contract's ``output`` names (JointTrajectory or TwistStamped, the gripper's Float64MultiArray)
and answers as ros2_control's JointTrajectoryController and MoveIt Servo do, time-outs included. Publishes the
contract's state topics at 100 Hz. ``~/violations`` says whether a command came that should never have left.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
from geometry_msgs.msg import TwistStamped
from rclpy.executors import Executor
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from world2act.node import COMMAND_OFFERED, EVENT, OK, STATE, WARN, World2ActNode, make, message_class
from world2act.running import run_node
from world2act.topics import state_topics
from world2act_core.episodes import compose, fields
from world2act_core.episodes.messages import EPISODE_EVENT_TOPIC, JOINT_STATE
from world2act_core.runtime.deadline import Deadlines
from world2act_core.simulators.emulator import Emulator
from world2act_core.simulators.emulator.emulator import CATCH_UP_S
from world2act_core.simulators.emulator.trajectory import Waypoint
from world2act_core.types import Array
from world2act_interfaces.msg import EpisodeEvent

STATE_S = 0.01
REPORT_TICKS = 10
CALLBACKS_WHEN_LATE = 8


class ArmEmulatorNode(World2ActNode):
    """Everything happens in the main thread; ``emulator_camera`` shows the arm."""

    def __init__(self) -> None:
        super().__init__("arm_emulator")
        self._embodiment = self.embodiment_parameter()
        self._permute = self.parameter("permute_joints", False, "name the joints in another order in every message")
        self._returns = self.parameter("returns", False, "go back home when an episode ends, for the next one")
        self._shuffle = np.random.default_rng(0)
        self._emulator: Emulator | None = None
        self._ticks = 0

    def configure(self) -> None:
        self._emulator = Emulator(self._embodiment, time.monotonic())
        topics = state_topics(self._embodiment)
        self._types = topics
        self._states = {topic: self.speak(message_class(kind), topic, STATE) for topic, kind in topics.items()}
        self.until_cleanup(self.create_service(Trigger, "~/violations", self._on_violations))

    def activate(self) -> None:
        output = self._embodiment.output
        kind, callback = {
            "joint_trajectory": (JointTrajectory, self._on_trajectory),
            "twist": (TwistStamped, self._on_twist),
        }[output.kind]
        self.listen(kind, output.topic, callback, COMMAND_OFFERED)
        if self._returns:
            self.listen(EpisodeEvent, EPISODE_EVENT_TOPIC, self._on_episode, EVENT)
        if output.gripper is not None:
            self.listen(Float64MultiArray, output.gripper.topic, self._on_gripper, COMMAND_OFFERED)
        self._shown = time.monotonic()
        self._deadlines = Deadlines(STATE_S, self._shown)

    # --- commands --------------------------------------------------------------------------------------------------
    def _stamp(self, header: Any) -> float:
        """A header's stamp on the monotonic clock, which does not jump; 0 stays 0 ("now")."""
        stamp = fields.stamp_s(header.stamp)
        return stamp and time.monotonic() - (self.seconds_now() - stamp)

    def _on_trajectory(self, message: JointTrajectory) -> None:
        assert self._emulator is not None
        waypoints = [
            Waypoint(
                np.array(point.positions),
                fields.stamp_s(point.time_from_start),
                np.array(point.velocities) if point.velocities else None,
            )
            for point in message.points
        ]
        now = time.monotonic()
        self._judge(self._emulator.on_trajectory(message.joint_names, waypoints, self._stamp(message.header), now))

    def _on_twist(self, message: TwistStamped) -> None:
        assert self._emulator is not None
        linear, angular = message.twist.linear, message.twist.angular
        twist = np.array([linear.x, linear.y, linear.z, angular.x, angular.y, angular.z])
        stamp = self._stamp(message.header)
        self._judge(self._emulator.on_twist(message.header.frame_id, twist, stamp, time.monotonic()))

    def _on_gripper(self, message: Float64MultiArray) -> None:
        assert self._emulator is not None
        if len(message.data) == 1:
            self._judge(self._emulator.on_gripper(message.data[0]))
        else:
            self._emulator.violations.refused(f"the gripper has one joint, the command {len(message.data)} values")

    def _on_episode(self, event: EpisodeEvent) -> None:
        assert self._emulator is not None
        if event.event == EpisodeEvent.END:
            self._emulator.go_home(time.monotonic())

    def _judge(self, refusal: str) -> None:
        if refusal:
            self.report(WARN, f"refused: {refusal}")

    def _on_violations(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        assert self._emulator is not None
        found = self._emulator.violations
        response.success = not found.total
        response.message = json.dumps({**found.counts, "commands": self._emulator.commands, "last": found.last})
        return response

    # --- time ------------------------------------------------------------------------------------------------------
    def spin_once(self, executor: Executor) -> None:
        if not self.active:
            super().spin_once(executor)
            return
        left = self._deadlines.remaining(time.monotonic())
        # On a busy machine one callback a tick would let commands queue up until they are seconds old.
        for _ in range(1 if left > 0 else CALLBACKS_WHEN_LATE):
            executor.spin_once(timeout_sec=left)
        if self.active and self._deadlines.reached(time.monotonic()):
            self._tick()

    def _tick(self) -> None:
        """Every state that is due, with the stamp that it should have: a driver's clock does not wait for a process."""
        assert self._emulator is not None
        now, now_ns = time.monotonic(), self.get_clock().now().nanoseconds
        self._shown = max(self._shown, now - CATCH_UP_S)
        while self._shown + STATE_S <= now:
            self._shown += STATE_S
            self._emulator.advance(self._shown)
            self._show(self._emulator.arm.state(), now_ns - round(1e9 * (now - self._shown)))
        self._ticks += 1
        if self._ticks % REPORT_TICKS == 0:
            self._report(self._emulator)

    def _show(self, state: dict[str, Array], stamp_ns: int) -> None:
        for topic, message in compose.state_messages(self._embodiment, state, stamp_ns, make):
            if self._permute and self._types[topic] == JOINT_STATE:
                order = self._shuffle.permutation(len(message.name))
                message.name = [message.name[i] for i in order]
                message.position = [message.position[i] for i in order]
            self._states[topic].publish(message)

    def _report(self, emulator: Emulator) -> None:
        found, now = emulator.violations, time.monotonic()
        said = emulator.describe(now) + (f"; last fault: {found.last}" if found.last else "")
        values = {**found.counts, "commands": emulator.commands, "skipped_s": round(emulator.skipped_s, 3)}
        self.report(WARN if found.total else OK, said, missed_deadlines=self._deadlines.missed, **values)


def main() -> None:
    sys.exit(run_node(ArmEmulatorNode))
