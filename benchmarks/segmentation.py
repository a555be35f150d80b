"""How fast skill segmentation is: control steps (frames) of state streams a second, on one core.

Run: ``python -m benchmarks.segmentation [--episodes 500] [--bags FOLDER]``. Without bags the episodes are drawn at
random: objects picked and placed one after another by a hand that trembles, strays, pauses and sometimes grasps again.
Synchronisation rates and boundary errors: ``python -m benchmarks.skills``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks._machine import machine
from world2act_core.embodiment import load_embodiment
from world2act_core.episodes import iterate_episodes
from world2act_core.skills.contact import ContactSegmenter
from world2act_core.skills.gripper import GripperSegmenter
from world2act_core.skills.streams import streams_of
from world2act_core.skills.types import Segmenter, Streams
from world2act_core.types import Array

STEP_S, OPEN_M = 0.05, 0.08
SPEED_M, FINGERS_M, NOISE_M = 0.01, 0.01, 0.0005
"""Metres that hand and fingers go in a control step, and by how much what is logged of them trembles."""
ROUNDS = 5


def random_episode(seed: int) -> Streams:
    """One to three objects, up to a few hundred control steps."""
    rng = np.random.default_rng(seed)
    position, width, told = [np.array([0.0, 0.0, 0.3])], [OPEN_M], [False]

    def go(target: Array, close: bool, rest: float) -> None:
        """One stretch: the hand goes to the target while the fingers go to where they rest."""
        way = target - position[-1]
        steps = max(12, int(np.linalg.norm(way) / SPEED_M)) + int(rng.random() < 0.2) * int(rng.integers(5, 20))
        for _ in range(steps):
            position.append(position[-1] + np.clip(target - position[-1], -SPEED_M, SPEED_M))
            width.append(width[-1] + np.clip(rest - width[-1], -FINGERS_M, FINGERS_M))
            told.append(close)

    for _ in range(int(rng.integers(1, 4))):
        item, place = rng.uniform([-0.3, -0.3, 0.0], [0.3, 0.3, 0.1], (2, 3))
        held, above = rng.uniform(0.003, 0.07), np.array([0, 0, 0.15])
        for _ in range(2 if rng.random() < 0.3 else 1):  # regrasp
            go(item + above, False, OPEN_M)
            go(item, False, OPEN_M)
            go(item, True, held)
        go(item + above, True, held)
        go(place + above, True, held)
        go(place, True, held)
        go(place, False, OPEN_M)
        go(place + above, False, OPEN_M)
    moved = np.array(position)
    return Streams(
        width=np.array(width) + rng.normal(0, NOISE_M, len(width)),
        fully_open=OPEN_M,
        position=moved + rng.normal(0, NOISE_M, moved.shape),
        orientation=np.tile([1.0, 0, 0, 0], (len(moved), 1)),
        step_s=STEP_S,
        commands=np.zeros((len(moved) - 1, 7)),
        gripper_command=np.array(told[1:]),
    )


def frames_a_second(segmenter: Segmenter, episodes: Sequence[Streams]) -> list[float]:
    """Of processor time, of each round over all episodes."""
    rates = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for streams in episodes:
            segmenter.segment(streams)
        rates.append(sum(streams.steps for streams in episodes) / (time.process_time() - start))
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=500)
    parser.add_argument("--bags", type=Path, help="a folder of bags; random episodes without")
    parser.add_argument("--embodiment", default="libero_panda", help="of the bags")
    options = parser.parse_args()
    if options.bags:
        embodiment = load_embodiment(options.embodiment)
        bags = sorted(path.parent for path in options.bags.glob("**/metadata.yaml"))
        recorded = (episode for bag in bags for episode in iterate_episodes(bag, embodiment, cameras=()))
        episodes = [streams_of(episode, embodiment) for episode in recorded]
    else:
        episodes = [random_episode(seed) for seed in range(options.episodes)]
    print(machine())
    print(f"{len(episodes)} episodes, {sum(streams.steps for streams in episodes)} frames; one thread, processor time")
    print(f"{'frames a second':24}{'median':>12}{'slowest':>12}{'fastest':>12}   of {ROUNDS} rounds")
    for segmenter in (ContactSegmenter(), GripperSegmenter()):
        rates = frames_a_second(segmenter, episodes)
        print(f"{segmenter.name:24}{np.median(rates):12.0f}{min(rates):12.0f}{max(rates):12.0f}")


if __name__ == "__main__":
    main()
