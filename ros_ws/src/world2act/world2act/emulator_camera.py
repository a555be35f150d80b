"""Node ``emulator_camera``: one camera that sees the emulated arm where its joint states say that it is.

A process of its own: in software a 640x480 image takes far longer than the period of the controllers.
"""

from __future__ import annotations

import sys
from typing import Any

from sensor_msgs.msg import Image, JointState

from world2act.node import IMAGE, OK, World2ActNode, make
from world2act.running import run_node
from world2act_core.episodes import compose, fields
from world2act_core.errors import World2ActError
from world2act_core.simulators.emulator.arm import EmulatedScene
from world2act_core.types import Array


class EmulatorCameraNode(World2ActNode):
    """Renders the newest joint state, as often as this machine can and at most at the camera's rate."""

    def __init__(self) -> None:
        super().__init__("emulator_camera")
        self._embodiment = self.embodiment_parameter()
        name = self.parameter("camera", next(iter(self._embodiment.cameras)), "camera of the embodiment")
        if name not in self._embodiment.cameras:
            raise World2ActError(f"{self._embodiment.name} has no camera {name!r}")
        self._camera = self._embodiment.cameras[name]
        self._scene: EmulatedScene | None = None
        self._newest: Any = None
        self._gripper: Array | None = None
        self._frames = 0

    def configure(self) -> None:
        self._scene = EmulatedScene(self._embodiment)
        self._publisher = self.speak(Image, self._camera.topic, IMAGE)

    def activate(self) -> None:
        # Depth 1: a queue would show the arm where it was some frames ago.
        self.listen(JointState, self._embodiment.state["joint_positions"].topic, self._on_state, IMAGE)
        gripper = self._embodiment.state["gripper_positions"]
        self.listen(JointState, gripper.topic, self._on_gripper, IMAGE)
        self.every(1.0 / self._camera.rate_hz, self._render)

    def cleanup(self) -> None:
        if self._scene is not None:
            self._scene.close()
            self._scene = None

    def _on_state(self, message: JointState) -> None:
        if fields.carries(message, self._embodiment.state["joint_positions"]):
            self._newest = message

    def _on_gripper(self, message: JointState) -> None:
        stream = self._embodiment.state["gripper_positions"]
        if fields.carries(message, stream):
            self._gripper = fields.state_value(message, stream)

    def _render(self) -> None:
        message, self._newest = self._newest, None
        if message is None or self._gripper is None or self._scene is None:
            return
        joints = fields.state_value(message, self._embodiment.state["joint_positions"])
        image = self._scene.frame(self._camera.name, joints, float(self._gripper[0]))
        stamp = fields.stamp_ns(message.header.stamp)
        self._publisher.publish(compose.image_message(image, self._camera, stamp, make))
        self._frames += 1
        self.report(OK, "delivering", frames=self._frames)


def main() -> None:
    sys.exit(run_node(EmulatorCameraNode))
