"""Reading the fields of messages, by attribute only: the same code serves bags (`rosbags`) and live nodes (rclpy).

Every function here is pure. What contradicts the embodiment contract raises ContractError and is never repaired.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from world2act_core.embodiment import ActionLayout, Camera, StateStream
from world2act_core.errors import ContractError
from world2act_core.types import Array

NS = 10**9
TRACK, HOLD = 0, 1  # ArmCommand.mode
# encoding → (bytes a pixel, channels that make R, G, B)
_ENCODINGS: dict[str, tuple[int, tuple[int, int, int]]] = {
    "rgb8": (3, (0, 1, 2)),
    "bgr8": (3, (2, 1, 0)),
    "mono8": (1, (0, 0, 0)),
    "rgba8": (4, (0, 1, 2)),
    "bgra8": (4, (2, 1, 0)),
}


def stamp_ns(time: Any) -> int:
    """A builtin_interfaces/Time in nanoseconds, exactly."""
    return int(time.sec) * NS + int(time.nanosec)


def header_stamp_ns(raw: bytes | memoryview) -> int:
    """Stamp of a serialised message that begins with a header, without decoding the rest (an image, say)."""
    sec, nanosec = struct.unpack_from("<iI" if raw[1] & 1 else ">iI", raw, 4)
    return int(sec) * NS + int(nanosec)


def stamp_s(time: Any) -> float:
    """A builtin_interfaces/Time in seconds: the float nearest to it."""
    return ns_to_seconds(stamp_ns(time))


def ns_to_seconds(ns: int) -> float:
    """The float nearest to ``ns`` nanoseconds (integer division is correctly rounded, a product is not)."""
    return int(ns) / NS


def seconds_to_ns(seconds: float) -> int:
    """The whole nanosecond nearest to ``seconds``; exact also for times since 1970."""
    whole = math.floor(seconds)
    return whole * NS + round((float(seconds) - whole) * NS)


def split_ns(ns: int) -> tuple[int, int]:
    """``(sec, nanosec)`` of a builtin_interfaces/Time."""
    return divmod(int(ns), NS)


def decode_image(message: Any, camera: Camera) -> Array:
    """A sensor_msgs/Image as ``(H, W, 3)`` uint8 RGB, upright (the camera's rotation applied).

    Raises:
        ContractError: unknown encoding, or sizes that contradict each other or the contract; names the topic.
    """
    where = f"image on {camera.topic} ({message.encoding}, {message.width}x{message.height}, step {message.step})"
    if message.encoding not in _ENCODINGS:
        raise ContractError(f"{where}: unknown encoding, expected one of {', '.join(_ENCODINGS)}")
    height, width, step = int(message.height), int(message.width), int(message.step)
    if (width, height) != (camera.width, camera.height):
        raise ContractError(f"{where}: the embodiment says {camera.width}x{camera.height}")
    pixel, channels = _ENCODINGS[message.encoding]
    data = np.frombuffer(message.data, np.uint8)
    if step < width * pixel or len(data) != step * height:
        raise ContractError(f"{where}: {len(data)} bytes of data do not fit these sizes")
    # is_bigendian orders the bytes of one channel; every encoding here has one byte a channel, so it changes nothing.
    rows = data.reshape(height, step)[:, : width * pixel].reshape(height, width, pixel)
    rgb = rows if channels == (0, 1, 2) and pixel == 3 else rows[..., list(channels)]
    return np.array(np.rot90(rgb, camera.rotation_deg // 90), order="C")


def joint_values(message: Any, names: Sequence[str]) -> Array:
    """Positions of the named joints of a JointState, ``(D,)`` float32, whatever their order in the message.

    Raises:
        ContractError: a joint is missing or not finite; names it.
    """
    index = {name: i for i, name in enumerate(message.name)}
    missing = [name for name in names if name not in index]
    if missing:
        raise ContractError(f"joint {missing[0]} is not in the joint state, which has {', '.join(index) or 'none'}")
    positions = message.position
    if len(positions) != len(message.name):
        raise ContractError(f"joint state names {len(message.name)} joints but has {len(positions)} positions")
    values = np.array([positions[index[name]] for name in names], np.float32)
    _refuse_not_finite(values, names, "joint")
    return values


def pose_field(message: Any, field: str, frame_id: str) -> Array:
    """``position`` (x, y, z) or ``orientation`` (x, y, z, w) of a PoseStamped, float32.

    Raises:
        ContractError: the pose is in another frame than the contract says, or not finite.
    """
    if message.header.frame_id != frame_id:
        raise ContractError(f"pose is in frame {message.header.frame_id!r}, the embodiment says {frame_id!r}")
    part = getattr(message.pose, field)
    axes = "xyz" if field == "position" else "xyzw"
    values = np.array([getattr(part, axis) for axis in axes], np.float32)
    _refuse_not_finite(values, axes, field)
    return values


def carries(message: Any, stream: StateStream) -> bool:
    """False for a joint state that holds none of the stream's joints (another publisher on the same topic)."""
    return not stream.joints or not set(stream.joints).isdisjoint(message.name)


def state_value(message: Any, stream: StateStream) -> Array:
    """One row of a state stream, ``(D,)`` float32, from a JointState or PoseStamped; errors name the topic."""
    try:
        if stream.joints:
            return joint_values(message, stream.joints)
        return pose_field(message, stream.field, stream.frame_id)
    except ContractError as error:
        stamp = stamp_s(message.header.stamp)
        raise ContractError(f"{stream.name} on {stream.topic} at stamp {stamp:.3f} s: {error}") from None


def command_values(message: Any, layout: ActionLayout) -> Array:
    """The action of an ArmCommand that tracks, ``(A,)`` float32.

    Raises:
        ContractError: the command holds (a hold is no action), has another length, or is not finite.
    """
    where = f"command on {layout.topic} at stamp {stamp_s(message.header.stamp):.3f} s"
    if message.mode != TRACK:
        raise ContractError(f"{where}: mode {message.mode} is not TRACK, so it carries no action")
    values = np.array(message.values, np.float32)
    if values.shape != (layout.size,):
        raise ContractError(f"{where}: {values.size} values, the embodiment's action has {layout.size}")
    try:
        _refuse_not_finite(values, layout.names, "action")
    except ContractError as error:
        raise ContractError(f"{where}: {error}") from None
    return values


def _refuse_not_finite(values: Array, names: Sequence[str], what: str) -> None:
    for name, value in zip(names, values, strict=True):
        if not np.isfinite(value):
            raise ContractError(f"{what} {name} is {value}")
