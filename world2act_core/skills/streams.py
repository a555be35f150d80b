"""What segmentation reads, taken out of an episode by the embodiment's contract."""

from __future__ import annotations

import numpy as np

from world2act_core.embodiment import Embodiment
from world2act_core.errors import ContractError
from world2act_core.rotations import multiply, rotate
from world2act_core.skills.types import MeasuredGripper, Streams
from world2act_core.types import Array, Episode

FINGERS, POSITION, ORIENTATION = "gripper_positions", "eef_position", "eef_orientation"
BASE_POSITION, BASE_ORIENTATION = "base_position", "base_orientation"
"""State streams by the names that every embodiment file uses; the last two exist only where the base can move."""


def streams_of(episode: Episode, embodiment: Embodiment, gripper: MeasuredGripper | None = None) -> Streams:
    """The width between the fingers, where the hand is, and what both were told.

    The hand's pose is given in a frame that stands still: where the embodiment has a base that moves, its pose is
    taken into account.

    Args:
        gripper: as measured; without it w_0 is the contract's and the fingers must be in metres.

    Raises:
        ContractError: a stream is missing, has other units or another size, or holds a number that is not finite.
    """
    width = _width(episode, embodiment, gripper)
    position = _stream(episode, embodiment, POSITION, "m", 3)
    orientation = _stream(episode, embodiment, ORIENTATION, "quaternion_xyzw", 4)
    reach = position if BASE_POSITION in embodiment.state else None
    if BASE_POSITION in embodiment.state:
        base = _stream(episode, embodiment, BASE_ORIENTATION, "quaternion_xyzw", 4)
        position = _stream(episode, embodiment, BASE_POSITION, "m", 3) + rotate(base, position)
        orientation = multiply(base, orientation)
    commands, told_to_close = episode.actions, None
    if commands is not None:
        told, fingers = commands[:, embodiment.gripper.index], embodiment.gripper
        told_to_close = np.abs(told - fingers.close) < np.abs(told - fingers.open)
    return Streams(
        width=width,
        fully_open=gripper.fully_open_m if gripper else embodiment.gripper.fully_open_width_m,
        position=position,
        orientation=orientation,
        step_s=embodiment.step_s,
        commands=commands,
        gripper_command=told_to_close,
        reach=reach,
    )


def check_streams(streams: Streams) -> None:
    """Refuse streams of which no event can be told.

    Raises:
        ContractError: they differ in length, or a number is not finite; names the stream and the step.
    """
    states = {"width": streams.width, "position": streams.position, "orientation": streams.orientation}
    for name, values in states.items():
        if len(values) != len(streams.width):
            raise ContractError(f"{name} has {len(values)} rows and width {len(streams.width)}: log both at every step")
        if not np.isfinite(values).all():
            step = int(np.argwhere(~np.isfinite(values))[0][0])
            raise ContractError(f"{name} is {values[step]} at step {step}: repair the recording or leave it out")


def _width(episode: Episode, embodiment: Embodiment, gripper: MeasuredGripper | None) -> Array:
    """Metres between the fingers, ``(T + 1,)``."""
    contract = embodiment.state.get(FINGERS)
    if contract is None or contract.units == "m":
        return np.asarray(np.abs(_stream(episode, embodiment, FINGERS, "m", None)).sum(axis=1))
    if gripper is None:
        raise ContractError(
            f"{embodiment.file}: state {FINGERS} is in {contract.units!r}, segmentation needs metres: measure what "
            f"that means with world2act calibrate gripper BAG --measured POSITION WIDTH_M"
        )
    positions = _stream(episode, embodiment, FINGERS, contract.units, None)[:, 0]
    return np.asarray(gripper.offset_m + gripper.scale * positions)


def _stream(episode: Episode, embodiment: Embodiment, name: str, units: str, size: int | None) -> Array:
    contract = embodiment.state.get(name)
    if contract is None:
        raise ContractError(f"{embodiment.file}: state has no stream {name!r}, which skill segmentation reads: add it")
    if contract.units != units:
        raise ContractError(f"{embodiment.file}: state {name} is in {contract.units!r}, segmentation needs {units!r}")
    if name not in episode.state:
        raise ContractError(f"episode {episode.episode_id} has no state {name!r}, which skill segmentation reads")
    values = np.asarray(episode.state[name], np.float64)
    if values.ndim != 2 or values.shape[1] != (size or contract.size):
        raise ContractError(
            f"episode {episode.episode_id}: state {name} has shape {values.shape}, expected (T + 1, {contract.size})"
        )
    if not np.isfinite(values).all():
        step = int(np.argwhere(~np.isfinite(values))[0][0])
        raise ContractError(f"episode {episode.episode_id}: state {name} is {values[step]} at step {step}")
    return values
