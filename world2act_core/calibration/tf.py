"""Stored hand-eye calibrations as tf2 says them."""

from __future__ import annotations

from typing import Any

from world2act_core.calibration.poses import quaternion_xyzw
from world2act_core.calibration.store import StaticTransform
from world2act_core.episodes import compose, messages

TF_MESSAGE = "tf2_msgs/msg/TFMessage"


def transform_message(transform: StaticTransform, stamp_ns: int, make: Any = messages.make) -> Any:
    """A geometry_msgs/TransformStamped: the camera's optical frame in its parent's."""
    x, y, z = map(float, transform.pose[:3, 3])
    qx, qy, qz, qw = map(float, quaternion_xyzw(transform.pose))
    return make(
        "geometry_msgs/msg/TransformStamped",
        header=compose.header(stamp_ns, transform.parent_frame, make),
        child_frame_id=transform.child_frame,
        transform=make(
            "geometry_msgs/msg/Transform",
            translation=make("geometry_msgs/msg/Vector3", x=x, y=y, z=z),
            rotation=make("geometry_msgs/msg/Quaternion", x=qx, y=qy, z=qz, w=qw),
        ),
    )
