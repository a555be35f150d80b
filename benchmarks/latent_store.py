"""The latent store: writing, and reading it from page cache, with the memory that takes.

Run: python -m benchmarks.latent_store. The clips have the shape of Cosmos-Predict2's latents at 480 x 832 pixels. Each
pass is a store opened anew that adds up every value of every clip, so every page is read. The bytes of the shards are
copied by ``read()`` for comparison: what the machine gives without the store. The last line reads what Stage 1 reads:
batches of 16 random sequences of 8 chunks, the latents at both ends of each chunk copied to memory.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks._machine import machine, version
from world2act_core.alignment.sampling import SequenceSampler
from world2act_core.alignment.train import Stage1Config
from world2act_core.episodes.chunks import ChunkTable
from world2act_core.world_model.chunk_latents import StoredLatents
from world2act_core.world_model.imagination import clip_key
from world2act_core.world_model.store import OPEN_SHARDS, LatentStore, LatentWriter

SHAPE = (16, 24, 60, 104)
"""C, T, H, W of 93 frames of 480 x 832 pixels: 9.6 MB."""
CHUNKS, CHUNK_LENGTH = SHAPE[1] - 1, 4


def resident_mb(field: str) -> float:
    """A line of /proc/self/status, e.g. VmHWM (highest so far), RssAnon (memory of our own), RssFile (mapped files)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024 / 1e6


def start_peak_anew() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def write(folder: Path, clips: int, shard_bytes: int) -> float:
    """Seconds; the values are made beforehand, each clip differs from the one before."""
    latents = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    began = time.perf_counter()
    with LatentWriter(folder, {"model": "benchmark"}, shard_bytes=shard_bytes) as writer:
        for number in range(clips):
            latents.view(-1)[number] += 1
            mask = [True] * CHUNKS
            meta = {"start_step": 0, "steps_per_latent": CHUNK_LENGTH, "mask": mask}
            writer.add(clip_key(f"episode {number}", 0), latents, meta)
    return time.perf_counter() - began


@dataclass(frozen=True)
class Pass:
    """Seconds, and by how many MB memory grew: its peak at half and at all of the reads, and what is not mapped."""

    seconds: float
    peak_half: float
    peak: float
    own: float


def read(folder: Path, shuffled: bool) -> Pass:
    start_peak_anew()
    resident, own = resident_mb("VmRSS"), resident_mb("RssAnon")
    began = time.perf_counter()
    store = LatentStore(folder)
    keys = list(store)
    if shuffled:
        random.Random(0).shuffle(keys)
    for number, key in enumerate(keys):
        if number == len(keys) // 2:
            peak_half = resident_mb("VmHWM")
        store[key].latents.sum()
    seconds = time.perf_counter() - began
    return Pass(seconds, peak_half - resident, resident_mb("VmHWM") - resident, resident_mb("RssAnon") - own)


def table_of(clips: int) -> ChunkTable:
    """The chunks between the latents of every clip, an episode each, without frames and with actions of zero."""
    rows = clips * CHUNKS
    nothing, frames = np.zeros(rows), np.zeros(rows, np.int64)
    return ChunkTable(
        frames=np.zeros((1, 1, 1, 3), np.uint8),
        before=frames,
        after=frames,
        previous=frames,
        proprio=nothing[:, None],
        actions=np.zeros((rows, CHUNK_LENGTH, 7), np.float32),
        labelled=np.ones(rows, bool),
        step=np.tile(np.arange(CHUNKS) * CHUNK_LENGTH, clips),
        clock=np.tile(np.arange(CHUNKS), clips),
        episode=np.repeat(np.arange(clips), CHUNKS),
        prompts=("skill",) * rows,
        episode_ids=tuple(f"episode {number}" for number in range(clips)),
        start_ids=("",) * clips,
    )


def read_batches(folder: Path, clips: int, batches: int) -> tuple[Pass, int]:
    """What Stage 1 reads in so many training steps; also how many samples (chunks) that were, padding included.

    A batch at a time is in memory: 128 samples of two latents are 102 MB.
    """
    config, table = Stage1Config(), table_of(clips)
    sampler = SequenceSampler(table, config.length, min(config.batch, clips), config.hard_ratio)
    samples = 0
    start_peak_anew()
    resident, own = resident_mb("VmRSS"), resident_mb("RssAnon")
    latents = StoredLatents(LatentStore(folder), table)
    began = time.perf_counter()
    for number in range(batches):
        if number == batches // 2:
            peak_half = resident_mb("VmHWM")
        rows = sampler.draw(np.random.default_rng(number)).rows.reshape(-1)
        latents.pair(rows)
        samples += len(rows)
    seconds = time.perf_counter() - began
    grew = Pass(seconds, peak_half - resident, resident_mb("VmHWM") - resident, resident_mb("RssAnon") - own)
    return grew, samples


def plain_read(folder: Path) -> float:
    buffer = bytearray(1 << 20)
    began = time.perf_counter()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    return time.perf_counter() - began


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Writing and reading latents.")
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--shard-megabytes", type=int, default=16, help="small, so that there are many")
    parser.add_argument("--batches", type=int, default=60, help="of Stage 1, half of which see the memory settle")
    parser.add_argument("--folder", type=Path, help="where to write (default: the system's temporary folder)")
    options = parser.parse_args(arguments)
    clip = torch.Size(SHAPE).numel() * 4 / 1e6
    clips = max(1, round(options.megabytes / clip))
    size = clips * clip
    print(machine(), f"safetensors {version('safetensors')}", sep=", ")
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        seconds = write(folder, clips, options.shard_megabytes << 20)
        count = len(list(folder.glob("*.safetensors")))
        print(f"{clips} clips {SHAPE} float32, {size:.0f} MB in {count} shards\n")
        print(f"{'':41}  memory grew, MB (at most {OPEN_SHARDS} shards are mapped)")
        print(f"{'':34}{'MB/s':>7}{'half read':>12}{'all read':>12}{'unmapped':>10}")
        print(f"{'write, with fsync and SHA-256':34}{size / seconds:7.0f}")
        print(f"{'plain read() of the shards':34}{size / plain_read(folder):7.0f}")
        passes = (("first pass", False), ("second pass", False), ("third pass, clips in random order", True))
        for label, shuffled in passes:
            one = read(folder, shuffled)
            print(f"{label:34}{size / one.seconds:7.0f}{one.peak_half:12.0f}{one.peak:12.0f}{one.own:10.1f}")
        one, samples = read_batches(folder, clips, options.batches)
        rate = 2 * samples * clip / SHAPE[1] / one.seconds
        label = "Stage 1, random batches"
        print(f"{label:34}{rate:7.0f}{one.peak_half:12.0f}{one.peak:12.0f}{'':13}{samples / one.seconds:.0f} samples/s")
        began = time.perf_counter()
        problems = LatentStore(folder).verify()
        print(f"{'verify (SHA-256)':34}{size / (time.perf_counter() - began):7.0f}   {len(problems)} problems")


if __name__ == "__main__":
    main()
