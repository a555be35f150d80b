"""Node ``static_transforms``: stored hand-eye calibrations → /tf_static, once, for whoever comes.

tf2's messages are not everywhere; without them the node says so, and the core reads the files.
"""

from __future__ import annotations

import importlib
import sys

from world2act.node import LATCHED, OK, WARN, World2ActNode, make
from world2act.running import run_node
from world2act_core.calibration.store import transforms
from world2act_core.calibration.tf import TF_MESSAGE, transform_message


class StaticTransformsNode(World2ActNode):
    """Publishes when it becomes active, and keeps the message for late joiners."""

    def __init__(self) -> None:
        super().__init__("static_transforms")
        self._folder = self.parameter("calibration", "", "folder of the robot's calibrations")

    def configure(self) -> None:
        self._found = transforms(self._folder)
        try:
            kind = importlib.import_module("tf2_msgs.msg").TFMessage
        except ImportError:
            self._publisher = None
            return
        self._publisher = self.speak(kind, "/tf_static", LATCHED)

    def activate(self) -> None:
        stamp_ns = self.get_clock().now().nanoseconds
        composed = [transform_message(transform, stamp_ns, make) for transform in self._found]
        if self._publisher is not None:
            self.publish(self._publisher, make(TF_MESSAGE, transforms=composed))
        self.every(1.0, self._say)

    def _say(self) -> None:
        frames = {transform.child_frame: transform.parent_frame for transform in self._found}
        if self._publisher is None:
            self.report(
                WARN, "tf2_msgs is not installed: hand-eye calibrations are read from their files only", **frames
            )
        else:
            self.report(OK if frames else WARN, f"{len(frames)} static transforms from {self._folder}", **frames)


def main() -> None:
    sys.exit(run_node(StaticTransformsNode))
