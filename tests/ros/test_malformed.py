"""Hostile messages at every subscriber, service and action: no process ends, and nothing outside the limits leaves."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from geometry_msgs.msg import TwistStamped
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from tests.ros import hostile_source
from tests.ros.support import fr3, make_episode, running, single
from world2act.node import RECORD, RECORD_SENSOR
from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.episodes import BagWriter
from world2act_core.episodes.compose import LONGEST_REASON
from world2act_core.episodes.storage import bag_messages
from world2act_core.runtime.graphs import Graph
from world2act_core.runtime.prefixes import ros_environment
from world2act_interfaces.msg import ArmCommand

NODES = ("command", "policy", "skill_prompter", "recorder")
CHECKED = "checked/arm_command"  # what the command process says; on arm_command the hostile source speaks
TOLERANCE = 1e-4


class Judge:
    """Compares all that leaves with the contract's limits, without the filter's help."""

    def __init__(self, probe: Any, robot: Embodiment) -> None:
        self._robot, self.wrong, self.tracked, self.held = robot, [], 0, 0  # type: ignore[var-annotated]
        self._last: np.ndarray | None = None
        subscribe, output = probe.node.create_subscription, robot.output
        subscribe(ArmCommand, CHECKED, self._on_command, RECORD)
        kind, judge = {
            "twist": (TwistStamped, self._on_twist),
            "joint_trajectory": (JointTrajectory, self._on_trajectory),
        }[output.kind]
        subscribe(kind, output.topic, judge, RECORD_SENSOR)
        assert output.gripper is not None
        self._gripper = sorted((output.gripper.open, output.gripper.close))
        subscribe(Float64MultiArray, output.gripper.topic, self._on_gripper, RECORD_SENSOR)

    def _demand(self, holds: object, what: object) -> None:
        if not holds:
            self.wrong.append(str(what)[:500])

    def _on_command(self, command: ArmCommand) -> None:
        values, action = np.array(command.values, np.float64), self._robot.action
        if command.mode == ArmCommand.HOLD:
            self.held += 1
            self._last = None
            self._demand(not len(values) and 0 < len(command.reason) <= LONGEST_REASON, command)
            return
        self.tracked += 1
        self._demand(command.mode == ArmCommand.TRACK and values.shape == (action.size,), command)
        self._demand((values >= action.low - TOLERANCE).all() and (values <= action.high + TOLERANCE).all(), command)
        if action.kind == "joint_positions":
            self._judge_joints(values[[action.names.index(j) for j in self._robot.state["joint_positions"].joints]])
        else:
            self._judge_hand(values[:3] * action.scale[:3], values[3:6] * action.scale[3:6])

    def _judge_joints(self, joints: np.ndarray) -> None:
        limits = self._robot.limits.joints
        self._demand((joints >= limits.lower - TOLERANCE).all() and (joints <= limits.upper + TOLERANCE).all(), joints)
        if self._last is not None:
            speed = np.abs(joints - self._last) / self._robot.step_s
            self._demand((speed <= limits.velocity + 0.01).all(), f"{speed} rad/s")
        self._last = joints

    def _judge_hand(self, moved: np.ndarray, turned: np.ndarray) -> None:
        limits, step_s = self._robot.limits, self._robot.step_s
        self._demand(math.hypot(*moved) / step_s <= limits.eef_speed + 0.01, f"moved {moved}")
        self._demand(math.hypot(*turned) / step_s <= limits.eef_rotation_speed + 0.01, f"turned {turned}")

    def _on_twist(self, message: TwistStamped) -> None:
        linear, angular = message.twist.linear, message.twist.angular
        speed, turning = math.hypot(linear.x, linear.y, linear.z), math.hypot(angular.x, angular.y, angular.z)
        limits = self._robot.limits
        self._demand(speed <= limits.eef_speed + 0.01 and turning <= limits.eef_rotation_speed + 0.01, message)

    def _on_trajectory(self, message: JointTrajectory) -> None:
        limits, (point,) = self._robot.limits.joints, message.points
        places = np.array(point.positions)
        named = tuple(message.joint_names) == self._robot.state["joint_positions"].joints
        self._demand(named and places.shape == limits.lower.shape, message)
        self._demand((places >= limits.lower - TOLERANCE).all() and (places <= limits.upper + TOLERANCE).all(), message)

    def _on_gripper(self, message: Float64MultiArray) -> None:
        low, high = self._gripper
        self._demand(len(message.data) == 1 and low - 1e-9 <= message.data[0] <= high + 1e-9, message)


def small_fr3(folder: Path, kind: str) -> Path:
    """Images as large as need be to be wrong."""
    file = fr3(folder, kind)
    contract = yaml.safe_load(file.read_text())
    for camera in contract["cameras"].values():
        camera.update(width=32, height=24)
    file.write_text(yaml.safe_dump(contract))
    return file


def graph(contract: Path, folder: Path) -> Graph:
    robot = load_embodiment(contract)
    with BagWriter(folder / "replayed", robot) as writer:
        writer.write_episode(make_episode(robot, steps=400))
    shared = {"robot": str(contract)}
    nodes = [
        *single("command", clock="wall", execution="real_time", **shared).nodes,
        *single("policy", clock="wall", policy=f"replay:{folder / 'replayed'}", **shared).nodes,
        *single("skill_prompter", simulator=False, task="t", time_limit_s=1.0, **shared).nodes,
        *single("recorder", folder=str(folder / "bag"), **shared).nodes,
    ]
    nodes[0] = replace(nodes[0], remappings={"arm_command": CHECKED})
    return Graph("besieged", tuple(nodes))


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("twist", 600),
        pytest.param("joint_trajectory", 5000, marks=pytest.mark.slow),
        pytest.param("twist", 100_000, marks=[pytest.mark.slow, pytest.mark.timeout(1200)]),
    ],
)
def test_no_message_ends_a_process_or_moves_the_arm_beyond_its_limits(
    probe: Any, domain: int, tmp_path: Path, kind: str, count: int
) -> None:
    contract = small_fr3(tmp_path, kind)
    judge = Judge(probe, load_embodiment(contract))
    environment = {**ros_environment(), "ROS_DOMAIN_ID": str(domain)}
    with running(graph(contract, tmp_path), domain) as (processes, output):
        for name in NODES:
            client = probe.node.create_client(Trigger, f"/{name}/ready")
            probe.wait(client.service_is_ready, 60, f"{name} is there")
        arguments = [str(contract), str(count), str(count), *NODES]
        source = subprocess.Popen([sys.executable, hostile_source.__file__, *arguments], env=environment)
        try:
            probe.wait(lambda: source.poll() is not None, 1000, "the hostile source's end")
        finally:
            source.kill()
            source.wait()
        assert source.returncode == 0
        print(f"tracked {judge.tracked}, held {judge.held}")
        assert [e.describe_end() for e in processes.running if e.process.poll() is not None] == []
        for name in NODES:
            client = probe.node.create_client(Trigger, f"/{name}/ready")
            probe.wait(client.service_is_ready, 60, f"{name} is still there")
            assert probe.wait_for_reply(client, Trigger.Request(), 60) is not None
        recorder = next(entry.process for entry in processes.running if entry.node.name == "recorder")
        os.kill(recorder.pid, signal.SIGINT)
        assert recorder.wait(60) == 0
    assert judge.wrong == [], f"{len(judge.wrong)} wrong, the first: {judge.wrong[:3]}"
    assert judge.tracked >= 5 and judge.held, "the arm must have moved for this to mean anything"
    assert sum(1 for _ in bag_messages(tmp_path / "bag")) > count / 100
    assert "the loop is blocked" not in output.getvalue()
