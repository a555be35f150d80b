"""Logs one episode in process, without ROS, for the parity test: BAG START_ID."""

from __future__ import annotations

import sys

from world2act_core.episodes import BagWriter
from world2act_core.simulators.demonstrators.library import demonstrator
from world2act_core.simulators.libero import LiberoSimulator
from world2act_core.simulators.rollout import rollout
from world2act_core.simulators.starts import Start


def main() -> None:
    start = Start.parse(sys.argv[2])
    simulator = LiberoSimulator(start.suite, start.task)
    cameras = tuple(simulator.embodiment.cameras)
    actor = demonstrator(start.suite, start.task)
    episode = rollout(simulator, actor, start, episode_id="offline", source="demonstrator", cameras=cameras)
    with BagWriter(sys.argv[1], simulator.embodiment) as writer:
        writer.write_episode(episode)
    simulator.close()


if __name__ == "__main__":
    main()
