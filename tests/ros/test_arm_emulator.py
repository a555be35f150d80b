"""The graph of a real arm with the emulator where the arm would be: it moves as told, holds when nobody tells it."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from tests.ros.support import fr3, running, single
from world2act.node import COMMAND_OFFERED, RECORD, RECORD_SENSOR
from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.episodes import BagWriter
from world2act_core.episodes.fields import joint_values, stamp_ns
from world2act_core.runtime.graphs import Graph, describe
from world2act_core.types import Array, Episode
from world2act_interfaces.msg import ArmCommand

HOME = np.array([0, -np.pi / 4, 0, -3 * np.pi / 4, 0, np.pi / 2, np.pi / 4])
REACH = np.array([0.08, 0.05, -0.05, 0.08, 0.05, -0.08, 0.1])  # rad: the filter takes it within one chunk
CHUNK = 20  # steps, 1 s: long enough to be killed in its middle

pytestmark = [pytest.mark.libero]


def bag_of(path: Path, embodiment: Embodiment, actions: Array) -> Path:
    """A bag whose one episode holds these actions ``(T, A)`` and no images, so that nothing need be rendered."""
    steps = len(actions)
    episode = Episode(
        episode_id="made",
        task="reach",
        embodiment=embodiment.name,
        stamps=np.arange(steps + 1) * embodiment.step_s,
        state={name: np.full((steps + 1, s.size), 0.1, np.float32) for name, s in embodiment.state.items()},
        actions=actions.astype(np.float32),
        frame_steps=np.zeros(0, np.int64),
        images={},
    )
    with BagWriter(path, embodiment) as writer:
        writer.write_episode(episode)
    return path


def emulated(tmp_path: Path, embodiment: str, bag: Path, **arguments: str) -> Graph:
    """``real_arm robot:=emulator`` whose joints come in another order in every message, late on a busy machine."""
    nodes = {
        "arm_emulator": {"permute_joints": True},
        "command": {"state_timeout_s": 5.0},
        "policy": {"max_age_s": 5.0},
    }
    parameters = {f"/**/{name}": {"ros__parameters": values} for name, values in nodes.items()}
    (tmp_path / "parameters.yaml").write_text(yaml.safe_dump(parameters))
    given = {"robot": "emulator", "embodiment": embodiment, "policy": f"replay:{bag}", "task": "reach"}
    return describe("real_arm").build({**given, "params_file": str(tmp_path / "parameters.yaml"), **arguments})


class Watch:
    """Listens to the emulated arm."""

    def __init__(self, probe: Any, embodiment: Embodiment) -> None:
        self._probe, self._joints = probe, embodiment.state["joint_positions"].joints
        probe.listen(JointState, "joint_states", RECORD_SENSOR)
        probe.listen(ArmCommand, "arm_command", RECORD)
        self.states: list[JointState] = probe.heard["joint_states"]
        gripper = embodiment.state["gripper_positions"].topic
        if gripper != "joint_states":
            probe.listen(JointState, gripper, RECORD_SENSOR)
        self.fingers: list[JointState] = probe.heard[gripper]
        self.commands: list[ArmCommand] = probe.heard["arm_command"]

    def joints(self) -> Array:
        return joint_values(self.states[-1], self._joints)

    def start(self) -> None:
        self._probe.wait_ready("skill_prompter", 60)
        # Both are said without a task, and show that the other side has found this listener.
        self._probe.wait(lambda: self.states and self.commands, 30, "the arm's states and a command that holds")
        client = self._probe.node.create_client(Trigger, "skill_prompter/start")
        assert self._probe.wait_for_reply(client, Trigger.Request(), 20).success

    def tracked(self) -> int:
        return sum(command.mode == ArmCommand.TRACK for command in self.commands)

    def idle_s(self) -> float:
        """Seconds of the arm's clock since something was tracked, 0 before."""
        stamps = [command.header.stamp for command in self.commands if command.mode == ArmCommand.TRACK]
        last = self.commands[-1].header.stamp if stamps else None
        return 0.0 if last is None else (last.sec - stamps[-1].sec) + 1e-9 * (last.nanosec - stamps[-1].nanosec)

    def violations(self) -> dict[str, Any]:
        client = self._probe.node.create_client(Trigger, "arm_emulator/violations")
        self._probe.wait(client.service_is_ready, 10, "the emulator's service")
        reply = self._probe.wait_for_reply(client, Trigger.Request(), 10)
        found: dict[str, Any] = json.loads(reply.message)
        return found


def silent_s(diagnosis: str) -> float:
    """How long the holding emulator says that it has heard nothing, or 0."""
    found = re.search(r"^holding.*, no command for ([\d.]+) s", diagnosis)
    return float(found[1]) if found else 0.0


def broken(found: dict[str, Any]) -> dict[str, int]:
    """The limits that a command broke; that a busy machine delivered one too late is none of them."""
    return {kind: found[kind] for kind in ("joint_limit", "velocity", "jump", "not_finite") if found[kind]}


def test_a_policy_that_leaps_once_reaches_its_target_and_the_leap_never_leaves(
    probe: Any, domain: int, tmp_path: Path
) -> None:
    """Replay, safety filter, trajectory controller: the third of five chunks is what the emulator would count."""
    file = fr3(tmp_path)
    robot = load_embodiment(file)
    ramp = HOME + np.linspace(0.05, 1, 20)[:, None] * REACH
    ramp[8:12, 0] = 2.5  # rad: within the joint's range, but half a second is too short to get there
    actions = np.hstack([ramp, np.ones((20, 1))])  # the gripper closes
    watch = Watch(probe, robot)
    with running(emulated(tmp_path, str(file), bag_of(tmp_path / "bag", robot, actions)), domain):
        watch.start()
        probe.wait(lambda: watch.idle_s() > 4, 60, "the recording is over")
        target = np.array([c for c in watch.commands if c.mode == ArmCommand.TRACK][-1].values[:7])
        probe.wait(lambda: np.abs(watch.joints() - target).max() < 0.01, 20, "the target is reached")
        probe.spin(0.5)
        assert np.abs(watch.joints() - target).max() < 0.01, "and held"
        orders = {tuple(state.name) for state in watch.states[-10:]}
        assert len(orders) > 1, "the joints came in different orders"
        fingers = joint_values(watch.fingers[-1], robot.state["gripper_positions"].joints)
        assert (fingers < 0.005).all()
        found = watch.violations()
    assert found["commands"] >= 10 and broken(found) == {}, found
    assert 4 <= watch.tracked() <= 16, "a busy machine may miss steps, but the leap's chunk has no part in it"
    assert not [c for c in watch.commands if c.mode == ArmCommand.TRACK and c.chunk == 3]
    refusals = [c.reason for c in watch.commands if c.mode == ArmCommand.HOLD and "fr3_joint1 would" in c.reason]
    assert refusals and all(reason.startswith("chunk 3, step") for reason in refusals), refusals
    first = next(c for c in watch.commands if c.mode == ArmCommand.TRACK)
    assert np.abs(np.array(first.values[:7]) - HOME).max() < 0.25 * np.abs(ramp[0] - HOME).max(), "it is led in"


@pytest.mark.parametrize("kind", ["twist", "joint_trajectory"])
def test_a_command_process_killed_in_the_middle_of_a_chunk_leaves_the_arm_holding(
    probe: Any, domain: int, tmp_path: Path, kind: str
) -> None:
    file = fr3(tmp_path, kind, CHUNK)
    robot = load_embodiment(file)
    wave = np.sin(np.pi / 40 * np.arange(30 * CHUNK))[:, None]  # to and fro in 4 s, for half a minute
    arm = {"twist": wave * [0.3, 0, -0.3, 0, 0, 0], "joint_trajectory": HOME + 0.5 * wave * REACH}[kind]
    actions = np.hstack([arm, -np.ones((len(wave), 1))])
    watch = Watch(probe, robot)
    with running(emulated(tmp_path, str(file), bag_of(tmp_path / "bag", robot, actions)), domain) as (processes, _):
        watch.start()
        command = next(entry for entry in processes.running if entry.node.name == "command")

        def on_its_way() -> bool:
            tracking = watch.commands[-1:] and watch.commands[-1].mode == ArmCommand.TRACK
            moved = tracking and np.abs(watch.joints() - HOME).max() > 0.01
            return bool(moved) and CHUNK // 4 <= watch.commands[-1].step <= CHUNK // 2

        probe.wait(on_its_way, 60, "the arm moves, in the middle of a chunk")
        os.kill(command.process.pid, signal.SIGKILL)
        probe.wait(lambda: silent_s(probe.diagnosis("arm_emulator")) >= 0.5, 20, "it says that it holds")
        last = watch.commands[-1]
        assert last.mode == ArmCommand.TRACK and last.step < CHUNK - 1, "killed in the middle of the chunk"
        held, before = watch.joints(), watch.violations()
        probe.spin(1.0)
        np.testing.assert_allclose(watch.joints(), held, atol=2e-3)
        after = watch.violations()
    assert after["commands"] == before["commands"] and broken(after) == {}, (before, after)


def test_a_trajectory_with_a_wrong_joint_name_is_refused_with_a_reason(probe: Any, domain: int) -> None:
    ur5e = load_embodiment("ur5e")
    watch = Watch(probe, ur5e)
    publisher = probe.node.create_publisher(JointTrajectory, ur5e.output.topic, COMMAND_OFFERED)
    with running(single("arm_emulator", robot="ur5e"), domain):
        probe.wait(lambda: watch.states and publisher.get_subscription_count(), 60, "the emulated arm")
        before, names = watch.joints(), ["shoulder", *ur5e.state["joint_positions"].joints[1:]]
        message = JointTrajectory(joint_names=names, points=[JointTrajectoryPoint(positions=[0.0] * 6)])
        message.points[0].time_from_start.sec = 1
        publisher.publish(message)
        says = "'shoulder' is not one of the controller's joints shoulder_pan_joint"
        probe.wait(lambda: says in probe.diagnosis("arm_emulator"), 5, "the refusal")
        np.testing.assert_allclose(watch.joints(), before, atol=1e-3)
        assert watch.violations()["refused"] == 1


def test_the_emulated_arm_is_seen_where_it_is(probe: Any, domain: int, tmp_path: Path) -> None:
    robot = load_embodiment("franka_fr3")
    watch, cameras = Watch(probe, robot), robot.cameras
    for camera in cameras.values():
        probe.listen(Image, camera.topic, RECORD_SENSOR)
    graph = emulated(tmp_path, "franka_fr3", Path("none"), cameras="agentview,wrist", supervisor="false")
    scene = tuple(node for node in graph.nodes if "emulator" in node.executable)
    assert [node.name for node in scene] == ["arm_emulator", "agentview_camera", "wrist_camera"]

    def shown(topic: str) -> Image | None:
        """An image stamped as one of the states; the first may show one from before the probe heard any."""
        stamps = {stamp_ns(state.header.stamp) for state in watch.states}
        return next((image for image in probe.heard[topic] if stamp_ns(image.header.stamp) in stamps), None)

    with running(Graph("scene", scene), domain):
        for camera in cameras.values():
            seen = probe.wait(
                lambda topic=camera.topic: shown(topic), 90, f"{camera.name} sees a state, with its stamp"
            )
            pixels = np.frombuffer(seen.data, np.uint8).reshape(480, 640, 3)
            assert seen.header.frame_id == camera.frame_id and pixels.std() > 10, "not one colour"
