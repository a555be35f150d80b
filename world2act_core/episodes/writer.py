"""Writing rosbag2 folders (MCAP + metadata.yaml) that survive a kill and a full disk up to their last chunk."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import yaml
from mcap.writer import CompressionType, Writer

from world2act_core.embodiment import Embodiment
from world2act_core.episodes import compose, messages
from world2act_core.episodes.fields import NS, seconds_to_ns
from world2act_core.errors import ContractError, World2ActError
from world2act_core.types import Episode

CHUNK_BYTES = 1 << 20  # a killed writer loses at most this much
PAUSE_NS = NS  # log time between two episodes
MB = 10**6


@dataclass
class _Part:
    """One file of a bag."""

    name: str
    first_ns: int = 0
    last_ns: int = -1
    count: int = 0


class BagWriter:
    """Context manager that writes one bag.

    Args:
        path: the rosbag2 folder to make; must not exist.
        embodiment: contract whose topics, cameras and layout the bag follows.
        compress: zstd chunks: a quarter of the size for rendered images, several times slower.
        split_mb: a file that has this size is finished and followed by another; 0: one file, however large. Each file
            can be read alone, but an episode may begin in one and end in the next.

    Raises:
        World2ActError: the folder exists, or the disk is full (what was written before stays readable).
    """

    def __init__(
        self, path: str | Path, embodiment: Embodiment, *, compress: bool = False, split_mb: float = 0.0
    ) -> None:
        self.path = Path(path)
        self.embodiment = embodiment
        self._compression = CompressionType.ZSTD if compress else CompressionType.NONE
        self._split_bytes = split_mb * MB
        self._file: _SteadyFile | None = None
        self._parts: list[_Part] = []
        self._channels: dict[tuple[str, str], int] = {}
        self._schemas: dict[str, int] = {}
        self._counts: dict[tuple[str, str], int] = {}
        self._last_ns = -1

    def __enter__(self) -> BagWriter:
        try:
            self.path.mkdir(parents=True)
        except FileExistsError:
            raise World2ActError(f"{self.path} exists already: give another path, bags are never overwritten") from None
        except OSError as error:
            raise World2ActError(f"{self.path} cannot be made: {error.strerror}") from error
        with self._reporting():
            self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write_episode(self, episode: Episode) -> None:
        """Log an episode as the live graph would publish it. It is on disk when this returns.

        Raises:
            ContractError: the episode does not follow the embodiment; nothing of it was written.
        """
        composed = _episode_messages(episode, self.embodiment)
        base = self._last_ns + PAUSE_NS if self._last_ns >= 0 else 0
        first = seconds_to_ns(episode.stamps[0])
        for stamp, topic, message in composed:
            log_time = max(base + stamp - first, self._last_ns + 1)
            self.write_raw(topic, message.__msgtype__, messages.serialise(message), log_time)

    def write_raw(self, topic: str, type_name: str, data: bytes, log_time_ns: int) -> None:
        """Log one serialised message, as received.

        Args:
            topic: as in the embodiment contract; a leading slash makes no difference.
            type_name: e.g. ``sensor_msgs/msg/Image``; must be known to `messages.typestore`.
            data: CDR bytes.
            log_time_ns: when it was received; must not lie before the last one.
        """
        if log_time_ns < self._last_ns:
            raise World2ActError(
                f"{self.path}: log time {log_time_ns} ns on {topic} lies before the last one, {self._last_ns} ns"
            )
        if type_name not in messages.typestore().types:
            raise World2ActError(f"{self.path}: {topic} has unknown type {type_name}; leave the topic out")
        self._opened()
        with self._reporting():
            self._write("/" + topic.strip("/"), type_name, data, log_time_ns)

    def flush(self) -> None:
        """Write out the chunk in progress, so that a kill from here on loses nothing before it."""
        self._opened()
        with self._reporting():
            self._mcap.flush()

    def close(self) -> None:
        """Finish the file and write metadata.yaml. Does nothing if the bag was closed or has failed."""
        if self._file is not None:
            with self._reporting():
                self._finish()

    def _open(self) -> None:
        self._parts.append(_Part(f"{self.path.name}_{len(self._parts)}.mcap"))
        self._channels, self._schemas = {}, {}  # every file names its own
        self._file = _SteadyFile(self.path / self._parts[-1].name)
        self._mcap = Writer(self._file, chunk_size=CHUNK_BYTES, compression=self._compression)  # type: ignore[arg-type]
        self._mcap.start(profile="ros2", library="world2act")

    def _write(self, topic: str, type_name: str, data: bytes, log_time_ns: int) -> None:
        if 0 < self._split_bytes <= self._opened().tell():
            self._finish_file()
            self._open()
        key, part = (topic, type_name), self._parts[-1]
        if key not in self._channels:
            self._channels[key] = self._register(topic, type_name)
            self._counts.setdefault(key, 0)
        self._mcap.add_message(self._channels[key], log_time_ns, data, log_time_ns, self._counts[key] + 1)
        self._counts[key] += 1
        if not part.count:
            part.first_ns = log_time_ns
        part.count += 1
        self._last_ns = part.last_ns = log_time_ns
        if type_name == messages.EPISODE_EVENT:  # a finished episode must not wait for its chunk to fill up
            self._mcap.flush()
            self._opened().sync()

    def _register(self, topic: str, type_name: str) -> int:
        if type_name not in self._schemas:
            text = messages.definition(type_name).encode()
            self._schemas[type_name] = self._mcap.register_schema(type_name, "ros2msg", text)
        metadata = {"offered_qos_profiles": "", "topic_type_hash": messages.type_hash(type_name)}
        return self._mcap.register_channel(topic, "cdr", self._schemas[type_name], metadata)

    def _finish_file(self) -> None:
        self._mcap.flush()
        self._mcap.add_metadata("rosbag2", {"serialized_metadata": _yaml(self._metadata())})
        self._mcap.finish()
        self._opened().sync()
        self._opened().close()
        self._file = None

    def _finish(self) -> None:
        self._finish_file()
        part = self.path / "metadata.yaml.part"
        part.write_text(_yaml({"rosbag2_bagfile_information": self._metadata()}), encoding="utf-8")
        part.replace(self.path / "metadata.yaml")

    def _metadata(self) -> dict[str, Any]:
        parts = self._parts
        topics = [
            {
                "topic_metadata": {
                    "name": topic,
                    "type": type_name,
                    "serialization_format": "cdr",
                    "offered_qos_profiles": [],
                    "type_description_hash": messages.type_hash(type_name),
                },
                "message_count": count,
            }
            for (topic, type_name), count in self._counts.items()
        ]
        return {
            "version": 9,
            "storage_identifier": "mcap",
            "relative_file_paths": [part.name for part in parts],
            **_span(parts[0].first_ns, parts[-1].last_ns, sum(part.count for part in parts)),
            "topics_with_message_count": topics,
            "compression_format": "",
            "compression_mode": "",
            "files": [{"path": part.name, **_span(part.first_ns, part.last_ns, part.count)} for part in parts],
            "custom_data": {"embodiment": self.embodiment.name},
            "ros_distro": "jazzy",
        }

    def _opened(self) -> _SteadyFile:
        if self._file is None:
            raise World2ActError(f"{self.path}: the bag is not open, nothing more can be written to it")
        return self._file

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        """On an error of the system keep what is whole and say what happened."""
        try:
            yield
        except OSError as error:
            file, self._file = self._file, None
            if file is not None:
                file.close()
            raise World2ActError(
                f"{self.path}: writing the bag failed ({error.strerror}); what was written before stays readable, "
                f"free some space and record to a new path"
            ) from error


def _span(first_ns: int, last_ns: int, count: int) -> dict[str, Any]:
    return {
        "starting_time": {"nanoseconds_since_epoch": first_ns},
        "duration": {"nanoseconds": max(0, last_ns - first_ns)},
        "message_count": count,
    }


def require_space(path: str | Path, min_free_mb: float) -> None:
    """Refuse a path, there or not, on whose disk less than ``min_free_mb`` megabytes are free.

    Raises:
        World2ActError: says how much is free, and where.
    """
    absolute = Path(path).absolute()
    folder = next(place for place in (absolute, *absolute.parents) if place.is_dir())
    free_mb = shutil.disk_usage(folder).free / MB
    if free_mb < min_free_mb:
        raise World2ActError(
            f"only {free_mb:.0f} MB are free in {folder}, a recording leaves at least {min_free_mb:.0f} MB "
            f"(min_free_mb): free some space or record elsewhere"
        )


def write_whole_bag(episode: Episode, bag: Path, embodiment: Embodiment) -> None:
    """Write one episode as a bag that appears under its name only when it is whole, whatever is killed."""
    partial = bag.with_name(f".{bag.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    with BagWriter(partial, embodiment) as writer:
        writer.write_episode(episode)
    os.replace(partial, bag)


def _yaml(value: Any) -> str:
    """YAML without anchors, which other readers of metadata.yaml need not know."""
    return yaml.safe_dump(json.loads(json.dumps(value)), sort_keys=False)


def _episode_messages(episode: Episode, embodiment: Embodiment) -> list[tuple[int, str, Any]]:
    """``(stamp in ns, topic, message)`` of a whole episode in the order the live graph would publish them."""
    _check_episode(episode, embodiment)
    stamps = [seconds_to_ns(stamp) for stamp in episode.stamps]
    frames = {int(step): k for k, step in enumerate(episode.frame_steps)}
    skills = {skill.start: index for index, skill in enumerate(episode.skills)}
    about: dict[str, Any] = {
        "episode_id": episode.episode_id,
        "task": episode.task,
        "embodiment": embodiment.name,
        "source": episode.source,
        "start_id": episode.start_id,
    }
    start = compose.episode_event(compose.START, stamps[0], **about)
    composed = [(stamps[0], messages.EPISODE_EVENT_TOPIC, start)]
    for t, stamp in enumerate(stamps):
        row = {name: episode.state[name][t] for name in episode.state}
        composed += [(stamp, topic, message) for topic, message in compose.state_messages(embodiment, row, stamp)]
        if t in skills:
            index = skills[t]
            prompt = compose.skill_prompt(
                episode.episode_id, episode.task, episode.skills[index].prompt, index, len(episode.skills), stamp
            )
            composed.append((stamp, messages.SKILL_PROMPT_TOPIC, prompt))
        for name in episode.images if t in frames else ():
            camera = embodiment.cameras[name]
            image = compose.image_message(episode.images[name][frames[t]], camera, stamp)
            composed.append((stamp, camera.topic, image))
        if episode.actions is not None and t < episode.steps:
            composed.append((stamp, embodiment.action.topic, compose.track_command(episode.actions[t], stamp)))
    end = compose.episode_event(compose.END, stamps[-1], success=episode.success, skills=episode.skills, **about)
    return [*composed, (stamps[-1], messages.EPISODE_EVENT_TOPIC, end)]


def _check_episode(episode: Episode, embodiment: Embodiment) -> None:
    """Refuse what could not be read back equal."""
    where = f"episode {episode.episode_id}"
    if episode.embodiment != embodiment.name:
        raise ContractError(f"{where}: made with {episode.embodiment}, the bag is for {embodiment.name}")
    unknown = set(episode.images) - set(embodiment.cameras) | set(episode.state) - set(embodiment.state)
    if unknown:
        raise ContractError(f"{where}: {embodiment.name} has no camera or stream {sorted(unknown)[0]!r}")
    if len(episode.frame_steps) and not episode.images:
        raise ContractError(f"{where}: frame_steps without images of any camera")
    gaps = np.diff([seconds_to_ns(stamp) for stamp in episode.stamps])
    apart = np.abs(gaps - seconds_to_ns(embodiment.step_s))
    for t in np.flatnonzero(apart > seconds_to_ns(embodiment.max_skew_s)):
        raise ContractError(
            f"{where}: step {t + 1} comes {gaps[t] / NS:.3f} s after step {t}, {embodiment.name} says "
            f"{embodiment.step_s:g} s with a skew of at most {embodiment.max_skew_s:g} s"
        )
    if episode.actions is not None and (
        episode.actions.shape[1:] != (embodiment.action.size,) or not np.isfinite(episode.actions).all()
    ):
        raise ContractError(
            f"{where}: actions {episode.actions.shape} must be finite with {embodiment.action.size} dimensions"
        )


class _SteadyFile:
    """An unbuffered file that writes everything it is given or raises OSError, for mcap's writer."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._raw = open(path, "xb", buffering=0)  # noqa: SIM115  (closed by the writer)
        self._position = 0

    def write(self, data: bytes) -> int:
        view = memoryview(data)
        while view:
            written = self._raw.write(view) or 0
            self._position += written
            view = view[written:]
        return len(data)

    def tell(self) -> int:
        return self._position

    def flush(self) -> None:
        """Nothing is buffered here."""

    def sync(self) -> None:
        os.fsync(self._raw.fileno())

    def close(self) -> None:
        self._raw.close()
