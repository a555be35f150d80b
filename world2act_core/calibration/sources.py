"""Images and arm poses for a calibration: from a folder, a bag, or a table beside a folder."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from world2act_core.calibration.board import CalibrationError
from world2act_core.calibration.detection import BoardDetector, Rejected, View
from world2act_core.calibration.poses import pose_of
from world2act_core.calibration.track import ArmTrack
from world2act_core.embodiment import Camera
from world2act_core.episodes import fields, messages
from world2act_core.episodes.mcap_file import RawMessage
from world2act_core.episodes.storage import bag_messages, decode
from world2act_core.errors import ContractError, DamagedBagError
from world2act_core.types import Array

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
COMPRESSED = "sensor_msgs/msg/CompressedImage"
POSE_COLUMNS = ("x", "y", "z", "qx", "qy", "qz", "qw")
Kinematics = Callable[[Mapping[str, float]], Array]


@dataclass(frozen=True)
class Picture:
    """One image of a source: ``load`` gives ``(H, W, 3)`` uint8 RGB as the device delivered it."""

    name: str
    stamp_s: float | None
    load: Callable[[], Array]


def is_bag(path: Path) -> bool:
    return path.suffix == ".mcap" or (path / "metadata.yaml").is_file() or any(path.glob("*.mcap"))


def pictures(path: str | Path, topic: str = "") -> list[Picture]:
    """All images of a folder (by name) or of a topic of a bag (by log time); none of them is decoded yet.

    Raises:
        CalibrationError: there is nothing, or a bag has no images on the topic; names the topics that have some.
        DamagedBagError: the bag is damaged.
    """
    path = Path(path)
    if not path.exists():
        raise CalibrationError(f"there is neither a folder of images nor a bag at {path}")
    if is_bag(path):
        return _of_bag(path, topic.strip("/"))
    files = (
        [path] if path.suffix.lower() in SUFFIXES else sorted(f for f in path.glob("*") if f.suffix.lower() in SUFFIXES)
    )
    if not files:
        raise CalibrationError(f"{path} holds neither images ({', '.join(SUFFIXES)}) nor a bag")
    return [Picture(file.name, None, _file_loader(file)) for file in files]


def _file_loader(file: Path) -> Callable[[], Array]:
    def load() -> Array:
        image = cv2.imread(str(file), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if image is None:
            raise CalibrationError(f"{file} is not an image that can be read")
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))

    return load


def _of_bag(path: Path, topic: str) -> list[Picture]:
    found: list[Picture] = []
    others: set[str] = set()
    for raw in bag_messages(path):
        name = raw.topic.strip("/")
        if raw.type_name not in (messages.IMAGE, COMPRESSED):
            continue
        if name in (topic, f"{topic}/compressed"):
            stamp = fields.ns_to_seconds(fields.header_stamp_ns(raw.data))
            found.append(Picture(f"{name} at {stamp:.3f} s", stamp, _bag_loader(raw)))
        else:
            others.add(name)
    if not found:
        there = f"only on {', '.join(sorted(others))}" if others else "on no topic at all"
        raise CalibrationError(f"{path} has no images on {topic}, {there}: name the camera or the topic")
    return found


def _bag_loader(raw: RawMessage) -> Callable[[], Array]:
    data, topic, kind, where = raw.keep(), raw.topic, raw.type_name, raw.file or raw.topic

    def load() -> Array:
        try:
            message = messages.deserialise(data(), kind)
        except ValueError as error:
            raise DamagedBagError(f"{where}: an image on {topic} cannot be read: {error}") from error
        return image_of(message, topic)

    return load


def image_of(message: Any, topic: str) -> Array:
    """A sensor_msgs/Image or CompressedImage as ``(H, W, 3)`` uint8 RGB, not rotated, of whatever size it has."""
    if not hasattr(message, "encoding"):
        decoded = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
        if decoded is None:
            raise ContractError(f"a compressed image on {topic} ({message.format}) cannot be decoded")
        return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB))
    as_said = Camera(topic, topic, "", int(message.width), int(message.height), 1.0, 0, (0, 0))
    return fields.decode_image(message, as_said)


def find_boards(
    chosen: Sequence[Picture], detector: BoardDetector, tick: Callable[[], None] = lambda: None
) -> tuple[list[View], list[Rejected]]:
    """The board in every picture; one that cannot be read is rejected with its reason, not fatal."""
    views: list[View] = []
    rejected: list[Rejected] = []
    for picture in chosen:
        try:
            found = detector.detect(picture.load(), picture.name, picture.stamp_s)
        except (CalibrationError, ContractError, DamagedBagError) as error:
            found = Rejected(picture.name, str(error))
        if isinstance(found, View):
            views.append(found)
        else:
            rejected.append(found)
        tick()
    return views, rejected


def spaced(found: Sequence[Picture], most: int, least_s: float = 0.0) -> list[Picture]:
    """At most ``most`` pictures evenly over all, and ``least_s`` apart where they have stamps."""
    kept: list[Picture] = []
    for picture in found:
        last = kept[-1].stamp_s if kept else None
        if picture.stamp_s is None or last is None or picture.stamp_s - last >= least_s or picture.stamp_s < last:
            kept.append(picture)
    return [kept[k] for k in np.unique(np.linspace(0, len(kept) - 1, min(most, len(kept))).astype(int))]


def arm_track(path: str | Path, topic: str, kinematics: Kinematics | None = None) -> ArmTrack:
    """The arm's poses in a bag: JointStates through kinematics, or PoseStampeds as they are.

    Raises:
        CalibrationError: there is nothing on the topic, joint states without kinematics, or two frames.
    """
    wanted, stamps, poses, frames = topic.strip("/"), list[float](), list[Array](), set[str]()
    for raw in bag_messages(path):
        if raw.topic.strip("/") != wanted or raw.type_name not in (messages.JOINT_STATE, messages.POSE_STAMPED):
            continue
        message = decode(raw)
        if raw.type_name == messages.POSE_STAMPED:
            pose = pose_of_message(message)
            frames.add(message.header.frame_id)
        elif kinematics is None:
            raise CalibrationError(f"{wanted} has joint states: give --model and --link, the robot's URDF or MJCF")
        elif len(message.position) != len(message.name) or not _some_joint(kinematics, message.name):
            continue  # another publisher on the topic, such as the gripper's
        else:
            pose = kinematics(dict(zip(message.name, map(float, message.position), strict=True)))
        stamps.append(fields.stamp_s(message.header.stamp))
        poses.append(pose)
    if not poses:
        raise CalibrationError(f"{path} has neither joint states nor poses on {wanted}: record the arm too")
    if len(frames) > 1:
        raise CalibrationError(f"the poses on {wanted} are in several frames, {', '.join(sorted(frames))}: give one")
    return ArmTrack(np.array(stamps), np.stack(poses), f"{path}: {wanted}")


def _some_joint(kinematics: Any, names: Sequence[str]) -> bool:
    """Whether a message is about the arm: kinematics that know their joints are asked."""
    joints = getattr(getattr(kinematics, "__self__", None), "joints", None)
    return joints is None or any(name.endswith(joint) for name in names for joint in joints)


def pose_of_message(message: Any) -> Array:
    """Pose ``(4, 4)`` of a geometry_msgs/PoseStamped."""
    place, turn = message.pose.position, message.pose.orientation
    quaternion = np.array([turn.x, turn.y, turn.z, turn.w])
    if not 0.9 < float(np.linalg.norm(quaternion)) < 1.1:
        raise CalibrationError(f"a pose in frame {message.header.frame_id!r} has an orientation that is no quaternion")
    return pose_of([place.x, place.y, place.z], quaternion)


def pose_table(path: str | Path, kinematics: Kinematics | None = None) -> dict[str, Array]:
    """Image's file name → pose of the arm; columns of the CSV: ``image``; x, y, z, qx, qy, qz, qw (m) or joints.

    Raises:
        CalibrationError: no such file, columns missing, or a value that is no number; names the row.
    """
    file = Path(path)
    if not file.is_file():
        raise CalibrationError(f"there is no table of poses {file}")
    with file.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    columns = set(rows[0]) if rows else set()
    posed = columns.issuperset(POSE_COLUMNS)
    if "image" not in columns or not (posed or kinematics):
        raise CalibrationError(
            f"{file} needs the columns image, {', '.join(POSE_COLUMNS)}; or image and joints, with --model and --link"
        )
    found = {}
    for number, row in enumerate(rows, 2):
        try:
            values = {name: float(value) for name, value in row.items() if name != "image"}
        except (TypeError, ValueError) as error:
            raise CalibrationError(f"{file}: row {number} holds something that is no number") from error
        if posed:
            found[row["image"]] = pose_of([values[c] for c in POSE_COLUMNS[:3]], [values[c] for c in POSE_COLUMNS[3:]])
        elif kinematics:
            found[row["image"]] = kinematics(values)
    return found


def joint_series(path: str | Path, topic: str, joints: Sequence[str]) -> tuple[Array, Array]:
    """Stamps ``(N,)`` s and positions ``(N, J)`` of named joints of a bag.

    Raises:
        CalibrationError: no message on the topic has the joints.
    """
    stamps, values = list[float](), list[list[float]]()
    for raw in bag_messages(path):
        if raw.topic.strip("/") == topic.strip("/") and raw.type_name == messages.JOINT_STATE:
            message = decode(raw)
            index = dict(zip(message.name, message.position, strict=False))
            if all(joint in index for joint in joints):
                stamps.append(fields.stamp_s(message.header.stamp))
                values.append([float(index[joint]) for joint in joints])
    if not values:
        raise CalibrationError(
            f"{path} has no joint states on {topic} with {', '.join(joints)}: record the gripper too"
        )
    return np.array(stamps), np.array(values)
