"""`world2act calibrate hand-eye live`: an arm that is moved from pose to pose, and a camera that sees the board from
there; through the emulated arm's own topics, against a known truth."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Header
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from tests.ros.support import fr3, running, single
from world2act.node import COMMAND, IMAGE, STATE_READER, make
from world2act_core.calibration.poses import difference
from world2act_core.calibration.store import read_hand_eye
from world2act_core.embodiment import load_embodiment
from world2act_core.episodes import compose, fields
from world2act_core.types import Array

pytest.importorskip("robosuite")

ROOT = Path(__file__).parents[2]
LEAST_M, LEAST_DEG = 0.001, 0.1  # of the issue


class ShownCell:
    """The emulated arm, moved by a test; images of the board from wherever it is."""

    def __init__(self, probe: Any, contract: Path) -> None:
        from benchmarks._calibration_cell import IN_HAND, Cell

        self.cell, self.truth, self._probe = Cell(), IN_HAND, probe
        robot = load_embodiment(contract)
        self.joints, self._camera = robot.state["joint_positions"].joints, robot.cameras["wrist"]
        assert robot.limits.joints is not None
        self._limits = robot.limits.joints
        probe.listen(JointState, "joint_states", STATE_READER)
        self._images = probe.node.create_publisher(Image, self._camera.topic, IMAGE)
        self._commands = probe.node.create_publisher(JointTrajectory, robot.output.topic, COMMAND)

    def measured(self) -> tuple[Array, int]:
        """The newest joints ``(7,)`` and their stamp, ns."""
        message = self._probe.heard["joint_states"][-1]
        return fields.joint_values(message, self.joints), fields.stamp_ns(message.header.stamp)

    def go(self, joints: Array) -> None:
        """Until the arm rests there; told again where a busy machine was too late for the controller."""
        point = JointTrajectoryPoint(positions=[float(value) for value in joints])
        point.time_from_start.sec = 1
        for _ in range(5):
            message = JointTrajectory(header=Header(), joint_names=list(self.joints), points=[point])
            self._commands.publish(message)
            self._probe.spin(1.3)
            if np.abs(self.measured()[0] - joints).max() < 2e-3:
                return
        raise AssertionError("the arm did not get there")

    def poses(self, count: int) -> list[Array]:
        """Joints ``(7,)`` from which the board is seen, within the arm's range."""
        lower, upper = self._limits.lower + 0.15, self._limits.upper - 0.15  # a Panda's are narrower than an FR3's
        seen = self.cell.joints_for(self.truth, 2 * count, 4)
        return [joints for joints in seen if np.all((joints > lower) & (joints < upper))][:count]

    def show(self, until: Any) -> None:
        """Images of the board at the joints' stamps until something is seen."""
        image = self.cell.image(self.cell.seen(self.truth, self.measured()[0]))
        for _ in range(200):
            if until():
                return
            stamp = self.measured()[1]
            self._images.publish(compose.raw_image_message(image, self._camera, stamp, make))
            self._probe.spin(0.1)
        raise AssertionError("the pose was not taken")


@pytest.mark.slow
def test_an_arm_that_is_moved_by_hand_calibrates_its_camera_live(probe: Any, domain: int, tmp_path: Path) -> None:
    from benchmarks._calibration_cell import LINK, panda_mjcf
    from tests.calibration.test_command import true_intrinsics

    contract, stored = fr3(tmp_path), tmp_path / "stored"
    shown = ShownCell(probe, contract)
    true_intrinsics(shown.cell, stored)
    command = [
        sys.executable, "-m", "world2act_core.cli", "calibrate", "hand-eye", "live", "--embodiment", str(contract),
        "--camera", "wrist", "--kind", "eye_in_hand", "--model", str(panda_mjcf()), "--link", LINK,
        "--folder", str(stored), "--board", str(ROOT / "calibration" / "boards" / "charuco_a4.yaml"),
    ]  # fmt: skip
    with running(single("arm_emulator", robot=str(contract)), domain):
        said = (tmp_path / "said.txt").open("w+")
        environment = {**os.environ, "ROS_DOMAIN_ID": str(domain), "PYTHONPATH": os.pathsep.join(sys.path)}
        live = subprocess.Popen(command, env=environment, stdout=said, stderr=subprocess.STDOUT)
        try:
            probe.wait(lambda: probe.diagnosis("calibrator"), 90, "the calibrator")
            probe.wait(lambda: probe.heard["joint_states"], 30, "the arm")
            kept = lambda: int(probe.diagnosed("calibrator", "views") or 0)  # noqa: E731
            advice: list[str] = []
            for number, joints in enumerate(shown.poses(25), 1):
                shown.go(joints)
                shown.show(lambda number=number: kept() >= number or live.poll() is not None)
                advice.append(probe.diagnosed("calibrator", "next"))
            assert live.wait(60) == 0, (tmp_path / "said.txt").read_text()
        finally:
            live.kill()
            live.wait()
            said.close()
            shown.cell.close()
    output = (tmp_path / "said.txt").read_text()
    assert "25 poses, error" in output and "stored:" in output and "Traceback" not in output, output
    assert "turned by 30 degrees" in advice[0] and "more; rest there for a second" in advice[-2]
    found = read_hand_eye(stored, "wrist")
    metres, degrees = difference(found.pose, shown.truth.camera)
    print(f"hand-eye live, 25 poses: {1000 * metres:.3f} mm, {degrees:.4f} degrees from the truth")
    assert metres < LEAST_M and degrees < LEAST_DEG and found.parent_frame == LINK
    kept_images = sorted(file.name for file in (stored / "wrist.hand_eye").glob("*.png"))
    table = (stored / "wrist.hand_eye" / "poses.csv").read_text().splitlines()
    assert len(kept_images) == 25 and [row.split(",")[0] for row in table[1:]] == kept_images
