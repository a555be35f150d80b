"""ROS 2 Jazzy message types without ROS: what `rosbags` ships plus World2Act's own .msg files.

The type hashes equal those that colcon builds, so ``ros2 bag play`` and live nodes understand our bags.
"""

from __future__ import annotations

import struct
from functools import cache
from importlib import resources
from typing import Any

from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

IMAGE = "sensor_msgs/msg/Image"
JOINT_STATE = "sensor_msgs/msg/JointState"
POSE_STAMPED = "geometry_msgs/msg/PoseStamped"
ARM_COMMAND = "world2act_interfaces/msg/ArmCommand"
ACTION_CHUNK = "world2act_interfaces/msg/ActionChunk"
EPISODE_EVENT = "world2act_interfaces/msg/EpisodeEvent"
SKILL_PROMPT = "world2act_interfaces/msg/SkillPrompt"

# Topics that are the same for every robot; those of cameras, state and actions come from the embodiment contract.
EPISODE_EVENT_TOPIC = "episode_event"
HOW_EPISODES_ARE_MARKED = (
    f"in a bag only what {EPISODE_EVENT_TOPIC} marks with START and END is one, as world2act up record writes it"
)
"""For who looks for episodes in a bag that holds none."""
SKILL_PROMPT_TOPIC = "skill_prompt"
ACTION_CHUNK_TOPIC = "action_chunk"


# What rosbags' generated code raises on bytes that are no message of the type.
_GARBAGE = (SerdeError, struct.error, ValueError, IndexError, TypeError, AssertionError, OverflowError, MemoryError)
_SURPLUS = 64  # bytes


@cache
def typestore() -> Typestore:
    """The message types of a World2Act bag: Jazzy's and ours."""
    store = get_typestore(Stores.ROS2_JAZZY)
    own: dict[str, Any] = {}
    for entry in (resources.files("world2act_core.episodes") / "interfaces").iterdir():
        if entry.name.endswith(".msg"):
            name = f"world2act_interfaces/msg/{entry.name[:-4]}"
            own.update(get_types_from_msg(entry.read_text(encoding="utf-8"), name))
    store.register(own)
    return store


def make(type_name: str, **fields: Any) -> Any:
    """Build a message for a bag; array fields are numpy arrays of the field's own dtype."""
    return typestore().types[type_name](**fields)


def serialise(message: Any) -> bytes:
    """CDR bytes, as on the wire and in a bag."""
    return bytes(typestore().serialize_cdr(message, message.__msgtype__))


def deserialise(raw: bytes | memoryview, type_name: str) -> Any:
    """The inverse of ``serialise``.

    Raises:
        ValueError: the bytes are not a message of this type.
    """
    fault = ""
    # rclpy's serialize_message leaves uninitialised bytes behind a message with empty sequences (a JointState without
    # velocities), because it reserves room for their alignment; rosbags takes that for another type.
    for surplus in range(0, min(_SURPLUS, len(raw)), 4):
        try:
            return typestore().deserialize_cdr(raw[: len(raw) - surplus], type_name)
        except _GARBAGE as error:
            fault = fault or " ".join(str(error).split()) or type(error).__name__
    raise ValueError(f"not a {type_name}: {fault or 'no bytes at all'}")


def definition(type_name: str) -> str:
    """The message definition with its dependencies, as rosbag2 stores it."""
    text, _ = typestore().generate_msgdef(type_name, ros_version=2)
    return str(text)


@cache
def type_hash(type_name: str) -> str:
    """RIHS01 hash, the same that colcon gives."""
    return str(typestore().hash_rihs01(type_name))
