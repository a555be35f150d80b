"""A policy on a suite by the protocol that papers report: in parallel, resumed after a kill, failures filmed.

Every trial is one line of a log on disk before it counts. Physics is the same bit for bit whoever runs it, and frames
are rendered only where the policy looks, so an evaluation costs what its policy and its physics cost.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.errors import World2ActError
from world2act_core.evaluation import Trial, TrialRequest, evaluate
from world2act_core.evaluation.suite import SuiteResults
from world2act_core.evaluation.video import Panel, encode_mp4, side_by_side
from world2act_core.policies.address import open_policy
from world2act_core.policies.identity import policy_identity
from world2act_core.policies.protocol import Policy
from world2act_core.recipes.evaluation import commit
from world2act_core.runs.stage import versions
from world2act_core.simulators.opening import open_demonstrator
from world2act_core.simulators.protocol import Simulator
from world2act_core.simulators.rendering import FAST, STOCK, choose_backend
from world2act_core.simulators.rollout import Actor, PolicyActor, rollout
from world2act_core.simulators.starts import Start
from world2act_core.simulators.suites import TaskFacts, suite_tasks
from world2act_core.simulators.workers import WorkerContext, WorkerPool
from world2act_core.types import Array, Episode

POLICY = "policy"
"""How the policy is called in the log: an evaluation has one."""
DEMONSTRATOR = "demonstrator"
"""In the place of an address: the scripted demonstrator, which reads the simulator's truth. A yardstick, no policy."""
RENDERING = {"fast": FAST, "stock": STOCK}
EMBODIMENT = "libero_panda"
FILMED = "agentview"


@dataclass(frozen=True)
class Plan:
    """What is evaluated.

    Attributes:
        policy: address, or ``DEMONSTRATOR``.
        tasks: of the suite; empty for all.
        episodes: a task, each from another official initial state, the first ones.
        image_size: rows and columns of an image; 0 takes the embodiment's.
        rendering: ``fast``, or ``stock``: LIBERO's own look, which published checkpoints were trained on.
        videos: whether failures are filmed.
    """

    policy: str
    suite: str
    tasks: tuple[int, ...] = ()
    episodes: int = 50
    image_size: int = 0
    rendering: str = "fast"
    videos: bool = True


@dataclass(frozen=True)
class SuiteTrial:
    """One trial, small enough to travel to a worker; ``video`` is the file for that of a failure, "" for none."""

    start: Start
    policy: str
    image_size: int = 0
    rendering: str = "fast"
    video: str = ""


def evaluate_suite(plan: Plan, out: Path, pool: WorkerPool) -> SuiteResults:
    """Try a policy on a suite; goes on with the trials that ``out`` holds already.

    Raises:
        World2ActError: no such suite, task or policy, more episodes than official states, or ``out`` holds trials of
            something else.
    """
    tasks = planned_tasks(plan)
    embodiment = load_embodiment(next(iter(tasks.values())).embodiment)
    metadata = described(plan.policy, embodiment)
    facts = provenance(plan, embodiment)
    starts = [Start(plan.suite, task, index).id for task in tasks for index in range(plan.episodes)]
    (out / "videos").mkdir(parents=True, exist_ok=True)

    def in_workers(_: Callable[[TrialRequest], Trial], requests: Iterable[TrialRequest]) -> Iterator[Trial]:
        jobs = [_job(plan, Start.parse(request.start_id), out) for request in requests]
        for finished in pool.run(try_once, jobs, description=plan.suite):
            yield finished.result

    used = {**versions(), **next(iter(tasks.values())).versions}
    identity = {**facts, "versions": used}
    trials = evaluate(
        _in_workers_only, (POLICY,), starts, out / "trials.jsonl", identity=identity, map_trials=in_workers
    )
    return SuiteResults(
        suite=plan.suite,
        policy={**facts["policy"], "metadata": metadata},
        **{name: facts[name] for name in ("protocol", "embodiment", "rendering")},
        instructions={task: found.instruction for task, found in tasks.items()},
        trials=tuple(trials),
        versions=used,
        commit=commit(),
    )


def planned_tasks(plan: Plan) -> dict[int, TaskFacts]:
    """The tasks of a plan.

    Raises:
        World2ActError: no such suite, task or rendering; or a state would have to be tried twice.
    """
    if plan.rendering not in RENDERING:
        raise World2ActError(f"rendering is {plan.rendering!r}, expected one of {', '.join(RENDERING)}")
    if plan.episodes < 1:
        raise World2ActError(f"{plan.episodes} episodes a task evaluate nothing: name 1 or more")
    tasks = suite_tasks(plan.suite, plan.tasks)
    for number, task in tasks.items():
        if task.starts is not None and plan.episodes > task.starts:
            raise World2ActError(
                f"{plan.suite}/{number} has {task.starts} official initial states, and no state is tried "
                f"twice: --episodes {plan.episodes} is too many"
            )
    return tasks


def described(policy: str, embodiment: Embodiment) -> dict[str, Any]:
    """What a policy says of itself; opened once here, so that an address that means nothing costs no worker."""
    if policy == DEMONSTRATOR:
        return {"privileged": True}
    opened = open_policy(policy, embodiment)
    unknown = [camera for camera in opened.cameras if camera not in embodiment.cameras]
    if unknown:
        known = ", ".join(embodiment.cameras)
        raise World2ActError(f"{policy} wants camera {unknown[0]!r}: {embodiment.name} has {known}")
    said = dict(getattr(opened, "metadata", {}))
    getattr(opened, "close", lambda: None)()
    return said


def provenance(plan: Plan, embodiment: Embodiment) -> dict[str, Any]:
    """What an outcome depends on, besides versions; JSON values."""
    settings = RENDERING[plan.rendering]
    tasks = suite_tasks(plan.suite, plan.tasks)
    horizons = {str(number): task.horizon for number, task in tasks.items()}
    alike = len(set(horizons.values())) == 1
    return {
        "policy": {"address": plan.policy, "identity": policy_identity(plan.policy)},
        "protocol": {
            **next(iter(tasks.values())).protocol,
            "control_rate_hz": embodiment.control_rate_hz,
            "horizon": next(iter(horizons.values())) if alike else horizons,
        },
        "embodiment": {"name": embodiment.name, "sha256": embodiment.sha256},
        "rendering": {
            "image_size": plan.image_size or embodiment.cameras[film_camera(embodiment)].width,
            **asdict(settings),
            "backend": choose_backend() if "MUJOCO_GL" not in os.environ else os.environ["MUJOCO_GL"],
        },
    }


def film_camera(embodiment: Embodiment) -> str:
    """The camera through which a failure is filmed."""
    return FILMED if FILMED in embodiment.cameras else next(iter(embodiment.cameras))


def _job(plan: Plan, start: Start, out: Path) -> SuiteTrial:
    name = f"{start.suite}-{start.task}-i{start.index}.mp4"
    video = str(out / "videos" / name) if plan.videos else ""
    return SuiteTrial(start, plan.policy, plan.image_size, plan.rendering, video)


def _in_workers_only(request: TrialRequest) -> Trial:
    raise AssertionError(f"{request} must run in a worker")


def try_once(job: SuiteTrial, context: WorkerContext) -> Trial:
    """One trial in a worker; a failure is filmed."""
    began = time.monotonic()
    start = job.start
    simulator = context.simulator(start.suite, start.task, job.image_size or None, RENDERING[job.rendering])
    actor, cameras = _actor(job, simulator, context)
    episode = rollout(
        simulator, actor, start, episode_id=start.id, source=POLICY, cameras=cameras,
        record_images=bool(cameras and job.video),  # what the policy has seen costs nothing more
    )  # fmt: skip
    seconds = time.monotonic() - began
    if job.video and not episode.success:
        _film(episode, simulator, start, Path(job.video))
    return Trial(start.id, POLICY, bool(episode.success), episode.steps, seconds, attempts=context.attempt)


def _actor(job: SuiteTrial, simulator: Simulator, context: WorkerContext) -> tuple[Actor, tuple[str, ...]]:
    """Who acts, and the cameras that it looks through."""
    if job.policy == DEMONSTRATOR:
        return open_demonstrator(simulator), ()
    policy: Policy = context.once(job.policy, lambda: open_policy(job.policy, simulator.embodiment))
    return PolicyActor(policy), policy.cameras


def _film(episode: Episode, simulator: Simulator, start: Start, file: Path) -> None:
    """The policy's own frames as a video; of a policy that is blind, its actions once more with a camera on."""
    images = dict(episode.images) or {film_camera(simulator.embodiment): replayed(episode, simulator, start)}
    ending = f"not solved in {episode.steps} steps"
    panels = [Panel(frames, f"{start.id}, {camera}", ending, False) for camera, frames in images.items()]
    fps = simulator.embodiment.control_rate_hz / simulator.embodiment.chunk_length
    temporary = file.with_suffix(".tmp")
    temporary.write_bytes(encode_mp4(side_by_side(panels, hold=int(fps)), fps))
    temporary.replace(file)


def replayed(episode: Episode, simulator: Simulator, start: Start) -> Array:
    """Frames ``(K, H, W, 3)`` of an episode that recorded none: the same actions from the same start are the same
    motion to the bit."""
    assert episode.actions is not None
    camera = film_camera(simulator.embodiment)
    simulator.reset(start)
    frames = []
    for step, action in enumerate(episode.actions):
        if step % simulator.embodiment.chunk_length == 0:
            frames.append(simulator.observe((camera,)).images[camera])
        simulator.step(action)
    return np.stack([*frames, simulator.observe((camera,)).images[camera]])
