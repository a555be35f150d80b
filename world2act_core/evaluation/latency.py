"""Where the milliseconds went between a photon and the command that answers it, from any bag of the graph.

The stamps are those of ActionChunk and of the first ArmCommand that names it (docs/observability.md). In lockstep the
robot's clock is simulated time: what spans both clocks is then left out, and log times say when a command left.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from world2act_core.episodes import fields, messages
from world2act_core.episodes.mcap_file import RawMessage
from world2act_core.episodes.stamps import ChunkStamps, chunk_stamps, two_clocks
from world2act_core.episodes.storage import bag_messages, decode
from world2act_core.errors import DamagedBagError, World2ActError
from world2act_core.types import Array

PHOTON, ASSEMBLY, WAIT, INFERENCE, PUBLICATION, FIRST_COMMAND = CHAIN = (
    "photon → received",
    "received → assembled",
    "assembled → inference",
    "inference",
    "inference → published",
    "published → first command",
)
"""What a chunk's time is made of, in order: one begins where the last one ended."""
WHOLE, AGE = "photon → first command", "image age at the policy"
PERCENTILES = (50, 95, 99)
_BEFORE_MS = -1.0  # a command's stamp is its control period's; beyond this an effect comes before its cause


@dataclass(frozen=True)
class ChunkTiming:
    """One chunk.

    Attributes:
        commanded: when its first step left, nanoseconds by the policy's clock; None if no command names it.
    """

    stamps: ChunkStamps
    commanded: int | None

    @property
    def lockstep(self) -> bool:
        """Whether the robot's clock is simulated time."""
        return two_clocks(self.stamps.observation, self.stamps.inference_start)

    def chain(self) -> dict[str, float]:
        """Segment of ``CHAIN`` → milliseconds; without those that this chunk cannot tell."""
        stamps = self.stamps
        times = [stamps.received, stamps.assembled, stamps.inference_start, stamps.inference_end, stamps.published]
        names = list(CHAIN[1:])
        if stamps.images and not self.lockstep:
            times.insert(0, min(acquired for acquired, _ in stamps.images.values()))
            names.insert(0, PHOTON)
        if self.commanded is not None:
            times.append(self.commanded)
        return {name: _ms(b - a) for name, a, b in zip(names, times, times[1:], strict=False)}


@dataclass
class LatencyReport:
    """What a bag says about time.

    Attributes:
        older: chunks of a message version without these stamps; they are not in ``chunks``.
        damage: what is wrong with the bag; ``chunks`` are those in front of it.
    """

    path: Path
    chunks: list[ChunkTiming] = field(default_factory=list)
    older: int = 0
    damage: DamagedBagError | None = None

    def segments(self) -> dict[str, Array]:
        """Name → milliseconds: each camera's way, ``CHAIN``, ``WHOLE``, ``AGE`` (of every image)."""
        cameras: dict[str, list[float]] = {}
        ages: list[float] = []
        parts: dict[str, list[float]] = {name: [] for name in (*CHAIN, WHOLE)}
        for chunk in self.chunks:
            chain = chunk.chain()
            for name, value in chain.items():
                parts[name].append(value)
            if len(chain) == len(CHAIN):
                parts[WHOLE].append(sum(chain.values()))
            for camera, (acquired, received) in () if chunk.lockstep else chunk.stamps.images.items():
                cameras.setdefault(f"{camera}: {PHOTON}", []).append(_ms(received - acquired))
                ages.append(_ms(chunk.stamps.inference_start - acquired))
        found = {**cameras, **parts, AGE: ages}
        return {name: np.array(values, np.float64) for name, values in found.items() if values}

    def notes(self) -> list[str]:
        """What a reader of the figures must know, a sentence each."""
        notes = []
        if any(chunk.lockstep for chunk in self.chunks):
            notes.append("the robot's clock is simulated time (lockstep), so nothing is timed from the camera on")
        unused = sum(chunk.commanded is None for chunk in self.chunks)
        if unused:
            notes.append(f"{unused} of {len(self.chunks)} chunks were not executed: no command names them")
        if self.older:
            notes.append(f"{self.older} chunks are left out: {_OLDER}")
        earliest = min((float(values.min()) for values in self.segments().values()), default=0.0)
        if earliest < _BEFORE_MS:
            notes.append(
                f"something is stamped {-earliest:.1f} ms before what caused it: two machines' clocks disagree"
            )
        return notes


_OLDER = "they were recorded by a version whose chunks do not say when images were taken and chunks published"


def read_latency(path: str | Path) -> LatencyReport:
    """The times of every chunk in a bag, up to its first damage.

    Raises:
        World2ActError: there is no bag at ``path``, or nothing in it can be timed; says why.
    """
    report = LatencyReport(Path(path))
    reader = _Reader(report)
    try:
        for raw in bag_messages(report.path):
            reader.take(raw)
    except DamagedBagError as damage:
        report.damage = damage
    reader.finish()
    if not report.chunks:
        if report.damage is not None:
            raise report.damage
        if report.older:
            raise World2ActError(f"{path} has {report.older} action chunks, but {_OLDER}: record anew")
        raise World2ActError(
            f"{path} has no action chunks, so there is nothing to time: "
            "record a policy at work (record:=FOLDER), demonstrations have none"
        )
    return report


def statistics(values: Array) -> dict[str, float]:
    """count, p50, p95, p99 (linear between ranks) and max of one segment."""
    ranks = {f"p{p}": float(v) for p, v in zip(PERCENTILES, np.percentile(values, PERCENTILES), strict=True)}
    return {"count": len(values), **ranks, "max": float(values.max())}


def latency_table(report: LatencyReport) -> str:
    """Aligned text, one segment a line, then the notes and the damage; no trailing newline."""
    segments = report.segments()
    width = max(map(len, segments))
    lines = [f"{'milliseconds':{width}}  {'count':>6}{'p50':>10}{'p95':>10}{'p99':>10}{'max':>10}"]
    for name, values in segments.items():
        count, *rest = statistics(values).values()
        lines.append(f"{name:{width}}  {count:6}" + "".join(f"{value:10.2f}" for value in rest))
    lines += [f"note: {note}" for note in report.notes()]
    return "\n".join([*lines, *([f"damaged: {report.damage}"] if report.damage else [])])


def latency_json(report: LatencyReport) -> dict[str, Any]:
    """The same for programs."""
    return {
        "bag": str(report.path),
        "chunks": len(report.chunks),
        "unit": "ms",
        "segments": {name: statistics(values) for name, values in report.segments().items()},
        "notes": report.notes(),
        "damage": str(report.damage) if report.damage else None,
    }


class _Reader:
    """Joins chunks with the first command that names them; robots of several namespaces are kept apart."""

    def __init__(self, report: LatencyReport) -> None:
        self._report = report
        # By namespace: sequence → stamps of a chunk whose command is still to come, the episode, the last publication.
        self._waiting: dict[str, dict[int, ChunkStamps]] = {}
        self._episode: dict[str, str] = {}
        self._published: dict[str, int] = {}

    def take(self, raw: RawMessage) -> None:
        if raw.type_name == messages.ACTION_CHUNK:
            if raw.type_hash and raw.type_hash != messages.type_hash(messages.ACTION_CHUNK):
                self._report.older += 1
            else:
                self._chunk(raw)
        elif raw.type_name == messages.ARM_COMMAND:
            self._command(raw)

    def _chunk(self, raw: RawMessage) -> None:
        message, space = decode(raw), raw.topic.rpartition("/")[0]
        try:
            stamps = chunk_stamps(message)
        except ValueError:
            where = f"{raw.file or raw.topic} at byte {raw.offset}"
            raise DamagedBagError(f"{where}: a chunk's cameras and their stamps differ in number") from None
        if stamps.published == self._published.get(space):
            return  # said again because the arm had not heard it
        self._published[space] = stamps.published
        if message.episode_id != self._episode.get(space) or message.sequence in self._waiting[space]:
            self._drop(space)  # another episode, or a policy that was restarted and counts anew
            self._episode[space] = message.episode_id
        self._waiting[space][message.sequence] = stamps

    def _command(self, raw: RawMessage) -> None:
        spaces = [space for space in self._waiting if raw.topic.startswith(f"{space}/")]
        if not spaces:
            return
        waiting, command = self._waiting[max(spaces, key=len)], decode(raw)
        if command.mode == fields.TRACK and command.chunk in waiting:
            stamps = waiting.pop(command.chunk)
            lockstep = ChunkTiming(stamps, None).lockstep
            left = raw.log_time_ns if lockstep else fields.stamp_ns(command.header.stamp)
            self._report.chunks.append(ChunkTiming(stamps, left))

    def _drop(self, space: str) -> None:
        """What has not been executed will not be."""
        self._report.chunks += [ChunkTiming(stamps, None) for stamps in self._waiting.get(space, {}).values()]
        self._waiting[space] = {}

    def finish(self) -> None:
        for space in list(self._waiting):
            self._drop(space)
        self._report.chunks.sort(key=lambda chunk: chunk.stamps.published)


def _ms(ns: int) -> float:
    return ns / 1e6
