"""The recipe's paired evaluation on held-out starts, and the attempts that the report shows."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from world2act_core.embodiment import Embodiment
from world2act_core.evaluation import (
    PairedTrials,
    Results,
    Trial,
    TrialRequest,
    evaluate,
    held_out_or_raise,
    pair_trials,
    write_results,
)
from world2act_core.recipes.recording import Attempt, record, run_trials
from world2act_core.recipes.settings import Recipe
from world2act_core.recipes.stage_files import BAGS, POLICY, RESIDUAL
from world2act_core.runs import Stage
from world2act_core.runs.stage import versions
from world2act_core.simulators.starts import Start
from world2act_core.simulators.workers import WorkerPool

BASE, POST = "base", "post-trained"
RESULTS = "results.json"


def evaluation_stage(
    stage: Stage,
    recipe: Recipe,
    pool: WorkerPool,
    base: Stage,
    stage2: Stage,
    training: Iterable[Stage],
    task: str,
    embodiment: Embodiment,
) -> None:
    """Base and post-trained on the same starts, none of which any training stage has touched.

    Raises:
        RunError: a start leaked into training; names stage and start.
    """
    starts = [start.id for start in recipe.starts(recipe.evaluation)]
    used = {trained.name: set(trained.starts) for trained in training}
    held_out_or_raise(starts, used)
    identity = {"base": base.digest, "stage2": stage2.digest, "versions": versions()}

    def attempts(requests: Iterable[TrialRequest]) -> list[Attempt]:
        return trial_attempts(requests, base.path(POLICY), stage2.path(RESIDUAL), recipe.cameras)

    def in_workers(_: Callable[[TrialRequest], Trial], requests: Iterable[TrialRequest]) -> Iterator[Trial]:
        return run_trials(pool, attempts(requests), "evaluation")

    log = stage.folder / "trials.jsonl"
    trials = evaluate(_in_workers_only, (BASE, POST), starts, log, identity=identity, map_trials=in_workers)
    paired = pair_trials(trials[: len(starts)], trials[len(starts) :])
    results = Results(
        trials=paired,
        task=task,
        embodiment=embodiment.name,
        commit=commit(),
        training_starts={name: len(ids) for name, ids in used.items()},
        details={"seed": recipe.seed, "jitter_cm": recipe.jitter_cm, **identity},
    )
    write_results(stage.path(RESULTS), results)
    stage.starts = starts
    stage.metrics = {"base": paired.base_successes, "post_trained": paired.post_successes, "starts": paired.n}
    _record_examples(stage, attempts, pool, paired)


def trial_attempts(
    requests: Iterable[TrialRequest], base: Path, residual: Path, cameras: Sequence[str]
) -> list[Attempt]:
    """Trials of base and post-trained as attempts for the workers."""
    return [
        Attempt(
            start=Start.parse(request.start_id),
            source=request.policy,
            base=str(base),
            residual=str(residual) if request.policy == POST else "",
            cameras=tuple(cameras),
        )
        for request in requests
    ]


def _in_workers_only(request: TrialRequest) -> Trial:
    raise AssertionError(f"{request} must run in a worker")


def _record_examples(
    stage: Stage, attempts: Callable[[Iterable[TrialRequest]], list[Attempt]], pool: WorkerPool, paired: PairedTrials
) -> None:
    """Bags of both policies on two starts; the first is what the picture shows."""
    shown = example_starts(paired)
    requests = [TrialRequest(policy, start) for start in dict.fromkeys(shown) for policy in (BASE, POST)]
    names = [f"{index // 2}-{request.policy}" for index, request in enumerate(requests)]
    bags = stage.path(BAGS)
    jobs = [
        Attempt(**{**job.__dict__, "bag": str(bags / name)})
        for job, name in zip(attempts(requests), names, strict=True)
    ]
    record(pool, jobs, "examples for the report")


def example_starts(paired: PairedTrials) -> list[str]:
    """Two starts that stand for the whole: the first on which the policies differ in the way in which they differ more
    often, and the first on which they do not."""
    commoner = "only post-trained" if paired.count("only post-trained") >= paired.count("only base") else "only base"
    differing = [start for outcome, start in zip(paired.outcomes, paired.start_ids, strict=True) if outcome == commoner]
    alike = [start for start, o in zip(paired.start_ids, paired.outcomes, strict=True) if o in ("both", "neither")]
    return [*differing[:1], *alike[:1]] or list(paired.start_ids[:1])


def commit() -> str:
    """The commit of the code, "" outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def read_history(stage: Stage) -> list[dict[str, float]]:
    """The training history that a stage has written."""
    history: list[dict[str, float]] = json.loads(stage.path("history.json").read_text())
    return history
