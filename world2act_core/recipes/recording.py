"""Attempts in the simulator, run by worker processes: recorded as bags, or counted as trials.

Every recorded attempt is a bag of its own, which appears under its final name only when it is whole. So a kill costs at
most the attempts under way, and a collection is read in the same order however its workers finished.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.episodes import iterate_episodes
from world2act_core.episodes.chunks import ChunkTable, chunk_table
from world2act_core.episodes.writer import write_whole_bag
from world2act_core.evaluation import Trial
from world2act_core.policies.address import open_policy
from world2act_core.policies.protocol import Policy
from world2act_core.simulators.demonstrators.script import Script
from world2act_core.simulators.libero import EMBODIMENT
from world2act_core.simulators.opening import open_demonstrator
from world2act_core.simulators.protocol import Simulator
from world2act_core.simulators.rollout import Actor, Noise, NoisyActor, PolicyActor, rollout
from world2act_core.simulators.starts import Start
from world2act_core.simulators.workers import WorkerContext, WorkerPool
from world2act_core.types import Array, Episode

JOINT_NOISE = 0.1
"""rad; at the hand of a Panda about what 5 cm, LIBERO's full deflection, are."""


@dataclass(frozen=True)
class Attempt:
    """One attempt at a task, small enough to travel to a worker.

    Attributes:
        start: where it begins.
        source: ``demonstrator``, ``base``, ``post-trained`` or another name: who acts, and what the bag says of it.
        base, residual: files of the policy; both empty for the demonstrator, ``residual`` empty for the base.
        policy: address of the policy (``policies.address``); wins over ``base`` and ``residual``.
        noise: exploration noise, seeded by the start; in units of ``noise_units``.
        bag: folder to record into; empty records nothing.
        max_steps: end there at the latest; 0 leaves it to the task's horizon.
        extra_chunks: recorded after the task is solved. Without them no video shows how the gripper lets go, and a
            world model that has never seen that cannot imagine it.
    """

    start: Start
    source: str
    base: str = ""
    residual: str = ""
    policy: str = ""
    noise: float = 0.0
    bag: str = ""
    max_steps: int = 0
    extra_chunks: int = 0
    cameras: tuple[str, ...] = ("agentview",)


@dataclass(frozen=True)
class Outcome:
    """How an attempt went."""

    start_id: str
    source: str
    success: bool
    steps: int
    seconds: float


def attempt(job: Attempt, context: WorkerContext) -> Outcome:
    """Run one attempt in a worker."""
    began = time.monotonic()
    simulator = context.simulator(job.start.suite, job.start.task)
    episode = rollout(
        simulator,
        _actor(job, simulator, context),
        job.start,
        episode_id=Path(job.bag).name or job.start.id,
        source=job.source,
        cameras=job.cameras,
        record_images=bool(job.bag),
        max_steps=job.max_steps or None,
        extra_chunks=job.extra_chunks,
    )
    if job.bag:
        write_whole_bag(episode, Path(job.bag), simulator.embodiment)
    return Outcome(job.start.id, job.source, bool(episode.success), episode.steps, time.monotonic() - began)


def _actor(job: Attempt, simulator: Simulator, context: WorkerContext) -> Actor:
    if job.policy or job.base:
        policy = context.once((job.policy, job.base, job.residual), lambda: _policy(job, simulator.embodiment))
        actor: Actor = PolicyActor(policy)
    else:
        actor = open_demonstrator(simulator)
    if not job.noise:
        return actor
    if isinstance(actor, Script) and simulator.embodiment.action.kind == "joint_positions":
        # A hand trembles, not each joint by itself: joints that hardly move would be moved by noise alone.
        actor.noise = Noise(job.start.seed, job.noise * noise_units(load_embodiment(EMBODIMENT)))
        return actor
    return NoisyActor(actor, job.start.seed, job.noise * noise_units(simulator.embodiment))


def noise_units(embodiment: Embodiment) -> Array:
    """``(A,)`` float64, action units: how far 1 of an attempt's noise moves each dimension. Of a hand's only where it
    goes: the tasks need no turning, so turns would be noise in the video as well."""
    layout = embodiment.action
    if layout.kind == "joint_positions":
        return np.where(
            np.arange(layout.size) == embodiment.gripper.index, 0.0, JOINT_NOISE / layout.scale.astype(np.float64)
        )
    return np.array([name in ("x", "y", "z") for name in layout.names], np.float64)


def _policy(job: Attempt, embodiment: Embodiment) -> Policy:
    from world2act_core.policies.compact import load_compact
    from world2act_core.residual.files import load_post_trained

    if job.policy:
        return open_policy(job.policy, embodiment)
    if not job.residual:
        return load_compact(Path(job.base), embodiment)
    return load_post_trained(job.base, Path(job.residual), embodiment)


def record(pool: WorkerPool, attempts: Sequence[Attempt], label: str) -> None:
    """Record the attempts whose bags do not exist yet."""
    for folder in {Path(job.bag).parent for job in attempts}:
        folder.mkdir(parents=True, exist_ok=True)
        for left_over in folder.glob(".*"):
            shutil.rmtree(left_over)
    missing = [job for job in attempts if not Path(job.bag).exists()]
    for _ in pool.run(attempt, missing, description=label):
        pass


def run_trials(pool: WorkerPool, attempts: Iterable[Attempt], label: str | None) -> Generator[Trial, None, None]:
    """Trials of an evaluation, as they finish; ``label`` None shows no progress bar."""
    for finished in pool.run(attempt, list(attempts), description=label):
        result = finished.result
        yield Trial(
            result.start_id, result.source, result.success, result.steps, result.seconds, attempts=finished.attempts
        )


def read_collection(
    folder: Path, embodiment: Embodiment, cameras: Sequence[str], *, with_actions: bool = True
) -> Iterator[Episode]:
    """The episodes of a folder of bags, in the order of the bags' names, one in memory at a time."""
    for bag in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
        yield from iterate_episodes(bag, embodiment, cameras, with_actions)


def collection_table(
    folders: Sequence[Path],
    embodiment: Embodiment,
    cameras: Sequence[str],
    streams: Sequence[str],
    size: int,
    *,
    with_actions: bool = True,
    whole_tasks: bool = False,
) -> ChunkTable:
    """The chunk table of several folders of bags; ``whole_tasks`` reads them as if no skill had been marked."""
    episodes = (
        replace(episode, skills=()) if whole_tasks else episode
        for folder in folders
        for episode in read_collection(folder, embodiment, cameras, with_actions=with_actions)
    )
    return chunk_table(episodes, embodiment, cameras, streams, size)
