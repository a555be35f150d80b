"""Bags of chunks and commands with known times, written as the recorder writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from world2act_core.embodiment import load_embodiment
from world2act_core.episodes import BagWriter, compose, messages
from world2act_core.episodes.stamps import ChunkStamps
from world2act_core.types import ActionChunk

PANDA = load_embodiment("libero_panda")
MS = 10**6
T0 = 1_800_000_000 * 10**9  # the wall clock's time of the first photon
PERIOD = 200 * MS


def stamps(photon: int, inference_ms: int = 30, observation: int | None = None) -> ChunkStamps:
    """Wrist 4 ms, agent view 10 ms on the way; then 2, 1, ``inference_ms`` and 3 ms. ``observation``: in lockstep."""
    images = {"agentview": (photon, photon + 10 * MS), "wrist": (photon + 5 * MS, photon + 9 * MS)}
    if observation is not None:
        images = {name: (observation, received) for name, (_, received) in images.items()}
    start = photon + 13 * MS
    end = start + inference_ms * MS
    return ChunkStamps(
        observation=photon if observation is None else observation,
        images=images,
        received=photon + 10 * MS,
        assembled=photon + 12 * MS,
        inference_start=start,
        inference_end=end,
        published=end + 3 * MS,
    )


class Recording:
    """A bag in the making."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[tuple[int, str, Any]] = []

    def chunk(
        self,
        sequence: int,
        times: ChunkStamps,
        episode: str = "e1",
        at: int | None = None,
        topic: str = "action_chunk",
    ) -> None:
        actions = ActionChunk(np.zeros((4, 7), np.float32), 0.0, "pick the bowl")
        message = compose.action_chunk(actions, times, sequence, episode, PANDA.name)
        self.entries.append((times.published if at is None else at, topic, message))

    def command(
        self, sequence: int, step: int, left: int, stamp: int | None = None, topic: str = "arm_command"
    ) -> None:
        message = compose.track_command(np.zeros(7), left if stamp is None else stamp, sequence, step)
        self.entries.append((left, topic, message))

    def hold(self, left: int) -> None:
        self.entries.append((left, "arm_command", compose.hold_command("waiting", left)))

    def write(self) -> Path:
        with BagWriter(self.path, PANDA) as writer:
            for log_time, topic, message in sorted(self.entries, key=lambda entry: entry[0]):
                writer.write_raw(topic, message.__msgtype__, messages.serialise(message), log_time)
        return self.path


def on_a_robot(path: Path, chunks: int = 100) -> Path:
    """Chunk k takes k ms of inference; its first command leaves 4 ms after its publication."""
    recording = Recording(path)
    for k in range(1, chunks + 1):
        times = stamps(T0 + k * PERIOD, inference_ms=k)
        recording.chunk(k, times)
        for step in range(4):
            recording.command(k, step, times.published + 4 * MS + step * 25 * MS)
    return recording.write()
