"""Conversion of episodes to LeRobot v3.0: frames a second, and that memory does not grow with the data.

Run: ``python -m benchmarks.conversion [--episodes 80] [--steps 80] [--size 128] [--codec av1] [--folder FOLDER]``.
It converts N and 10 N synthetic episodes, each in a process of its own, and reads them back, again in processes of
their own. A frame is one camera's image in one row; the latest image is held between two chunks, as in our bags. Images
have noise in them, so that they do not compress better than a camera's. Converting takes a little more memory until the
first file is full (900 s of robot time, some 220 of these episodes), then no more.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from benchmarks._machine import machine
from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.episodes.lerobot import CODECS, DEFAULT_CODEC, LeRobotWriter, iterate_lerobot
from world2act_core.types import Array, Episode, Skill


def sized_embodiment(size: int) -> Embodiment:
    """LIBERO's Panda with square images of another size."""
    full = load_embodiment("libero_panda")
    cameras = {name: replace(camera, width=size, height=size) for name, camera in full.cameras.items()}
    return replace(full, cameras=cameras)


def pictures(count: int, size: int, rng: np.random.Generator) -> Array:
    """``(count, size, size, 3)`` uint8: shading with a disc that moves, under a camera's noise."""
    rows, columns = np.mgrid[:size, :size]
    images = np.empty((count, size, size, 3), np.uint8)
    for k in range(count):
        image = 60 + 100 * np.stack([rows, columns, rows + columns], -1) / size
        centre = size * (0.2 + 0.6 * k / max(1, count - 1))
        image[(rows - size / 2) ** 2 + (columns - centre) ** 2 < (size / 10) ** 2] = (200, 80, 40)
        images[k] = (image + rng.normal(0, 3, image.shape)).clip(0, 255)
    return images


def episodes(embodiment: Embodiment, count: int, steps: int) -> Iterator[Episode]:
    """Synthetic episodes, made one at a time: a new walk each, the same few hundred pictures for all."""
    rng = np.random.default_rng(0)
    frame_steps = np.arange(0, steps + 1, embodiment.chunk_length)
    size = next(iter(embodiment.cameras.values())).height
    images = {name: pictures(len(frame_steps), size, rng) for name in embodiment.cameras}
    for number in range(count):
        walks = {
            name: rng.normal(size=(steps + 1, stream.size)).cumsum(0).astype(np.float32)
            for name, stream in embodiment.state.items()
        }
        yield Episode(
            episode_id=f"episode-{number}",
            task=f"put the bowl on plate {number % 10}",
            embodiment=embodiment.name,
            stamps=np.arange(steps + 1) * embodiment.step_s,
            state=walks,
            actions=rng.uniform(-1, 1, (steps, embodiment.action.size)).astype(np.float32),
            frame_steps=frame_steps,
            images={name: np.roll(pixels, number, axis=2) for name, pixels in images.items()},
            skills=(Skill("pick bowl", 0, steps // 2), Skill("place bowl on plate", steps // 2, steps)),
        )


def convert(folder: Path, options: argparse.Namespace) -> None:
    embodiment = sized_embodiment(options.size)
    with LeRobotWriter(folder, embodiment, codec=options.codec) as writer:
        for episode in episodes(embodiment, options.episodes, options.steps):
            writer.write_episode(episode)


def read(folder: Path, options: argparse.Namespace) -> None:
    embodiment = sized_embodiment(options.size)
    for _ in iterate_lerobot(folder, embodiment):
        pass


def in_its_own_process(work: str, folder: Path, count: int, options: argparse.Namespace) -> dict[str, float]:
    """Seconds and peak memory in MB of one job, from a fresh interpreter."""
    command = [sys.executable, "-m", "benchmarks.conversion", "--work", work, "--folder", str(folder)]
    command += ["--episodes", str(count), "--steps", str(options.steps), "--size", str(options.size)]
    command += ["--codec", options.codec]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return figures


def work(options: argparse.Namespace) -> None:
    """The job of one such process."""
    start = time.perf_counter()
    {"convert": convert, "read": read}[options.work](options.folder, options)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": time.perf_counter() - start, "peak_mb": peak}))


def benchmark(options: argparse.Namespace, folder: Path) -> None:
    cameras = len(load_embodiment("libero_panda").cameras)
    peaks: dict[str, list[float]] = {"convert": [], "read": []}
    widths = {"": -10, "episodes": 9, "frames": 9, "images": 10, "on disk": 10, "time": 9, "frames/s": 10, "peak": 10}
    print("".join(f"{name:{'<' if width < 0 else '>'}{abs(width)}}" for name, width in widths.items()))
    for count in (options.episodes, 10 * options.episodes):
        target = folder / f"{count}"
        frames = count * (options.steps + 1) * cameras
        taken = count * len(range(0, options.steps + 1, 4)) * cameras * options.size**2 * 3 / 1e6
        for job in peaks:
            figures = in_its_own_process(job, target, count, options)
            size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file()) / 1e6
            peaks[job].append(figures["peak_mb"])
            print(
                f"{job:<10}{count:>9}{frames:>9}{taken:>7.0f} MB{size:>7.0f} MB{figures['seconds']:>7.1f} s"
                f"{frames / figures['seconds']:>10.0f}{figures['peak_mb']:>10.0f} MB"
            )
    for job, (small, large) in peaks.items():
        print(f"{job}: 10 times the data takes {large / small:.2f} times the memory ({large - small:+.0f} MB)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=80)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--size", type=int, default=128, help="rows and columns of an image")
    parser.add_argument("--codec", choices=list(CODECS), default=DEFAULT_CODEC)
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder by default")
    parser.add_argument("--work", choices=["convert", "read"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options)
        return
    print(machine())
    packages = ", ".join(f"{name} {version(name)}" for name in ("av", "pyarrow"))
    print(f"{packages}, codec {options.codec}, two cameras of {options.size}x{options.size}")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        benchmark(options, Path(folder))


if __name__ == "__main__":
    main()
