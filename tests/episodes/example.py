"""Small random episodes of small embodiments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.episodes import BagWriter, fields, messages
from world2act_core.episodes.storage import bag_messages
from world2act_core.types import Array, Episode, Skill


def small_embodiment(width: int = 12, height: int = 8, rotation_deg: int = 0) -> Embodiment:
    """LIBERO's Panda with small images, so that tests are fast."""
    full = load_embodiment("libero_panda")
    cameras = {
        name: replace(camera, width=width, height=height, rotation_deg=rotation_deg)
        for name, camera in full.cameras.items()
    }
    return replace(full, cameras=cameras)


def random_episode(embodiment: Embodiment, steps: int = 8, seed: int = 0, **changes: Any) -> Episode:
    """Random numbers with true shapes; a frame at every chunk boundary; stamps jitter by a millisecond."""
    rng = np.random.default_rng(seed)
    jitter = rng.integers(-500_000, 500_000, steps + 1)
    stamps_ns = np.arange(steps + 1) * round(embodiment.step_s * 1e9) + jitter + 1_000_000
    frame_steps = np.arange(0, steps + 1, embodiment.chunk_length)

    def pictures(name: str) -> Array:
        camera = embodiment.cameras[name]
        turned = camera.rotation_deg % 180 != 0
        size = (camera.width, camera.height) if turned else (camera.height, camera.width)
        return rng.integers(0, 256, (len(frame_steps), *size, 3), np.uint8)

    values: dict[str, Any] = {
        "episode_id": f"episode-{seed}",
        "task": "put the bowl on the plate",
        "embodiment": embodiment.name,
        "stamps": np.array([int(ns) / 10**9 for ns in stamps_ns]),
        "state": {
            name: rng.normal(size=(steps + 1, stream.size)).astype(np.float32)
            for name, stream in embodiment.state.items()
        },
        "actions": rng.uniform(-1, 1, (steps, embodiment.action.size)).astype(np.float32),
        "frame_steps": frame_steps,
        "images": {name: pictures(name) for name in embodiment.cameras},
        "success": bool(seed % 2),
        "start_id": f"libero_goal/8/i{seed}",
        "source": "demonstrator",
        "skills": (Skill("pick bowl", 0, steps // 2), Skill("place bowl on plate", steps // 2, steps)),
    }
    return Episode(**{**values, **changes})


def assert_equal(read: Episode, written: Episode) -> None:
    """Bit for bit."""
    for name in ("episode_id", "task", "embodiment", "success", "start_id", "source", "skills"):
        assert getattr(read, name) == getattr(written, name), name
    arrays = [("stamps", read.stamps, written.stamps), ("frame_steps", read.frame_steps, written.frame_steps)]
    assert (read.actions is None) == (written.actions is None)
    if read.actions is not None and written.actions is not None:
        arrays.append(("actions", read.actions, written.actions))
    for part in ("state", "images"):
        assert set(getattr(read, part)) == set(getattr(written, part)), part
        arrays += [(f"{part} {k}", getattr(read, part)[k], getattr(written, part)[k]) for k in getattr(read, part)]
    for name, left, right in arrays:
        assert left.dtype == right.dtype and np.array_equal(left, right), name


def write(path: Path, embodiment: Embodiment, *episodes: Episode) -> Path:
    """A bag of whole episodes."""
    with BagWriter(path, embodiment) as bag:
        for episode in episodes:
            bag.write_episode(episode)
    return path


Logged = tuple[str, Any]  # topic, message


def logged(embodiment: Embodiment, episode: Episode, folder: Path) -> list[Logged]:
    """The messages that stand for an episode, to be rearranged or spoilt before they are written."""
    bag = write(folder, embodiment, episode)
    return [(raw.topic.strip("/"), messages.deserialise(bytes(raw.data), raw.type_name)) for raw in bag_messages(bag)]


def log(path: Path, embodiment: Embodiment, entries: Iterable[Logged]) -> Path:
    """A bag of these messages in this order, a microsecond apart in log time."""
    with BagWriter(path, embodiment) as bag:
        for number, (topic, message) in enumerate(entries):
            bag.write_raw(topic, message.__msgtype__, messages.serialise(message), number * 1000)
    return path


def restamp(message: Any, shift_s: float) -> None:
    """Move a message's header stamp."""
    stamp = message.header.stamp
    moved = fields.stamp_ns(stamp) + round(shift_s * fields.NS)
    stamp.sec, stamp.nanosec = fields.split_ns(moved)
