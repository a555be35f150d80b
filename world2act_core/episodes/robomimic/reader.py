"""Reading demonstrations from robomimic-like HDF5 files one at a time.

Such a file has as many observations as actions, an `Episode` one more: so one action has no place. Where observations
were made before their action it is the last, whose outcome was not stored; where they were made after it, as in
LIBERO's own files, it is the first, whose beginning was not. ``N`` rows give ``N - 1`` control steps either way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.episodes.reader import BagReport, Refused
from world2act_core.episodes.robomimic.demonstration import UNREADABLE, Demonstration
from world2act_core.episodes.robomimic.layouts import LAYOUTS, Layout, json_attribute
from world2act_core.errors import ContractError, DamagedBagError, World2ActError
from world2act_core.types import Episode

_DEMONSTRATION = re.compile(r"demo_(\d+)")


def iterate_robomimic(
    path: str | Path,
    embodiment: Embodiment,
    cameras: Sequence[str] | None = None,
    with_actions: bool = True,
    frame_every: int = 1,
    report: BagReport | None = None,
) -> Iterator[Episode]:
    """Yield the demonstrations of an HDF5 file in the order of their numbers; only one is in memory.

    Episodes are called after the file and ``demo_N`` (`layouts.Layout.title`). The files have no clock: step ``t`` has
    the stamp ``t / control_rate_hz``. ``success`` is True where the last row is rewarded and otherwise None: no file
    records a failure. Images are upright and as large as in the file, whatever the contract says: nothing is resized
    silently. `BagWriter` takes only the contract's size, so bags of 256-pixel files need a contract that says 256.

    A file that was cut off, or whose data are garbage, is reported. Garbage in the file's own index is, too, unless it
    makes HDF5's library crash, which no caller in the same process can catch.

    Args:
        path: an HDF5 file of one of `layouts.LAYOUTS`, recognised by its contents.
        cameras: which to read; each must be in every demonstration. None: those of the contract that it has.
        with_actions: False gives action-free videos.
        frame_every: take frames only at steps that are multiples of this; the files have one at every step.
        report: takes refused demonstrations and the damage. Without it the first of them is raised, after the
            demonstrations in front of it.

    Raises:
        World2ActError: there is no file at ``path``.
        DamagedBagError: only without ``report``: truncated, no HDF5 file, or of a layout that is not known.
        ContractError: the file is another robot's; an unknown camera; without ``report`` also a demonstration that is
            refused.
    """
    path = Path(path)
    for name in cameras or ():
        if name not in embodiment.cameras:
            raise ContractError(f"{embodiment.name} has no camera {name!r}, only {', '.join(embodiment.cameras)}")
    if not path.is_file():
        raise World2ActError(f"there is no file at {path}")
    wanted = _Wanted(path, embodiment, cameras, with_actions, frame_every, report)
    try:
        with _opened(path) as file:
            data, names, layout = _recognise(path, file)
            _check_contract(path, data, layout, embodiment)
            with _damaged(path):
                title = layout.title(path, data.attrs)
            for name in names:
                yield from _read(f"{title}/{name}", data, name, layout, wanted)
    except DamagedBagError as damage:
        if report is None:
            raise
        report.damage = damage


@dataclass(frozen=True)
class _Wanted:
    """What was asked of `iterate_robomimic`."""

    path: Path
    embodiment: Embodiment
    cameras: Sequence[str] | None
    with_actions: bool
    frame_every: int
    report: BagReport | None


def _read(episode_id: str, data: h5py.Group, name: str, layout: Layout, wanted: _Wanted) -> Iterator[Episode]:
    """One demonstration, or its refusal. A generator of its own, which lets go of it before the next one is read."""
    try:
        episode = _episode(episode_id, Demonstration(data, name, layout), layout, wanted)
    except (World2ActError, ValueError) as error:
        if wanted.report is None:
            raise ContractError(f"{wanted.path}: episode {episode_id} cannot be used: {error}") from error
        wanted.report.refused.append(Refused(episode_id, str(error)))
        return
    yield episode


def _episode(episode_id: str, demonstration: Demonstration, layout: Layout, wanted: _Wanted) -> Episode:
    embodiment = wanted.embodiment
    cameras = demonstration.cameras(embodiment.cameras) if wanted.cameras is None else wanted.cameras
    return Episode(
        episode_id=episode_id,
        task=demonstration.instruction(wanted.path),
        embodiment=embodiment.name,
        stamps=np.arange(demonstration.length) / embodiment.control_rate_hz,
        state={stream: demonstration.state(stream).astype(np.float32) for stream in embodiment.state},
        actions=demonstration.actions(embodiment.action.names) if wanted.with_actions else None,
        frame_steps=np.arange(0, demonstration.length if cameras else 0, wanted.frame_every, dtype=np.int64),
        images={camera: demonstration.images(camera, wanted.frame_every) for camera in cameras},
        success=demonstration.success(),
        source=layout.source,
    )


def _recognise(path: Path, file: h5py.File) -> tuple[h5py.Group, list[str], Layout]:
    """The group of demonstrations, their names in order, and the layout that the first readable one has."""
    with _damaged(path):
        data = file.get("data")
        found = map(str, data) if isinstance(data, h5py.Group) else ()  # a damaged name comes as bytes
        names = [name for name in found if _DEMONSTRATION.fullmatch(name)]
    if not names:
        raise DamagedBagError(f"{path} holds no demonstrations (data/demo_0 ...): a foreign HDF5 file")
    names.sort(key=lambda name: int(name.removeprefix("demo_")))
    seen: list[str] = []
    for name in names:
        try:
            observed = [str(key) for key in data[name].get("obs") or ()]
        except UNREADABLE:
            continue  # this one is broken; another may tell
        for layout in LAYOUTS:
            if layout.signature in observed:
                return data, names, layout
        seen = seen or observed
    if not seen:
        raise DamagedBagError(
            f"{path} holds demonstrations without observations (data/demo_N/obs): play them back first, with LIBERO's "
            f"create_dataset.py or RoboCasa's dataset_states_to_obs.py"
        )
    known = " or ".join(f"{layout.name} (obs/{layout.signature})" for layout in LAYOUTS)
    raise DamagedBagError(f"{path} has observations {', '.join(seen[:6])} ..., which are not those of {known}")


def _check_contract(path: Path, data: h5py.Group, layout: Layout, embodiment: Embodiment) -> None:
    """Refuse a contract by which the file's numbers would mean something else."""
    with _damaged(path):
        arguments = json_attribute(data.attrs, "env_args").get("env_kwargs") or {}
        rate = float(dict(arguments).get("control_freq", embodiment.control_rate_hz))
    custom = load_embodiment(layout.contract)
    what = f"{path} holds {layout.name} demonstrations, which follow {layout.contract}"
    if rate != embodiment.control_rate_hz:
        raise ContractError(f"{what}: made at {rate:g} Hz, {embodiment.name} says {embodiment.control_rate_hz:g} Hz")
    for name, stream in embodiment.state.items():
        known = custom.state.get(name)
        if known is None or (stream.size, stream.units, stream.frame_id) != (known.size, known.units, known.frame_id):
            raise ContractError(f"{what}: they have no {name} as {embodiment.name} means it")
    scales = [dict(zip(robot.action.names, robot.action.scale, strict=True)) for robot in (embodiment, custom)]
    if scales[0] != scales[1]:
        raise ContractError(f"{what}: the actions of {embodiment.name} have other names or scales")


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    with _damaged(path):
        file = h5py.File(path, "r")
    with file:
        yield file


@contextmanager
def _damaged(path: Path) -> Iterator[None]:
    try:
        yield
    except (*UNREADABLE, ContractError) as error:
        why = " ".join(str(error).split())
        raise DamagedBagError(f"{path} is cut off, damaged or no HDF5 file: {why}") from error
