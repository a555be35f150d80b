"""Episodes from whatever holds them: bags, HDF5 files of LIBERO and RoboCasa, LeRobot data sets.

A *source* is the smallest thing that is opened as one: a file, or a folder that belongs together. What it is, its
contents say; its name only where the contents are lost, so that a damaged file is reported as what it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from pathlib import Path

from world2act_core.embodiment import Embodiment
from world2act_core.episodes.mcap_file import MAGIC
from world2act_core.episodes.reader import BagReport, iterate_episodes
from world2act_core.errors import World2ActError
from world2act_core.types import Episode

KNOWN = (
    "an .mcap file or rosbag2 folder, an .hdf5 file of LIBERO or RoboCasa, a LeRobot v3 data set "
    "(the folder with meta/info.json)"
)
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


class SourceKind(Enum):
    """What reads a source."""

    BAG = "bag"
    HDF5 = "hdf5"
    LEROBOT = "lerobot"


_BY_NAME = {".mcap": SourceKind.BAG, ".hdf5": SourceKind.HDF5, ".h5": SourceKind.HDF5}


def source_kind(path: str | Path) -> SourceKind | None:
    """What a file or folder is as a whole; None if it is nothing that can be opened, or a folder of such things."""
    path = Path(path)
    return _folder_kind(path) if path.is_dir() else _file_kind(path)


def find_sources(paths: Iterable[str | Path]) -> list[Path]:
    """The sources among and below some paths, each of them one unit of work.

    Folders are searched to any depth, in the order of names with numbers counted (``demo_2`` before ``demo_10``).
    Hidden files and folders are left out, such as a bag that is still being written.

    Raises:
        World2ActError: a path does not exist, or is and holds nothing that can be opened.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if not path.exists():
            raise World2ActError(f"there is nothing at {path}")
        below = list(_sources_below(path, set()))
        if not below:
            raise World2ActError(
                f"{path} {'holds' if path.is_dir() else 'is'} nothing that can be opened: give {KNOWN}"
            )
        found.update(dict.fromkeys(below))
    return list(found)


def iterate_source(
    path: str | Path,
    embodiment: Embodiment,
    cameras: Sequence[str] | None = None,
    frame_every: int = 1,
    report: BagReport | None = None,
) -> Iterator[Episode]:
    """Yield the episodes of one source one at a time.

    Arguments and errors as in `reader.iterate_episodes`: with ``report`` what is refused or damaged is told there and
    the rest goes on.

    Raises:
        World2ActError: there is nothing at ``path``, or nothing that can be opened as one source.
    """
    path = Path(path)
    if not path.exists():
        raise World2ActError(f"there is nothing at {path}")
    kind = source_kind(path)
    if kind is SourceKind.BAG:
        yield from iterate_episodes(path, embodiment, cameras, frame_every=frame_every, report=report)
    elif kind is SourceKind.HDF5:
        from world2act_core.episodes.robomimic import iterate_robomimic

        yield from iterate_robomimic(path, embodiment, cameras, frame_every=frame_every, report=report)
    elif kind is SourceKind.LEROBOT:
        from world2act_core.episodes.lerobot import iterate_lerobot

        yield from iterate_lerobot(path, embodiment, cameras, frame_every=frame_every, report=report)
    else:
        raise World2ActError(f"{path} cannot be opened: give {KNOWN}")


def _file_kind(path: Path) -> SourceKind | None:
    try:
        with open(path, "rb") as file:
            first = file.read(len(MAGIC))
    except OSError:
        first = b""
    if first == MAGIC:
        return SourceKind.BAG
    if first == _HDF5_SIGNATURE:
        return SourceKind.HDF5
    return _BY_NAME.get(path.suffix)


def _folder_kind(folder: Path) -> SourceKind | None:
    if (folder / "meta" / "info.json").is_file():
        return SourceKind.LEROBOT
    # rosbag2 numbers the files of one bag; a recorder that was killed has not written metadata.yaml.
    if (folder / "metadata.yaml").is_file() or (folder / f"{folder.name}_0.mcap").is_file():
        return SourceKind.BAG
    return None


def _sources_below(path: Path, seen: set[Path]) -> Iterator[Path]:
    """``seen`` takes folders as they really are, so that a link to one of its parents ends the search."""
    if source_kind(path) is not None:
        yield path
    elif path.is_dir() and path.resolve() not in seen:
        seen.add(path.resolve())
        for entry in sorted(path.iterdir(), key=_counted):
            if not entry.name.startswith("."):
                yield from _sources_below(entry, seen)


def _counted(path: Path) -> list[str | int]:
    """Sort key: text and numbers take turns, so like is compared with like."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)]
