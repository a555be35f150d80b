"""The embodiment contract: cameras, state streams, action layout, rates and limits of one robot.

A contract is a YAML file. Everything that could disagree about a robot reads it here, so that it cannot. A file that
contradicts itself is refused with one sentence naming file, key and value.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from world2act_core.embodiment.checked import Checked, read_checked
from world2act_core.embodiment.output import Output, parse_output
from world2act_core.errors import ContractError
from world2act_core.types import ActionChunk, Array

ACTION_KINDS = ("eef_delta", "eef_pose", "joint_delta", "joint_positions")
POSE_FIELDS = {"position": 3, "orientation": 4}
TILES = ((0, 0), (0, 1), (1, 0), (1, 1))
LIMIT_STREAMS = ("joint_positions", "workspace_m", "eef_speed_m_s")
LIMIT_OPTIONS = {  # key → field of Limits
    "eef_acceleration_m_s2": "eef_acceleration",
    "eef_rotation_rad_s": "eef_rotation_speed",
    "ramp_s": "ramp_s",
    "dead_man_s": "dead_man_s",
}
UNITS = ("rad", "m", "quaternion_xyzw", "axis_angle", "normalised", "1")


@dataclass(frozen=True)
class Camera:
    """One camera. Images are RGB and upright after ``rotation_deg`` (counter-clockwise) was applied.

    ``tile`` is the row and column of the camera in the 2x2 grid in which a video world model sees all views at once.
    """

    name: str
    topic: str
    frame_id: str
    width: int
    height: int
    rate_hz: float
    rotation_deg: int
    tile: tuple[int, int]

    @property
    def upright_size(self) -> tuple[int, int]:
        """Rows and columns of an upright image."""
        return (self.width, self.height) if self.rotation_deg % 180 else (self.height, self.width)


@dataclass(frozen=True)
class StateStream:
    """One proprioceptive stream: joints picked by name from a JointState, or a field of a PoseStamped."""

    name: str
    topic: str
    units: str
    joints: tuple[str, ...]
    field: str
    frame_id: str

    @property
    def size(self) -> int:
        return len(self.joints) or POSE_FIELDS[self.field]


@dataclass(frozen=True)
class ActionLayout:
    """What the numbers of an action mean; ``scale[i]`` is the SI value of +1 in dimension i."""

    topic: str
    kind: str
    names: tuple[str, ...]
    units: tuple[str, ...]
    scale: Array
    low: Array
    high: Array

    @property
    def size(self) -> int:
        return len(self.names)

    @property
    def is_delta(self) -> bool:
        """Whether the arm's part says how far to move, so that 0 is rest; else it says where to."""
        return self.kind.endswith("_delta")


@dataclass(frozen=True)
class Gripper:
    """Gripper convention: which action dimension, which value opens, which closes."""

    index: int
    open: float
    close: float
    fully_open_width_m: float


@dataclass(frozen=True)
class JointLimits:
    """Per joint of stream ``joint_positions``: rad, rad/s, rad/s^2."""

    lower: Array
    upper: Array
    velocity: Array
    acceleration: Array


@dataclass(frozen=True)
class Limits:
    """What the safety filter refuses to exceed; what a file leaves out of the last five is not asked for.

    Attributes:
        joints: of stream ``joint_positions``.
        workspace_lower: ``(3,)`` m, corner of the box for the end effector, in the frame of stream ``eef_position``.
        workspace_upper: ``(3,)`` m, the opposite corner.
        eef_speed: of the end effector, m/s.
        eef_acceleration: of the end effector, m/s^2.
        eef_rotation_speed: of the end effector, rad/s.
        ramp_s: the first command after a rest is led in from the measured pose over this time, s.
        dead_man_s: topic ``dead_man`` must say true at least this often, s; 0: no dead-man is asked for.
        follow: joint positions are places to go to, and are followed no faster than ``joints`` allows.
    """

    joints: JointLimits
    workspace_lower: Array
    workspace_upper: Array
    eef_speed: float
    eef_acceleration: float = math.inf
    eef_rotation_speed: float = math.inf
    ramp_s: float = 0.0
    dead_man_s: float = 0.0
    follow: bool = field(default=False, repr=False)


@dataclass(frozen=True)
class Embodiment:
    """The whole contract. ``file`` is where it was read from."""

    name: str
    description: str
    control_rate_hz: float
    chunk_length: int
    max_skew_s: float
    cameras: dict[str, Camera]
    state: dict[str, StateStream]
    action: ActionLayout
    gripper: Gripper
    limits: Limits
    file: str
    output: Output = field(default_factory=Output)

    @cached_property
    def step_s(self) -> float:
        """Seconds a control step."""
        return 1.0 / self.control_rate_hz

    @cached_property
    def sha256(self) -> str:
        """Of what the contract says, wherever its file is: two processes that agree on it agree on the robot."""
        follows = "; joint targets are followed" * self.limits.follow  # so that contracts of before keep theirs
        return hashlib.sha256((repr(replace(self, file="")) + follows).encode()).hexdigest()

    def check_chunk(self, chunk: ActionChunk, longest: int = 0) -> None:
        """Raise ContractError unless the chunk is finite and ``(M, A)`` of this embodiment.

        Args:
            longest: a policy that looks further ahead than it executes may have up to this many steps instead of ``M``.
        """
        shape, expected = chunk.actions.shape, (self.chunk_length, self.action.size)
        looks_ahead = len(shape) == 2 and expected[0] < shape[0] <= longest and shape[1] == expected[1]
        if shape != expected and not looks_ahead:
            more = f" and at most {longest} steps" if longest else ""
            raise ContractError(f"action chunk has shape {shape}, {self.name} expects {expected}{more}")
        if not np.isfinite(chunk.actions).all():
            step, dim = np.argwhere(~np.isfinite(chunk.actions))[0]
            raise ContractError(
                f"action chunk holds {chunk.actions[step, dim]} at step {step}, {self.action.names[dim]}"
            )

    def checked_action(self, action: Array) -> Array:
        """One action ``(A,)``, float64, its own copy.

        Raises:
            ContractError: it has another shape or is not finite.
        """
        values = np.array(action, np.float64)
        if values.shape != (self.action.size,) or not np.isfinite(values).all():
            raise ContractError(
                f"action {values.tolist()} for {self.name}: expected {self.action.size} finite numbers "
                f"({', '.join(self.action.names)})"
            )
        return values

    def camera(self, name: str) -> Camera:
        """A camera of this embodiment.

        Raises:
            ContractError: it has no such camera.
        """
        if name not in self.cameras:
            raise ContractError(f"{self.name} has no camera {name!r}: it has {', '.join(self.cameras)}")
        return self.cameras[name]

    def clamp(self, actions: Array) -> Array:
        """Actions limited to the layout's range, ``(..., A)``."""
        # As np.clip to the bit, without what it costs to be called: this runs for every chunk on the robot.
        return np.minimum(np.maximum(actions, self.action.low), self.action.high).astype(np.float32, copy=False)

    def decided(self, actions: Array) -> Array:
        """Actions ``(..., A)`` that were guessed, with the gripper wholly open or closed and all else in range.

        A guess of a gripper's command is a number between the two, and a policy that is taught it grips half.
        """
        said, gripper = self.clamp(actions), self.gripper
        opens = np.abs(said[..., gripper.index] - gripper.open) < np.abs(said[..., gripper.index] - gripper.close)
        said[..., gripper.index] = np.where(opens, gripper.open, gripper.close)
        return said


def shipped_embodiments() -> list[str]:
    """Names of the embodiments that come with World2Act."""
    files = resources.files("world2act_core.embodiment") / "files"
    return sorted(entry.name[:-5] for entry in files.iterdir() if entry.name.endswith(".yaml"))


def load_embodiment(name_or_path: str | Path) -> Embodiment:
    """Read a contract by shipped name (``libero_panda``) or from a YAML file.

    Raises:
        ContractError: no such contract, or it contradicts itself; names file, key and value.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        shipped = resources.files("world2act_core.embodiment") / "files" / f"{name_or_path}.yaml"
        path = Path(str(shipped))
    if not path.is_file():
        raise ContractError(
            f"no embodiment {str(name_or_path)!r}: give a YAML file or one of {', '.join(shipped_embodiments())}"
        )
    return _parse(read_checked(path))


def _parse(raw: Checked) -> Embodiment:
    rate = raw.number("control_rate_hz", above=0)
    chunk_length = raw.integer("chunk_length", above=0)
    if rate % chunk_length:
        raw.refuse("chunk_length", f"does not divide control_rate_hz {rate:g}")
    cameras = _cameras(raw.section("cameras"))
    state = {name: _stream(name, entry) for name, entry in raw.section("state").items()}
    action = _action(raw.section("action"))
    gripper = _gripper(raw.section("gripper"), action)
    output = parse_output(raw.section("output"), action, gripper.index, state) if "output" in raw else Output()
    embodiment = Embodiment(
        name=raw.text("name"),
        description=raw.text("description"),
        control_rate_hz=rate,
        chunk_length=chunk_length,
        max_skew_s=raw.number("max_skew_s", above=0, at_most=1 / rate),
        cameras=cameras,
        state=state,
        action=action,
        gripper=gripper,
        limits=_limits(raw.section("limits"), state, action),
        file=raw.file,
        output=output,
    )
    raw.no_other_keys()
    return embodiment


def _cameras(raw: Checked) -> dict[str, Camera]:
    cameras: dict[str, Camera] = {}
    for name, entry in raw.items():
        camera = _camera(name, entry)
        for other in cameras.values():
            if camera.tile == other.tile:
                entry.refuse("tile", f"is the tile of camera {other.name} already")
        cameras[name] = camera
    return cameras


def _camera(name: str, raw: Checked) -> Camera:
    camera = Camera(
        name=name,
        topic=raw.text("topic"),
        frame_id=raw.text("frame_id"),
        width=raw.integer("width", above=0),
        height=raw.integer("height", above=0),
        rate_hz=raw.number("rate_hz", above=0),
        rotation_deg=raw.integer("rotation_deg", one_of=(0, 90, 180, 270)),
        tile=_tile(raw),
    )
    raw.no_other_keys()
    return camera


def _tile(raw: Checked) -> tuple[int, int]:
    row, column = raw.vector("tile", 2)
    if (row, column) not in TILES:
        raw.refuse("tile", "must be the row and column of a 2x2 grid, each 0 or 1")
    return int(row), int(column)


def _stream(name: str, raw: Checked) -> StateStream:
    joints = tuple(raw.texts("joints")) if "joints" in raw else ()
    field = raw.text("field", one_of=tuple(POSE_FIELDS)) if "field" in raw else ""
    if bool(joints) == bool(field):
        raw.refuse("", "needs either joints or field")
    if len(set(joints)) != len(joints):
        raw.refuse("joints", "names a joint twice")
    stream = StateStream(
        name=name,
        topic=raw.text("topic"),
        units=raw.text("units", one_of=UNITS),
        joints=joints,
        field=field,
        frame_id=raw.text("frame_id") if field else "",
    )
    raw.no_other_keys()
    return stream


def _action(raw: Checked) -> ActionLayout:
    names = tuple(raw.texts("names"))
    if len(set(names)) != len(names):
        raw.refuse("names", "names a dimension twice")
    size = len(names)
    layout = ActionLayout(
        topic=raw.text("topic"),
        kind=raw.text("kind", one_of=ACTION_KINDS),
        names=names,
        units=tuple(raw.texts("units", one_of=UNITS, length=size)),
        scale=raw.vector("scale", size, above=0),
        low=raw.vector("low", size),
        high=raw.vector("high", size),
    )
    raw.ordered("low", layout.low, "high", layout.high)
    raw.no_other_keys()
    return layout


def _gripper(raw: Checked, action: ActionLayout) -> Gripper:
    dimension = raw.text("action")
    if dimension not in action.names:
        raw.refuse("action", f"is not one of the action names {', '.join(action.names)}")
    index = action.names.index(dimension)
    values = {key: raw.number(key) for key in ("open", "close")}
    for key, value in values.items():
        if not action.low[index] <= value <= action.high[index]:
            raw.refuse(key, f"lies outside the action range {action.low[index]:g}..{action.high[index]:g}")
    if values["open"] == values["close"]:
        raw.refuse("close", "is the same as open")
    gripper = Gripper(index=index, fully_open_width_m=raw.number("fully_open_width_m", above=0), **values)
    raw.no_other_keys()
    return gripper


def _limits(raw: Checked, state: dict[str, StateStream], action: ActionLayout) -> Limits:
    for key in raw.keys:
        if key not in LIMIT_STREAMS and key not in LIMIT_OPTIONS and key != "follow":
            raw.refuse(key, "limits an unknown stream")
    if "joint_positions" not in state:
        raw.refuse("joint_positions", "limits a stream that state does not have")
    size = state["joint_positions"].size
    joints_raw, box = raw.section("joint_positions"), raw.section("workspace_m")
    joints = JointLimits(
        lower=joints_raw.vector("lower", size),
        upper=joints_raw.vector("upper", size),
        velocity=joints_raw.vector("velocity", size, above=0),
        acceleration=joints_raw.vector("acceleration", size, above=0),
    )
    joints_raw.ordered("lower", joints.lower, "upper", joints.upper)
    lower, upper = box.vector("lower", 3), box.vector("upper", 3)
    box.ordered("lower", lower, "upper", upper)
    joints_raw.no_other_keys()
    box.no_other_keys()
    options = {field: raw.number(key, above=0) for key, field in LIMIT_OPTIONS.items() if key in raw}
    follow = "follow" in raw and raw.flag("follow")
    if follow and action.kind != "joint_positions":
        raw.refuse("follow", f"is for actions of kind joint_positions, and this robot's are {action.kind}")
    return Limits(joints, lower, upper, raw.number("eef_speed_m_s", above=0), **options, follow=follow)


def as_vector(embodiment: Embodiment, state: dict[str, Any], streams: tuple[str, ...]) -> Array:
    """Concatenate named streams, ``(..., D)`` each, along the last axis."""
    unknown = [name for name in streams if name not in embodiment.state]
    if unknown:
        raise ContractError(f"{embodiment.file}: state has no stream {unknown[0]!r}")
    return np.concatenate([np.asarray(state[name], np.float32) for name in streams], axis=-1)
