"""How fast bags are written and read: MB of image and message data a second, on this machine.

Run: ``python benchmarks/bags.py [--episodes 20] [--steps 80] [--folder FOLDER]``. Reading is measured warm (from the
page cache), so it shows what decoding costs and not what the disk does; writing includes the fsync of every episode.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.episodes import BagWriter, describe_bag, iterate_episodes
from world2act_core.types import Episode


def random_episode(embodiment: Embodiment, steps: int, seed: int) -> Episode:
    """Random state, actions and images (incompressible), a frame of every camera at each chunk boundary."""
    rng = np.random.default_rng(seed)
    frame_steps = np.arange(0, steps + 1, embodiment.chunk_length)
    return Episode(
        episode_id=f"episode-{seed}",
        task="benchmark",
        embodiment=embodiment.name,
        stamps=np.arange(steps + 1) * embodiment.step_s,
        state={n: rng.normal(size=(steps + 1, s.size)).astype(np.float32) for n, s in embodiment.state.items()},
        actions=rng.uniform(-1, 1, (steps, embodiment.action.size)).astype(np.float32),
        frame_steps=frame_steps,
        images={
            name: rng.integers(0, 256, (len(frame_steps), camera.height, camera.width, 3), np.uint8)
            for name, camera in embodiment.cameras.items()
        },
    )


def measure(name: str, megabytes: float, steps: int, work: Callable[[], object]) -> None:
    """Run once and print one line of the table."""
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    print(f"{name:<44} {megabytes / seconds:8.0f} MB/s {steps / seconds:9.0f} steps/s {seconds:7.2f} s")


def benchmark(embodiment: Embodiment, episodes: list[Episode], folder: Path) -> None:
    bag = folder / embodiment.name
    steps = sum(episode.steps for episode in episodes)
    written = sum(pixels.nbytes for episode in episodes for pixels in episode.images.values()) / 1e6

    def write() -> None:
        with BagWriter(bag, embodiment) as writer:
            for episode in episodes:
                writer.write_episode(episode)

    def read(**options: object) -> Callable[[], object]:
        return lambda: [None for _ in iterate_episodes(bag, embodiment, **options)]  # type: ignore[arg-type]

    measure(f"{embodiment.name}: write", written, steps, write)
    size = sum(file.stat().st_size for file in bag.iterdir()) / 1e6
    measure(f"{embodiment.name}: read", size, steps, read())
    measure(f"{embodiment.name}: read, action-free", size, steps, read(with_actions=False))
    measure(f"{embodiment.name}: read, no cameras", size, steps, read(cameras=()))
    measure(f"{embodiment.name}: describe", size, steps, lambda: describe_bag(bag))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--folder", type=Path, help="where to write the bags; a temporary folder by default")
    options = parser.parse_args()
    versions = ", ".join(f"{name} {version(name)}" for name in ("rosbags", "mcap", "numpy"))
    print(f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, "
          f"CPython {platform.python_version()}, {versions}")  # fmt: skip
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for name, count in (("libero_panda", options.episodes), ("franka_fr3", max(1, options.episodes // 5))):
            embodiment = load_embodiment(name)
            episodes = [random_episode(embodiment, options.steps, seed) for seed in range(count)]
            benchmark(embodiment, episodes, Path(folder))
    images = sum(pixels.nbytes for pixels in episodes[0].images.values()) / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"peak memory {peak:.0f} MB; the images of one {name} episode take {images:.0f} MB")


if __name__ == "__main__":
    main()
