"""How the columns of a data set become the streams, actions and cameras of a contract.

Our own data sets name every number as the contract does. Others are matched by those names, by joint names, by a table
of known data sets, or, as the last resort, by size alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from world2act_core.embodiment import Embodiment, StateStream
from world2act_core.episodes.lerobot.features import Features, state_names
from world2act_core.episodes.lerobot.layout import ACTION, IMAGES, STATE
from world2act_core.episodes.lerobot.metadata import Info
from world2act_core.errors import ContractError
from world2act_core.rotations import quaternion_from_axis_angle
from world2act_core.types import Array


@dataclass(frozen=True)
class StreamColumns:
    """Where a stream's numbers stand in ``observation.state``, and what turns them into the contract's units."""

    stream: str
    numbers: tuple[int, ...]
    convert: Callable[[Array], Array] | None = None


@dataclass(frozen=True)
class Columns:
    """How a data set is read.

    Attributes:
        state: the streams it has.
        action: which number of ``action`` is which dimension of the contract; None for an action-free set.
        cameras: camera → feature, of those that are wanted.
        mirrored: images are mirrored left to right.
        rate_hz: control steps a second.
    """

    state: tuple[StreamColumns, ...]
    action: tuple[int, ...] | None
    cameras: dict[str, str]
    mirrored: bool
    rate_hz: float


@dataclass(frozen=True)
class KnownSet:
    """A published family of data sets whose ``info.json`` does not say what its numbers are.

    Attributes:
        embodiment: contract that it fits.
        state, action: sizes by which it is recognised, with the cameras.
        streams: where its streams stand.
        cameras: feature → camera.
        mirrored, rate_hz: as in `Columns`.
    """

    embodiment: str
    state: int
    action: int
    streams: tuple[StreamColumns, ...]
    cameras: dict[str, str]
    mirrored: bool
    rate_hz: float


KNOWN_SETS = (
    # lerobot/libero*, HuggingFaceVLA/libero and their kin, all from OpenVLA's replay of LIBERO's demonstrations. It
    # stored robosuite's images turned by 180 degrees (LeRobot's LiberoProcessorStep does the same to live ones); those
    # come bottom up, so the stored ones are upright but mirrored. info.json says 10 fps; LIBERO is controlled at 20 Hz.
    KnownSet(
        embodiment="libero_panda",
        state=8,
        action=7,
        streams=(
            StreamColumns("eef_position", (0, 1, 2)),
            StreamColumns("eef_orientation", (3, 4, 5), quaternion_from_axis_angle),
            StreamColumns("gripper_positions", (6, 7)),
        ),
        cameras={f"{IMAGES}image": "agentview", f"{IMAGES}image2": "wrist", f"{IMAGES}wrist_image": "wrist"},
        mirrored=True,
        rate_hz=20.0,
    ),
)


def match_columns(info: Info, embodiment: Embodiment, cameras: Sequence[str] | None, where: str) -> Columns:
    """Find a contract's streams, actions and cameras in a data set.

    Args:
        info: of the data set.
        embodiment: contract to be followed.
        cameras: which are wanted; None takes those that both have.
        where: the data set's name for messages.

    Raises:
        ContractError: something does not fit; says what the data set has.
    """
    features: Features = info["features"]
    if STATE not in features:
        raise ContractError(f"{where} has no {STATE}, only {', '.join(features)}")
    known = _known_set(features, embodiment)
    rate = known.rate_hz if known else float(info["fps"])
    if rate != embodiment.control_rate_hz:
        raise ContractError(
            f"{where} runs at {rate:g} fps, {embodiment.name} at {embodiment.control_rate_hz:g} Hz: use a contract "
            "of that rate"
        )
    return Columns(
        state=known.streams if known else _match_state(features[STATE], embodiment, where),
        action=_match_action(features[ACTION], embodiment, where) if ACTION in features else None,
        cameras=_match_cameras(features, known.cameras if known else {}, embodiment, cameras, where),
        mirrored=known.mirrored if known else False,
        rate_hz=rate,
    )


def _known_set(features: Features, embodiment: Embodiment) -> KnownSet | None:
    if ACTION not in features:
        return None
    sizes = (embodiment.name, _size(features[STATE]), _size(features[ACTION]))
    images = {name for name in features if name.startswith(IMAGES)}
    return next(
        (s for s in KNOWN_SETS if (s.embodiment, s.state, s.action) == sizes and images and images <= set(s.cameras)),
        None,
    )


def _match_state(feature: dict[str, Any], embodiment: Embodiment, where: str) -> tuple[StreamColumns, ...]:
    names, size = _names(feature), _size(feature)
    spelled = _by_names(embodiment, state_names, names)
    found = spelled or _by_names(embodiment, lambda stream: list(stream.joints), names)
    if found:
        _check_whole_streams(found, names, embodiment, where)
        return found
    streams = list(embodiment.state.values())
    ends = np.cumsum([stream.size for stream in streams])
    if ends[-1] != size:
        expected = ", ".join(f"{stream.name} {stream.size}" for stream in streams)
        raise ContractError(
            f"{where}: {STATE} has {size} numbers {names or 'without names'}, {embodiment.name} has {ends[-1]} "
            f"({expected}): name them as the contract does, e.g. {state_names(streams[0])[0]!r}"
        )
    return tuple(
        StreamColumns(stream.name, tuple(range(end - stream.size, end)))
        for stream, end in zip(streams, map(int, ends), strict=True)
    )


def _by_names(
    embodiment: Embodiment, spelling: Callable[[StateStream], list[str]], names: list[str]
) -> tuple[StreamColumns, ...]:
    """The streams all of whose numbers are named; LeRobot's robots call a joint's position ``joint.pos``."""
    bare = [name.removesuffix(".pos") for name in names]
    return tuple(
        StreamColumns(stream.name, tuple(bare.index(name) for name in spelling(stream)))
        for stream in embodiment.state.values()
        if spelling(stream) and all(bare.count(name) == 1 for name in spelling(stream))
    )


def _check_whole_streams(
    found: tuple[StreamColumns, ...], names: list[str], embodiment: Embodiment, where: str
) -> None:
    """Numbers of others may stand beside those of the contract; a stream of ours is there as a whole or not at all."""
    taken = {number for entry in found for number in entry.numbers}
    for number, name in enumerate(names):
        stream = name.partition(".")[0]
        if stream in embodiment.state and number not in taken:
            raise ContractError(
                f"{where}: {STATE} has {name!r} without the whole stream, {embodiment.name} calls its numbers "
                f"{', '.join(state_names(embodiment.state[stream]))}"
            )


def _match_action(feature: dict[str, Any], embodiment: Embodiment, where: str) -> tuple[int, ...]:
    names, layout = [name.removesuffix(".pos") for name in _names(feature)], embodiment.action
    if all(names.count(name) == 1 for name in layout.names):
        return tuple(names.index(name) for name in layout.names)
    if _size(feature) != layout.size:
        raise ContractError(
            f"{where}: {ACTION} has {_size(feature)} numbers {names or 'without names'}, {embodiment.name} has "
            f"{layout.size} ({', '.join(layout.names)})"
        )
    return tuple(range(layout.size))


def _match_cameras(
    features: Features,
    renamed: dict[str, str],
    embodiment: Embodiment,
    wanted: Sequence[str] | None,
    where: str,
) -> dict[str, str]:
    images = [name for name, feature in features.items() if feature.get("dtype") in ("video", "image")]
    has = {renamed.get(name, name.removeprefix(IMAGES)): name for name in images}
    if wanted is None:
        return {name: has[name] for name in embodiment.cameras if name in has}
    for name in wanted:
        if name not in embodiment.cameras:
            raise ContractError(f"{embodiment.name} has no camera {name!r}, only {', '.join(embodiment.cameras)}")
        if name not in has:
            raise ContractError(f"{where} has no camera {name!r}, only {', '.join(has) or 'rows without images'}")
    return {name: has[name] for name in wanted}


def _names(feature: dict[str, Any]) -> list[str]:
    """The names of a feature's numbers: a list, lists by group (``{"motors": [...]}``), or none."""
    names = feature.get("names") or []
    groups = names.values() if isinstance(names, dict) else [names]
    return [str(name) for group in groups for name in (group if isinstance(group, list) else [group])]


def _size(feature: dict[str, Any]) -> int:
    return int(np.prod(feature["shape"]))
