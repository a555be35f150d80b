"""What the ROS tests share: a probe that waits for conditions, graphs as real processes, a stand-in for an arm."""

from __future__ import annotations

import io
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from tests.runtime.arms import pose
from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.episodes import compose
from world2act_core.runtime.graphs import Graph, NodeSpec, dds_environment
from world2act_core.runtime.processes import GraphProcesses
from world2act_core.types import Episode


class Probe:
    """A node that listens and speaks for a test."""

    def __init__(self, domain: int) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("probe", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.heard: dict[str, list[Any]] = defaultdict(list)

    def listen(self, kind: Any, topic: str, qos: Any) -> None:
        self.node.create_subscription(kind, topic, self.heard[topic].append, qos)

    def wait(self, condition: Callable[[], Any], seconds: float, what: str) -> Any:
        """Spin until the condition holds; returns its value."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < deadline, f"{what}: did not happen within {seconds} s"
            self.executor.spin_once(timeout_sec=0.02)
        return value

    def spin(self, seconds: float) -> None:
        """Listen for a while, to see that something does not happen."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.executor.spin_once(timeout_sec=min(left, 0.02))

    def wait_ready(self, name: str, seconds: float = 30.0) -> None:
        """Until a node is active and connected to everything that is there."""
        from std_srvs.srv import Trigger

        client = self.node.create_client(Trigger, f"/{name}/ready")
        self.wait(client.service_is_ready, seconds, f"{name} is there")

        def ready() -> bool:
            """Asks anew where the answer is lost, as it is when the server has not found this client yet."""
            future = client.call_async(Trigger.Request())
            self.executor.spin_until_future_complete(future, timeout_sec=1.0)
            return future.done() and bool(future.result().success)

        self.wait(ready, seconds, f"{name} is ready")
        self.node.destroy_client(client)

    def wait_for_reply(self, client: Any, request: Any, seconds: float) -> Any:
        """Call a service."""
        future = client.call_async(request)
        self.wait(future.done, seconds, f"{client.srv_name} answers")
        return future.result()

    def diagnosis(self, name: str) -> str:
        """The last message in the diagnostics of a node."""
        found = [s.message for array in self.heard["/diagnostics"] for s in array.status if s.name == name]
        return found[-1] if found else ""

    def diagnosed(self, name: str, key: str) -> str:
        """The last value of a key in the diagnostics of a node."""
        found = [s.values for array in self.heard["/diagnostics"] for s in array.status if s.name == name]
        return next((pair.value for pair in found[-1] if pair.key == key), "") if found else ""

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()


@contextmanager
def running(graph: Graph, domain: int) -> Iterator[tuple[GraphProcesses, io.StringIO]]:
    """A graph as processes in a domain; what they said is shown if the test fails."""
    before = os.environ.get("ROS_DOMAIN_ID")
    os.environ["ROS_DOMAIN_ID"] = str(domain)
    output = io.StringIO()
    try:
        with GraphProcesses(graph, output) as processes:
            yield processes, output
    finally:
        if before is None:
            del os.environ["ROS_DOMAIN_ID"]
        else:
            os.environ["ROS_DOMAIN_ID"] = before
        print(output.getvalue())


def single(executable: str, **parameters: Any) -> Graph:
    """A graph of one node."""
    return Graph("single", (NodeSpec(executable, executable, parameters=parameters, env=dds_environment()),))


def fr3(folder: Path, kind: str = "joint_trajectory", chunk_length: int = 4) -> Path:
    """The FR3's contract with twists, or with joint positions straight into the trajectory controller."""
    contract = yaml.safe_load((Path(load_embodiment.__code__.co_filename).parent / "files/franka_fr3.yaml").read_text())
    contract |= {"name": f"fr3_{kind}", "chunk_length": chunk_length, "max_skew_s": 0.045}
    if kind == "joint_trajectory":
        joints, limits = contract["state"]["joint_positions"]["joints"], contract["limits"]
        limits["ramp_s"] = 0.2  # no chunk ends in a lead-in, however long the machine makes the arm wait for it
        contract["action"] = {
            "topic": "arm_command", "kind": "joint_positions", "names": [*joints, "gripper"],
            "units": ["rad"] * 7 + ["normalised"], "scale": [1] * 8,
            "low": [*limits["joint_positions"]["lower"], -1], "high": [*limits["joint_positions"]["upper"], 1],
        }  # fmt: skip
        contract["output"] = {
            **contract["output"], "kind": "joint_trajectory", "topic": "fr3_arm_controller/joint_trajectory",
            "time_from_start_s": 0.5,  # a machine that runs tests may be this late, and a late point is refused
        }  # fmt: skip
        del contract["output"]["frame_id"]
    file = folder / f"{contract['name']}.yaml"
    file.write_text(yaml.safe_dump(contract))
    return file


def make_episode(embodiment: Embodiment, steps: int = 16, episode_id: str = "made") -> Episode:
    """A synthetic episode with both cameras and actions that differ from step to step."""
    rng = np.random.default_rng(0)
    frames = np.arange(0, steps + 1, embodiment.chunk_length)
    size = {name: (len(frames), c.height, c.width, 3) for name, c in embodiment.cameras.items()}
    return Episode(
        episode_id=episode_id,
        task="put the bowl on the plate",
        embodiment=embodiment.name,
        stamps=np.arange(steps + 1) * embodiment.step_s,
        state={n: np.full((steps + 1, s.size), 0.1, np.float32) for n, s in embodiment.state.items()},
        actions=rng.uniform(-0.5, 0.5, (steps, embodiment.action.size)).astype(np.float32),
        frame_steps=frames,
        images={name: np.zeros(shape, np.uint8) for name, shape in size.items()},
    )


def a_video(path: Path, seconds: float, rate_hz: float) -> Path:
    """Blue frames, 128x128."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate_hz, (128, 128))
    for _ in range(round(seconds * rate_hz)):
        writer.write(np.full((128, 128, 3), (255, 0, 0), np.uint8))  # OpenCV's blue
    writer.release()
    return path


class FakeArm:
    """A test's stand-in for cameras and joint states of an embodiment."""

    def __init__(self, probe: Probe, embodiment: Embodiment, with_cameras: bool = True) -> None:
        from world2act.node import IMAGE, STATE, make, message_class
        from world2act.topics import state_topics

        self._embodiment, self._make, self._pose = embodiment, make, pose(embodiment)
        create = probe.node.create_publisher
        topics = {topic: (message_class(kind), STATE) for topic, kind in state_topics(embodiment).items()}
        image = message_class("sensor_msgs/msg/Image")
        if with_cameras:
            topics.update({camera.topic: (image, IMAGE) for camera in embodiment.cameras.values()})
        self.publishers = {topic: create(kind, topic, qos) for topic, (kind, qos) in topics.items()}

    def change(self, **streams: Any) -> None:
        """From now on these streams show other values."""
        self._pose = pose(self._embodiment, **streams)

    def show_state(self, stamp: float) -> None:
        for topic, message in compose.state_messages(self._embodiment, self._pose, round(stamp * 1e9), self._make):
            self.publishers[topic].publish(message)

    def show_images(self, stamp: float, *cameras: str) -> None:
        for name in cameras:
            camera = self._embodiment.cameras[name]
            image = np.zeros((camera.height, camera.width, 3), np.uint8)
            message = compose.image_message(image, camera, round(stamp * 1e9), self._make)
            self.publishers[camera.topic].publish(message)
