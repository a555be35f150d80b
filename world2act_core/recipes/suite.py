"""A policy on a suite by the protocol that papers report: in parallel, resumed after a kill, failures filmed.

Every trial is one line of a log on disk before it counts. Physics is the same bit for bit whoever runs it, and frames
are rendered only where the policy looks, so an evaluation costs what its policy and its physics cost.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.errors import World2ActError
from world2act_core.evaluation import Trial, TrialLog, TrialRequest
from world2act_core.evaluation.conduct import Conduct, states_digest
from world2act_core.evaluation.suite import SuiteResults
from world2act_core.evaluation.video import Panel, encode_mp4, side_by_side
from world2act_core.policies.address import open_policy
from world2act_core.policies.identity import policy_identity
from world2act_core.policies.protocol import Policy
from world2act_core.policies.watched import WatchedPolicy
from world2act_core.recipes.evaluation import commit
from world2act_core.recipes.failures import keep_failure
from world2act_core.runs.stage import versions
from world2act_core.runtime.safety.counting import count_safety
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
        keep: whether each failure is kept as a folder of its own, video, bag and start, for ``replay-trial``.
    """

    policy: str
    suite: str
    tasks: tuple[int, ...] = ()
    episodes: int = 50
    image_size: int = 0
    rendering: str = "fast"
    videos: bool = True
    keep: bool = False


@dataclass(frozen=True)
class SuiteTrial:
    """One trial, small enough to travel to a worker.

    Attributes:
        video: file for that of a failure, "" for none.
        kept: folder for all that a failure leaves (``failures.keep_failure``), "" for none.
    """

    start: Start
    policy: str
    image_size: int = 0
    rendering: str = "fast"
    video: str = ""
    kept: str = ""


def evaluate_suite(
    plan: Plan, out: Path, pool: WorkerPool, enough: Callable[[Sequence[Trial]], bool] = lambda trials: False
) -> SuiteResults:
    """Try a policy on a suite; goes on with the trials that ``out`` holds already.

    Args:
        enough: asked after every trial, with all so far in the order of the starts; true ends the evaluation there.
            Workers may be ahead by a start or two: what they find is kept in the log, but does not count.

    Raises:
        World2ActError: no such suite, task or policy, more episodes than official states, or ``out`` holds trials of
            something else.
    """
    asked = prepare(plan)
    tasks, facts, embodiment = asked.tasks, asked.facts, asked.embodiment
    starts = [Start(plan.suite, task, index).id for task in tasks for index in range(plan.episodes)]
    for folder, wanted in (("videos", plan.videos), ("failures", plan.keep), ("", True)):
        if wanted:
            (out / folder).mkdir(parents=True, exist_ok=True)
    used = {**versions(), **next(iter(tasks.values())).versions}
    trials: list[Trial] = []
    with TrialLog(out / "trials.jsonl", {**facts, "versions": used}) as log:
        jobs = [_job(plan, Start.parse(request.start_id), out) for request in log.missing((POLICY,), starts)]
        running = (finished.result for finished in pool.run(try_once, jobs, description=plan.suite))
        with closing(running):
            for request in (TrialRequest(POLICY, start) for start in starts):
                while request not in log.trials:
                    log.append(next(running))
                trials.append(log.trials[request])
                if enough(trials):
                    break
    counted = {Start.parse(trial.start_id).task for trial in trials}
    return SuiteResults(
        suite=plan.suite,
        policy={**facts["policy"], "metadata": asked.metadata},
        **{name: facts[name] for name in ("protocol", "embodiment", "rendering")},
        instructions={task: found.instruction for task, found in tasks.items() if task in counted},
        trials=tuple(trials),
        versions=used,
        commit=commit(),
        deadline_ms=1000 * embodiment.chunk_length / embodiment.control_rate_hz,
    )


@dataclass(frozen=True)
class Prepared:
    """What a plan asks, once it is known that it can be asked.

    Attributes:
        facts: see ``provenance``.
        metadata: what the policy says of itself.
    """

    tasks: dict[int, TaskFacts]
    embodiment: Embodiment
    facts: dict[str, Any]
    metadata: dict[str, Any]


def prepare(plan: Plan) -> Prepared:
    """Look up all that a plan names, before a worker starts.

    Raises:
        World2ActError: no such suite, task or policy, or more episodes than official states.
    """
    tasks = planned_tasks(plan)
    embodiment = load_embodiment(next(iter(tasks.values())).embodiment)
    return Prepared(tasks, embodiment, provenance(plan, embodiment), described(plan.policy, embodiment))


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
    name = f"{start.suite}-{start.task}-i{start.index}"
    video = str(out / "videos" / f"{name}.mp4") if plan.videos else ""
    kept = str(out / "failures" / name) if plan.keep else ""
    return SuiteTrial(start, plan.policy, plan.image_size, plan.rendering, video, kept)


def try_once(job: SuiteTrial, context: WorkerContext) -> Trial:
    """One trial in a worker; a failure is filmed, and kept with all that repeats it if the job says so."""
    began = time.monotonic()
    start = job.start
    simulator = context.simulator(start.suite, start.task, job.image_size or None, RENDERING[job.rendering])
    actor, watched = suite_actor(job, simulator, context)
    cameras = watched.cameras if watched else ()
    episode = rollout(
        simulator, actor, start, episode_id=start.id, source=POLICY, cameras=cameras,
        record_images=bool(cameras and (job.video or job.kept)),  # what the policy has seen costs nothing more
    )  # fmt: skip
    seconds = time.monotonic() - began
    conduct = _conduct(episode, simulator, watched)
    trial = Trial(start.id, POLICY, bool(episode.success), episode.steps, seconds, conduct, context.attempt)
    if not episode.success and (job.video or job.kept):
        _leave(job, trial, episode, simulator, context)
    return trial


def _leave(job: SuiteTrial, trial: Trial, episode: Episode, simulator: Simulator, context: WorkerContext) -> None:
    """Write what is left of a failure, before its trial counts."""
    reached = whole_state(simulator)  # filming may move the arm
    seen = with_frames(episode, simulator, job.start)
    film = filmed(seen, simulator.embodiment)
    if job.video:
        write_whole(Path(job.video), film)
    if job.kept:
        identity = context.once(("identity", job.policy), lambda: policy_identity(job.policy))
        look = {"image_size": job.image_size, "rendering": job.rendering}
        keep_failure(Path(job.kept), seen, simulator.embodiment, trial, film, reached, job.policy, identity, look)


def suite_actor(job: SuiteTrial, simulator: Simulator, context: WorkerContext) -> tuple[Actor, WatchedPolicy | None]:
    """Who acts, and the policy in it that is watched; None of the demonstrator, which is no policy."""
    if job.policy == DEMONSTRATOR:
        return open_demonstrator(simulator), None
    policy: Policy = context.once(job.policy, lambda: open_policy(job.policy, simulator.embodiment))
    watched = WatchedPolicy(policy)
    return PolicyActor(watched), watched


def _conduct(episode: Episode, simulator: Simulator, watched: WatchedPolicy | None) -> Conduct:
    embodiment = simulator.embodiment
    commands = watched.commands(episode.steps, embodiment.chunk_length) if watched else None
    latency = tuple(round(1000 * seconds, 3) for seconds in watched.seconds[1:]) if watched else ()
    return Conduct(count_safety(episode, embodiment, commands), latency, states_digest(episode.state))


def whole_state(simulator: Simulator) -> Array | None:
    """The physical state now; None where the simulator does not tell it."""
    tell = getattr(simulator, "state", None)
    return None if tell is None else tell()


def with_frames(episode: Episode, simulator: Simulator, start: Start) -> Episode:
    """The episode with frames at its chunk boundaries; of a policy that is blind, by its actions once more with a
    camera on."""
    if episode.images:
        return episode
    steps = np.arange(0, episode.steps + 1, simulator.embodiment.chunk_length)
    return replace(
        episode, images={film_camera(simulator.embodiment): replayed(episode, simulator, start)}, frame_steps=steps
    )


def filmed(episode: Episode, embodiment: Embodiment) -> bytes:
    """The frames of a failure as a video."""
    ending = f"not solved in {episode.steps} steps"
    panels = [
        Panel(frames, f"{episode.start_id}, {camera}", ending, False) for camera, frames in episode.images.items()
    ]
    fps = embodiment.control_rate_hz / embodiment.chunk_length
    return encode_mp4(side_by_side(panels, hold=int(fps)), fps)


def write_whole(file: Path, content: bytes) -> None:
    """Write a file so that a kill leaves all of it or nothing."""
    temporary = file.with_suffix(".tmp")
    temporary.write_bytes(content)
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
