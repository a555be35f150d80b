"""A policy on a suite by the protocol that papers report: in parallel, resumed after a kill, failures filmed.

Every trial is one line of a log on disk before it counts. Physics is the same bit for bit whoever runs it, and frames
are rendered only where the policy looks, so an evaluation costs what its policy and its physics cost.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.errors import World2ActError
from world2act_core.evaluation import Trial, TrialLog, TrialRequest
from world2act_core.evaluation.conduct import Conduct, states_digest
from world2act_core.evaluation.suite import SuiteResults
from world2act_core.policies.address import open_policy
from world2act_core.policies.identity import policy_identity
from world2act_core.policies.protocol import Policy
from world2act_core.policies.watched import WatchedPolicy
from world2act_core.recipes.evaluation import commit
from world2act_core.recipes.failures import keep_failure
from world2act_core.recipes.filming import film_camera, filmed, with_frames, write_whole
from world2act_core.runs.stage import make_folder, versions
from world2act_core.runtime.safety.counting import count_safety
from world2act_core.simulators.opening import open_demonstrator
from world2act_core.simulators.protocol import Simulator
from world2act_core.simulators.rendering import FAST, STOCK, choose_backend
from world2act_core.simulators.rollout import Actor, PolicyActor, executed_steps, rollout
from world2act_core.simulators.starts import Start
from world2act_core.simulators.suites import TaskFacts, suite_tasks
from world2act_core.simulators.workers import WorkerContext, WorkerPool
from world2act_core.types import Array, Episode

POLICY = "policy"
"""How the policy is called in the log: an evaluation has one."""
DEMONSTRATOR = "demonstrator"
"""In the place of an address: the scripted demonstrator, which reads the simulator's truth. A yardstick, no policy."""
RENDERING = {"fast": FAST, "stock": STOCK}
log = logging.getLogger("world2act.eval")


@dataclass(frozen=True)
class Plan:
    """What is evaluated.

    Attributes:
        policy: address, or ``DEMONSTRATOR``.
        tasks: of the suite; empty for all.
        episodes: a task, each from another official initial state, the first ones.
        replan: steps of a chunk that are executed before the policy is asked again; 0: the embodiment's ``M``.
        image_size: rows and columns of an image; 0: what the policy asks for, else the embodiment's.
        rendering: ``fast``, or ``stock``: LIBERO's own look, which published checkpoints were trained on.
        videos: whether failures are filmed.
        keep: whether each failure is kept as a folder of its own, video, bag and start, for ``replay-trial``.
    """

    policy: str
    suite: str
    tasks: tuple[int, ...] = ()
    episodes: int = 50
    replan: int = 0
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
    replan: int = 0
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
            something else or is no folder.
    """
    asked = prepare(plan, pool.size)
    plan, tasks, facts, embodiment = asked.plan, asked.tasks, asked.facts, asked.embodiment
    starts = [Start(plan.suite, task, index).id for task in tasks for index in range(plan.episodes)]
    for folder, wanted in (("", True), ("videos", plan.videos), ("failures", plan.keep)):
        if wanted:
            make_folder(out / folder)
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
    ended = datetime.fromtimestamp((out / "trials.jsonl").stat().st_mtime, timezone.utc)
    counted = {Start.parse(trial.start_id).task for trial in trials}
    return SuiteResults(
        suite=plan.suite,
        policy={**facts["policy"], "metadata": asked.metadata},
        **{name: facts[name] for name in ("protocol", "embodiment", "rendering")},
        instructions={task: found.instruction for task, found in tasks.items() if task in counted},
        trials=tuple(trials),
        versions=used,
        commit=commit(),
        finished=ended.isoformat(timespec="seconds"),
        deadline_ms=1000 * plan.replan / embodiment.control_rate_hz,
    )


@dataclass(frozen=True)
class Prepared:
    """What a plan asks, once it is known that it can be asked.

    Attributes:
        plan: with what its policy decides filled in.
        facts: see ``provenance``.
        metadata: what the policy says of itself.
    """

    plan: Plan
    tasks: dict[int, TaskFacts]
    embodiment: Embodiment
    facts: dict[str, Any]
    metadata: dict[str, Any]


def prepare(plan: Plan, workers: int = 1) -> Prepared:
    """Look up all that a plan names, before a worker starts.

    Raises:
        World2ActError: no such suite, task or policy, more episodes than official states, or a policy that cannot be
            evaluated like this.
    """
    tasks = planned_tasks(plan)
    embodiment = load_embodiment(next(iter(tasks.values())).embodiment)
    plan, metadata = settled(plan, embodiment, workers)
    facts = provenance(plan, embodiment, str(metadata.get("identity", "")))
    return Prepared(plan, tasks, embodiment, facts, metadata)


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


def settled(plan: Plan, embodiment: Embodiment, workers: int) -> tuple[Plan, dict[str, Any]]:
    """The plan with what its policy decides filled in, and what the policy says of itself.

    It is opened once here, so that what does not fit costs no worker.

    Raises:
        World2ActError: the policy cannot be opened, or cannot be evaluated like this.
    """
    usual = embodiment.cameras[film_camera(embodiment)].width
    if plan.policy == DEMONSTRATOR:
        if plan.replan:
            raise World2ActError("the demonstrator acts at every step and plans no chunks: leave --replan away")
        return replace(plan, replan=embodiment.chunk_length, image_size=plan.image_size or usual), {"privileged": True}
    opened = open_policy(plan.policy, embodiment)
    try:
        unknown = [camera for camera in opened.cameras if camera not in embodiment.cameras]
        if unknown:
            known = ", ".join(embodiment.cameras)
            raise World2ActError(f"{plan.policy} wants camera {unknown[0]!r}: {embodiment.name} has {known}")
        metadata = dict(opened.metadata)
        if opened.stateful and "server" in metadata and workers > 1:
            raise World2ActError(
                f"the policy behind {plan.policy} remembers its episode and can be in one at a time only: --workers 1"
            )
        replan = executed_steps(opened, embodiment, plan.replan)
    finally:
        opened.close()
    return replace(plan, replan=replan, image_size=frame_size(plan, metadata.get("images", {}), usual)), metadata


def frame_size(plan: Plan, asked: Mapping[str, Sequence[int]], usual: int) -> int:
    """Rows and columns in which frames are rendered: the plan's, else what the policy asks for, else the usual.

    Raises:
        World2ActError: the policy asks for what the simulator does not render, and the plan says nothing.
    """
    sizes = sorted({tuple(size) for size in asked.values()})
    wanted = " and ".join(f"{rows}x{columns}" for rows, columns in sizes)
    if plan.image_size:
        if sizes and sizes != [(plan.image_size, plan.image_size)]:
            log.warning(
                "the policy asks for frames of %s, but is shown ones of %dx%d, fitted into its size",
                wanted, plan.image_size, plan.image_size,
            )  # fmt: skip
        return plan.image_size
    if len(sizes) > 1 or any(rows != columns for rows, columns in sizes):
        raise World2ActError(
            f"the policy asks for frames of {wanted}, but here all are square and alike: choose one, --image-size PX"
        )
    return sizes[0][0] if sizes else usual


def provenance(plan: Plan, embodiment: Embodiment, served: str = "") -> dict[str, Any]:
    """What an outcome of a settled plan depends on, besides versions; JSON values. ``served``: what a policy server
    says that its policy is made of."""
    settings = RENDERING[plan.rendering]
    tasks = suite_tasks(plan.suite, plan.tasks)
    horizons = {str(number): task.horizon for number, task in tasks.items()}
    alike = len(set(horizons.values())) == 1
    return {
        "policy": {
            "address": plan.policy,
            "identity": policy_identity(plan.policy) or ({"served": served} if served else {}),
        },
        "protocol": {
            **next(iter(tasks.values())).protocol,
            "control_rate_hz": embodiment.control_rate_hz,
            "horizon": next(iter(horizons.values())) if alike else horizons,
            "replan": plan.replan,
        },
        "embodiment": {"name": embodiment.name, "sha256": embodiment.sha256},
        "rendering": {
            "image_size": plan.image_size,
            **asdict(settings),
            "backend": choose_backend() if "MUJOCO_GL" not in os.environ else os.environ["MUJOCO_GL"],
        },
    }


def _job(plan: Plan, start: Start, out: Path) -> SuiteTrial:
    name = f"{start.suite}-{start.task}-i{start.index}"
    video = str(out / "videos" / f"{name}.mp4") if plan.videos else ""
    kept = str(out / "failures" / name) if plan.keep else ""
    return SuiteTrial(start, plan.policy, plan.replan, plan.image_size, plan.rendering, video, kept)


def try_once(job: SuiteTrial, context: WorkerContext) -> Trial:
    """One trial in a worker; a failure is filmed, and kept with all that repeats it if the job says so."""
    began = time.monotonic()
    start = job.start
    simulator = context.simulator(start.suite, start.task, job.image_size or None, RENDERING[job.rendering])
    actor, watched = suite_actor(job, simulator, context)
    cameras = watched.cameras if watched else ()
    episode = rollout(
        simulator, actor, start, episode_id=start.id, source=POLICY, cameras=cameras,
        record_images=bool(cameras and (job.video or job.kept)),  # what it has seen costs nothing more
        frame_every=job.replan or None,
    )  # fmt: skip
    seconds = time.monotonic() - began
    conduct = _conduct(episode, simulator, watched, job.replan)
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
        look = {"image_size": job.image_size, "rendering": job.rendering, "replan": job.replan}
        keep_failure(Path(job.kept), seen, simulator.embodiment, trial, film, reached, job.policy, identity, look)


def suite_actor(job: SuiteTrial, simulator: Simulator, context: WorkerContext) -> tuple[Actor, WatchedPolicy | None]:
    """Who acts, and the policy in it that is watched; None of the demonstrator, which is no policy."""
    if job.policy == DEMONSTRATOR:
        return open_demonstrator(simulator), None
    policy: Policy = context.once(job.policy, lambda: open_policy(job.policy, simulator.embodiment))
    watched = WatchedPolicy(policy)
    return PolicyActor(watched, replan=job.replan), watched


def _conduct(episode: Episode, simulator: Simulator, watched: WatchedPolicy | None, replan: int) -> Conduct:
    embodiment = simulator.embodiment
    commands = watched.commands(episode.steps, replan or embodiment.chunk_length) if watched else None
    latency = tuple(round(1000 * seconds, 3) for seconds in watched.seconds[1:]) if watched else ()
    return Conduct(count_safety(episode, embodiment, commands), latency, states_digest(episode.state))


def whole_state(simulator: Simulator) -> Array | None:
    """The physical state now; None where the simulator does not tell it."""
    tell = getattr(simulator, "state", None)
    return None if tell is None else tell()
