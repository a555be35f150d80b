"""Node ``calibrator``: a camera's live topic → intrinsics, or whether the stored ones still hold; with the arm's joint
states or poses beside it, the hand-eye transform.

Says in log and diagnostics which pose of board or arm to show next; ends by itself when there are enough views, and at
once on ``~/finish``. ``world2act calibrate intrinsics live`` and ``hand-eye live`` start it.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import Trigger

from world2act.node import IMAGE, OK, RECORD_SENSOR, World2ActNode
from world2act.running import run_node
from world2act_core.calibration.live import LiveCalibration, LiveSettings
from world2act_core.calibration.live_hand_eye import HandEyeSettings, LiveHandEye
from world2act_core.calibration.sources import image_of
from world2act_core.episodes import fields
from world2act_core.errors import World2ActError

LINGER_S = 0.5
HAND_EYE = "hand_eye"


class CalibratorNode(World2ActNode):
    """Offers every image to the core."""

    def __init__(self) -> None:
        super().__init__("calibrator")
        embodiment = self.embodiment_parameter()
        name = self.parameter("camera", next(iter(embodiment.cameras)), "camera of the embodiment")
        if name not in embodiment.cameras:
            raise World2ActError(f"{embodiment.name} has no camera {name!r}, only {', '.join(embodiment.cameras)}")
        self._camera = embodiment.cameras[name]
        said = "intrinsics: calibrate; check: compare with what is stored; hand_eye: where the camera is"
        mode = self.parameter("mode", "intrinsics", said)
        shared = {
            "board": self.parameter("board", "", "file of the ChArUco board"),
            "folder": self.parameter("calibration", "", "folder of the robot's calibrations"),
            "serial": self.parameter("serial", "", "serial number of the camera, to be stored"),
        }
        lens = self.parameter("model", "plumb_bob", "of the lens: plumb_bob, rational_polynomial")
        self._arm_topic = self.parameter("arm_topic", "", "hand_eye: the arm's joint states, or poses")
        arm = {
            "kind": self.parameter("kind", "eye_in_hand", "hand_eye: eye_in_hand or eye_to_hand"),
            "parent": self.parameter("parent", "", "hand_eye: frame in which the camera's place is told"),
            "model": self.parameter("robot_model", "", "hand_eye: URDF or MJCF; empty: the topic tells poses"),
            "link": self.parameter("link", "", "hand_eye: the link that carries the camera or the board"),
            "base": self.parameter("base", "", "hand_eye: the link in whose frame poses are; empty: the model's root"),
        }
        self._settings = (
            HandEyeSettings(**shared, **arm) if mode == HAND_EYE else LiveSettings(mode, **shared, model=lens)
        )
        self._live: LiveCalibration | LiveHandEye | None = None
        self._advice, self._result, self._ends_at = "", "", float("inf")
        self.create_service(Trigger, "~/finish", self._on_finish)

    def configure(self) -> None:
        settings = self._settings
        if isinstance(settings, HandEyeSettings):
            self._live = LiveHandEye(settings, self._camera)
        else:
            self._live = LiveCalibration(settings, self._camera)

    def activate(self) -> None:
        self.listen(Image, self._camera.topic, self._look, IMAGE)
        if isinstance(self._live, LiveHandEye):
            kind = JointState if self._settings.model else PoseStamped
            # Looking for the board takes far longer than the period of the arm's states, and none may be missed.
            self.listen(kind, self._arm_topic, self._live.on_arm, RECORD_SENSOR)
        self.every(0.5, self._say)

    def _look(self, message: Any) -> None:
        assert self._live is not None
        if self._result:
            return
        image = image_of(message, self._camera.topic)
        if isinstance(self._live, LiveHandEye):
            said = self._live.offer(image, fields.stamp_s(message.header.stamp))
        else:
            said = self._live.offer(image)
        self.report(OK, said, views=self._live.kept, next=self._live.advice)

    def _say(self) -> None:
        assert self._live is not None
        if self._result:
            self.done = time.monotonic() > self._ends_at
        elif self._live.enough:
            self._finish()
        elif self._live.advice != self._advice:
            self._advice = self._live.advice
            self.get_logger().info(f"{self._live.kept} views; next: {self._advice}")

    def _on_finish(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.message = self._finish()
        response.success = self.exit_code == 0
        return response

    def _finish(self) -> str:
        """The result; the process ends a little later, so that whoever asked gets the answer."""
        if self._live is None or self._result:
            return self._result or "not configured"
        try:
            good, said = self._live.finish()
        except World2ActError as error:
            good, said = False, str(error)
        if good:  # two call sites: rclpy's logger forbids one that changes its severity
            self.get_logger().info(said)
        else:
            self.get_logger().error(said)
        self.exit_code, self._result, self._ends_at = 0 if good else 1, said, time.monotonic() + LINGER_S
        return said


def main() -> None:
    sys.exit(run_node(CalibratorNode))
