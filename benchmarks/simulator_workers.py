"""What a simulator costs in a process of its own, and how episodes an hour grow with workers.

Run: python -m benchmarks.simulator_workers

Overhead: one scripted LIBERO demonstration, its actions repeated in process and in a process of its own, in turn, so
that whatever else the machine does meets both. Wall time is what an evaluation waits; CPU time is that of both
processes of the remote simulator together, and says less about how busy the machine is.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks._machine import machine
from world2act_core.recipes.recording import Attempt, attempt
from world2act_core.simulators.opening import open_demonstrator, open_simulator
from world2act_core.simulators.protocol import Simulator
from world2act_core.simulators.remote.client import RemoteSimulator
from world2act_core.simulators.rollout import Moment, rollout
from world2act_core.simulators.starts import Start
from world2act_core.simulators.workers import WorkerContext, WorkerPool
from world2act_core.types import Array, Skill

SUITE, TASK = "libero_goal", 8
START = Start(SUITE, TASK, 0)
CAMERAS = ("agentview", "wrist")
WAYS = {"2 cameras every chunk": 4, "2 cameras every step": 1, "no cameras": 0}
"""How a rollout looks → control steps from frame to frame; 0: never."""
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Cost:
    """Milliseconds a control step."""

    wall: float
    cpu: float


class Repeating:
    """An actor that repeats actions and looks every so many control steps."""

    def __init__(self, actions: Array, every: int) -> None:
        self._actions, self._every = actions, every

    def reset(self, simulator: Simulator) -> None:
        pass

    def act(self, moment: Moment) -> Array:
        moment.observe(CAMERAS if self._every and moment.step % self._every == 0 else ())
        return np.asarray(self._actions[moment.step])

    def skills(self, steps: int) -> tuple[Skill, ...]:
        return ()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, all its threads."""
    times = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return sum(int(ticks) for ticks in times) / TICKS


def measured(simulator: Simulator, every: int, actions: Array) -> Cost:
    pids = [os.getpid(), *([simulator.pid] if isinstance(simulator, RemoteSimulator) and simulator.pid else [])]
    began, cpu = time.perf_counter(), sum(cpu_seconds(pid) for pid in pids)
    episode = rollout(
        simulator, Repeating(actions, every), START,
        episode_id="e", source="benchmark", cameras=(), max_steps=len(actions),
    )  # fmt: skip
    wall, cpu = time.perf_counter() - began, sum(cpu_seconds(pid) for pid in pids) - cpu
    return Cost(1000 * wall / episode.steps, 1000 * cpu / episode.steps)


def side(connection: Connection, remote: bool) -> None:
    """One side in a process of its own: an in-process simulator leaves no room for another one."""
    simulator = open_simulator(SUITE, TASK, remote=remote)
    demonstration = rollout(
        simulator, open_demonstrator(simulator), START, episode_id="d", source="demonstrator", cameras=CAMERAS
    )
    connection.send(demonstration.steps)
    while (every := connection.recv()) is not None:
        connection.send(measured(simulator, every, np.asarray(demonstration.actions)))
    simulator.close()


def overhead(rounds: int) -> None:
    context = multiprocessing.get_context("spawn")
    sides = []
    for remote in (False, True):
        ours, theirs = context.Pipe()
        context.Process(target=side, args=(theirs, remote), daemon=True).start()
        sides.append(ours)
    steps = [connection.recv() for connection in sides]
    print(f"{SUITE}/{TASK}, a demonstration of {steps[0]} control steps, {rounds} rounds in turn; medians")
    columns = f"{'remote':>10}{'overhead':>10}"
    print(f"{'ms a control step':24}{'in process':>12}{columns}{'CPU':>9}{columns}")
    for way, every in WAYS.items():
        costs: list[list[Cost]] = [[], []]
        for number in range(rounds):
            for which in ((0, 1), (1, 0))[number % 2]:
                sides[which].send(every)
                costs[which].append(sides[which].recv())
        row = f"{way:24}"
        for pick, width in ((_wall, 12), (_cpu, 9)):
            # Of pairs that ran one after the other: what else the machine did changed little between them.
            ratios = [pick(there) / pick(here) for here, there in zip(*costs, strict=True)]
            here, there = (median(pick(cost) for cost in column) for column in costs)
            row += f"{here:{width}.2f}{there:10.2f}{100 * (median(ratios) - 1):+9.1f}%"
        print(row, flush=True)
    for connection in sides:
        connection.send(None)


def _wall(cost: Cost) -> float:
    return cost.wall


def _cpu(cost: Cost) -> float:
    return cost.cpu


def demonstrate(job: int, context: WorkerContext) -> int:
    """One demonstration in a worker, with frames rendered as an evaluation does; its control steps."""
    return attempt(Attempt(Start(SUITE, TASK, job % 50), "demonstrator", cameras=CAMERAS), context).steps


def scaling(episodes: int, workers: tuple[int, ...]) -> None:
    print(f"{'episodes an hour':24}{'in process':>12}{'remote':>10}   {episodes} demonstrations each")
    for count in workers:
        rates = []
        for remote in (False, True):
            with WorkerPool(count, remote=remote) as pool:
                list(pool.run(demonstrate, range(count)))  # every worker opens its simulator
                began = time.perf_counter()
                list(pool.run(demonstrate, range(episodes)))
                rates.append(3600 * episodes / (time.perf_counter() - began))
        print(f"{count} worker{'s' * (count > 1):18}{rates[0]:12.0f}{rates[1]:10.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6, help="rollouts of each side a row (default 6)")
    parser.add_argument("--episodes", type=int, default=12, help="demonstrations a number of workers (default 12)")
    options = parser.parse_args()
    print(machine())
    overhead(options.rounds)
    scaling(options.episodes, (1, 2))
    print(f"load at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
