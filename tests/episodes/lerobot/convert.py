"""A conversion to be killed: ``python -m tests.episodes.lerobot.convert FOLDER``; it prints an id per episode."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.episodes.example import random_episode
from tests.episodes.lerobot.sets import EMBODIMENT
from world2act_core.episodes.lerobot import FileLimits, LeRobotWriter
from world2act_core.types import Episode, Skill

EPISODES = 24
LIMITS = FileLimits(seconds=1.2)  # three episodes a file


def episode(seed: int) -> Episode:
    return random_episode(EMBODIMENT, 8, seed, task=f"task {seed % 5}", skills=(Skill(f"skill {seed}", 0, 8),))


def convert(folder: Path, episodes: int = EPISODES) -> None:
    """Write what is not there yet."""
    with LeRobotWriter(folder, EMBODIMENT, codec="lossless", resume=True, limits=LIMITS) as writer:
        for seed in range(episodes):
            if f"episode-{seed}" not in writer.episode_ids:
                writer.write_episode(episode(seed))
                print(seed, flush=True)


if __name__ == "__main__":
    convert(Path(sys.argv[1]))
