"""Where the messages of a bag come from: MCAP files, whole or damaged, or any rosbag2 folder that `rosbags` reads."""

from __future__ import annotations

import re
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from rosbags.rosbag2 import Reader, ReaderError

from world2act_core.episodes.mcap_file import RawMessage, mcap_messages
from world2act_core.episodes.messages import deserialise
from world2act_core.errors import DamagedBagError, World2ActError


def bag_messages(path: str | Path) -> Iterator[RawMessage]:
    """All messages of a bag in the order they were logged.

    Args:
        path: a rosbag2 folder (MCAP also without metadata.yaml, after a kill; sqlite3 with it) or an .mcap file.

    Raises:
        World2ActError: there is no bag.
        DamagedBagError: truncated, corrupt or foreign; after all whole messages in front of the damage.
    """
    path = Path(path)
    if path.is_file():
        yield from mcap_messages(path)
    elif path.is_dir():
        files = _mcap_files(path)
        if not files and not (path / "metadata.yaml").is_file():
            raise DamagedBagError(f"{path} is no bag: it has neither .mcap files nor a metadata.yaml")
        for file in files:
            yield from mcap_messages(file)
        if not files:
            yield from _rosbag2_messages(path)
    else:
        raise World2ActError(f"there is no bag at {path}")


def decode(raw: RawMessage) -> Any:
    """The message itself.

    Raises:
        DamagedBagError: its bytes are no message of its type; says where.
    """
    try:
        return deserialise(raw.data, raw.type_name)
    except ValueError as error:
        raise DamagedBagError(f"{raw.file or raw.topic} at byte {raw.offset}: {error}") from error


def _mcap_files(folder: Path) -> list[Path]:
    """The folder's MCAP files, in recording order: as metadata.yaml says, or by number."""
    found = {file.name: file for file in folder.glob("*.mcap")}
    try:
        metadata = yaml.safe_load((folder / "metadata.yaml").read_text(encoding="utf-8"))
        listed = [str(Path(name).name) for name in metadata["rosbag2_bagfile_information"]["relative_file_paths"]]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError):
        listed = []  # killed before it was written, or damaged: the files themselves say all that is needed
    if set(listed) & set(found):
        missing = [name for name in listed if name not in found]
        if missing:
            raise DamagedBagError(f"{folder} lacks {missing[0]}, which its metadata.yaml names")
        return [found[name] for name in listed]
    return sorted(found.values(), key=lambda file: [int(part) for part in re.findall(r"\d+", file.stem)[-1:]])


def _rosbag2_messages(folder: Path) -> Iterator[RawMessage]:
    """sqlite3 and compressed files through `rosbags`; an offset here is the number of the message."""
    number = 0
    try:
        with Reader(folder) as reader:
            for connection, log_time, data in reader.messages():
                yield RawMessage(
                    connection.topic, connection.msgtype, connection.digest, log_time, memoryview(data), number
                )
                number += 1
    except (ReaderError, sqlite3.Error, OSError, ValueError, KeyError, struct.error) as error:
        why = " ".join(str(error).split())
        raise DamagedBagError(f"{folder} is damaged or foreign behind message {number}: {why}") from error
