"""Composing messages from our types, for any message class: the mirror image of `fields`.

Each function takes ``make(type_name, **fields)``: ``messages.make`` for bags, ``rclpy_make(...)`` for live nodes. So a
simulated arm that publishes and a writer that logs cannot disagree.
"""

from __future__ import annotations

import array
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from world2act_core.embodiment import Camera, Embodiment
from world2act_core.episodes import messages
from world2act_core.episodes.fields import HOLD, TRACK, split_ns
from world2act_core.episodes.stamps import ChunkStamps
from world2act_core.errors import ContractError
from world2act_core.types import ActionChunk, Array, Skill

Make = Callable[..., Any]
START, END = 0, 1  # EpisodeEvent.event
_OUTCOMES: dict[bool | None, int] = {None: 0, True: 1, False: 2}  # EpisodeEvent.OUTCOME_*
_CHUNK_TIMES = ("received", "assembled", "inference_start", "inference_end", "published")
LONGEST_REASON = 300  # characters: a reason may quote what a stranger sent
_TYPECODES = {"u1": "B", "f4": "f", "f8": "d"}


def rclpy_make(message_class: Callable[[str], type]) -> Make:
    """A ``make`` for rclpy's classes.

    Args:
        message_class: type name → class, e.g. ``rosidl_runtime_py.utilities.get_message``.
    """

    def build(type_name: str, **fields: Any) -> Any:
        # rclpy takes array.array without a copy a value; a numpy array costs a thousand times more.
        plain = {k: _as_array(v) if isinstance(v, np.ndarray) else v for k, v in fields.items()}
        return message_class(type_name)(**plain)

    return build


def _as_array(values: Array) -> array.array[Any]:
    filled = array.array(_TYPECODES[values.dtype.str[1:]])
    filled.frombytes(values.tobytes())
    return filled


def clipped(reason: str, longest: int = LONGEST_REASON) -> str:
    """A reason or message of at most ``longest`` characters; of a longer one beginning and end."""
    half = longest // 2 - 3
    return reason if len(reason) <= longest else f"{reason[:half]} ... {reason[-half:]}"


def header(stamp_ns: int, frame_id: str = "", make: Make = messages.make) -> Any:
    """A std_msgs/Header."""
    return make("std_msgs/msg/Header", stamp=_time(stamp_ns, make), frame_id=frame_id)


def _time(stamp_ns: int, make: Make) -> Any:
    sec, nanosec = split_ns(stamp_ns)
    return make("builtin_interfaces/msg/Time", sec=sec, nanosec=nanosec)


def image_message(image: Array, camera: Camera, stamp_ns: int, make: Make = messages.make) -> Any:
    """An upright ``(H, W, 3)`` uint8 RGB image as the camera's driver would publish it (rotation undone), rgb8."""
    return raw_image_message(np.rot90(image, -camera.rotation_deg // 90), camera, stamp_ns, make)


def raw_image_message(raw: Array, camera: Camera, stamp_ns: int, make: Make = messages.make) -> Any:
    """An ``(H, W, 3)`` uint8 RGB image as the device delivers it, which the contract's rotation turns upright."""
    if raw.dtype != np.uint8 or raw.shape != (camera.height, camera.width, 3):
        raise ContractError(
            f"image of {camera.name} is {raw.dtype} {raw.shape} before its rotation of {camera.rotation_deg} degrees, "
            f"the embodiment says uint8 RGB {camera.width}x{camera.height}"
        )
    return make(
        messages.IMAGE,
        header=header(stamp_ns, camera.frame_id, make),
        height=camera.height,
        width=camera.width,
        encoding="rgb8",
        is_bigendian=0,
        step=camera.width * 3,
        data=np.ascontiguousarray(raw).reshape(-1),
    )


def state_messages(
    embodiment: Embodiment, state: Mapping[str, Array], stamp_ns: int, make: Make = messages.make
) -> list[tuple[str, Any]]:
    """``(topic, message)`` for every topic of the embodiment's state at one instant.

    Args:
        state: stream name → ``(D,)``; must hold every stream of the embodiment, finite.
    """
    topics: dict[str, list[str]] = {}
    for name, stream in embodiment.state.items():
        if name not in state:
            raise ContractError(f"state has no stream {name!r}, which {embodiment.name} publishes on {stream.topic}")
        if np.shape(state[name]) != (stream.size,) or not np.isfinite(state[name]).all():
            raise ContractError(f"state {name} = {state[name]!r}: {embodiment.name} says {stream.size} finite values")
        topics.setdefault(stream.topic, []).append(name)
    composed = []
    for topic, names in topics.items():
        build = _joint_state if embodiment.state[names[0]].joints else _pose
        composed.append((topic, build(embodiment, names, state, stamp_ns, make)))
    return composed


def _joint_state(
    embodiment: Embodiment, names: list[str], state: Mapping[str, Array], stamp_ns: int, make: Make
) -> Any:
    joints: dict[str, float] = {}
    for name in names:
        joints.update(zip(embodiment.state[name].joints, np.asarray(state[name], np.float64), strict=True))
    empty = np.zeros(0, np.float64)
    return make(
        messages.JOINT_STATE,
        header=header(stamp_ns, "", make),
        name=list(joints),
        position=np.array(list(joints.values()), np.float64),
        velocity=empty,
        effort=empty,
    )


def _pose(embodiment: Embodiment, names: list[str], state: Mapping[str, Array], stamp_ns: int, make: Make) -> Any:
    values = {embodiment.state[name].field: [float(v) for v in state[name]] for name in names}
    x, y, z = values.get("position", (0.0, 0.0, 0.0))
    qx, qy, qz, qw = values.get("orientation", (0.0, 0.0, 0.0, 1.0))
    pose = make(
        "geometry_msgs/msg/Pose",
        position=make("geometry_msgs/msg/Point", x=x, y=y, z=z),
        orientation=make("geometry_msgs/msg/Quaternion", x=qx, y=qy, z=qz, w=qw),
    )
    frame_id = embodiment.state[names[0]].frame_id
    return make(messages.POSE_STAMPED, header=header(stamp_ns, frame_id, make), pose=pose)


def action_chunk(
    chunk: ActionChunk,
    stamps: ChunkStamps,
    sequence: int,
    episode_id: str,
    embodiment: str,
    make: Make = messages.make,
) -> Any:
    """An ActionChunk message; its header's stamp is ``stamps.observation``."""
    actions = np.atleast_2d(np.asarray(chunk.actions, np.float32))
    return make(
        messages.ACTION_CHUNK,
        header=header(stamps.observation, "", make),
        sequence=sequence,
        episode_id=episode_id,
        embodiment=embodiment,
        skill=chunk.skill,
        horizon=actions.shape[0],
        action_dim=actions.shape[1],
        data=actions.reshape(-1),
        cameras=list(stamps.images),
        image_stamps=[_time(acquired, make) for acquired, _ in stamps.images.values()],
        image_received=[_time(received, make) for _, received in stamps.images.values()],
        **{name: _time(getattr(stamps, name), make) for name in _CHUNK_TIMES},
    )


def track_command(
    action: Array, stamp_ns: int, chunk: int = 0, step: int = 0, frame_id: str = "", make: Make = messages.make
) -> Any:
    """An ArmCommand that executes ``action`` ``(A,)``; ``chunk`` 0 means that it came from no action chunk."""
    return make(
        messages.ARM_COMMAND,
        header=header(stamp_ns, frame_id, make),
        mode=TRACK,
        reason="",
        chunk=chunk,
        step=step,
        values=np.asarray(action, np.float32),
    )


def hold_command(reason: str, stamp_ns: int, make: Make = messages.make) -> Any:
    """An ArmCommand that says: stay where you are, and why."""
    return make(
        messages.ARM_COMMAND,
        header=header(stamp_ns, "", make),
        mode=HOLD,
        reason=clipped(reason),
        chunk=0,
        step=0,
        values=np.zeros(0, np.float32),
    )


def skill_prompt(
    episode_id: str, task: str, skill: str, index: int, count: int, stamp_ns: int, make: Make = messages.make
) -> Any:
    """The atomic skill to carry out now; an empty ``skill`` means stop."""
    return make(
        messages.SKILL_PROMPT,
        header=header(stamp_ns, "", make),
        episode_id=episode_id,
        task=task,
        skill=skill,
        index=index,
        count=count,
    )


def episode_event(
    event: int,
    stamp_ns: int,
    *,
    episode_id: str,
    task: str,
    embodiment: str,
    source: str = "",
    start_id: str = "",
    success: bool | None = None,
    reason: str = "",
    skills: tuple[Skill, ...] = (),
    make: Make = messages.make,
) -> Any:
    """START or END of an episode. Stamp: of its first state (START), of its last state (END)."""
    return make(
        messages.EPISODE_EVENT,
        header=header(stamp_ns, "", make),
        event=event,
        episode_id=episode_id,
        task=task,
        embodiment=embodiment,
        source=source,
        start_id=start_id,
        outcome=_OUTCOMES[success] if event == END else 0,
        reason=clipped(reason),
        skills_json=json.dumps([[s.prompt, s.start, s.end] for s in skills]) if event == END else "",
    )
