"""The gate of a run: its post-trained policy against its base on fresh starts, start by start, until the test decides.

The starts are drawn at random from the official states that nothing in the run's lineage was trained on, each displaced
by a seed of its own. Every trial is one line of a log on disk before it counts, so a kill costs the trials under way; a
gate that is asked again about the same files goes on with the trials that it has.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from world2act_core.errors import RunError, World2ActError
from world2act_core.evaluation import TrialLog, TrialRequest, held_out_or_raise, pair_trials
from world2act_core.evaluation.gate import Gate
from world2act_core.evaluation.sequential import SequentialPairedTest
from world2act_core.evaluation.signature import write_gate
from world2act_core.policies.run_folder import existing_run, policy_files
from world2act_core.recipes.evaluation import BASE, POST, commit, trial_attempts
from world2act_core.recipes.gate_questions import SEEDS_APART, TRIALS, Question, earlier_gates, note_question
from world2act_core.recipes.recording import run_trials
from world2act_core.runs import Run, Stage, file_digest
from world2act_core.runs.stage import MANIFEST, lineage, read_manifest, read_stage, versions
from world2act_core.simulators.libero_package import load_task
from world2act_core.simulators.starts import Start
from world2act_core.simulators.workers import WorkerPool


@dataclass(frozen=True)
class Subject:
    """A run that is gated.

    Attributes:
        files, digests: of the base and the residual.
        scene: configuration of the stage that post-trained: suite, task, embodiment, cameras, jitter_cm.
        learned: every stage that the post-trained policy was made from.
        tried: stages that measured it; their starts are not fresh either.
    """

    folder: Path
    files: dict[str, Path]
    digests: dict[str, str]
    scene: dict[str, Any]
    learned: dict[str, Stage]
    tried: dict[str, Stage]


def run_gate(
    folder: Path, question: Question, pool: WorkerPool, announce: Callable[[str], None] = print
) -> tuple[Gate, str]:
    """Gate a run and write its signed ``gate.json``; returns what was found and how it is signed, in words.

    Raises:
        World2ActError: the question means nothing, the run is not finished or not what its manifests say, or a start
            was seen in training.
    """
    try:
        test = SequentialPairedTest(question.max_starts, question.margin, question.alpha)
    except ValueError as error:
        raise World2ActError(f"this question cannot be asked: {error}") from None
    run = Run(existing_run(folder), announce)  # nobody may train in it meanwhile
    subject = read_subject(run.folder)
    if question.jitter_cm is None:
        question = replace(question, jitter_cm=subject.scene["jitter_cm"])
    starts = fresh_starts(subject, question)
    used = {name: set(stage.starts) for name, stage in {**subject.learned, **subject.tried}.items()}
    held_out_or_raise(starts, used)
    identity = {"digests": subject.digests, "scene": subject.scene, "versions": versions()}
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
    earlier = earlier_gates(folder, subject.digests, question)
    note_question(folder, subject.digests, question)  # before its first trial: one that is stopped was asked, too
    with TrialLog(folder / TRIALS / f"trials-{key}.jsonl", identity) as log:
        compare(test, log, starts, pool, subject, announce)
        pairs = [[log.trials[TrialRequest(side, start)] for start in starts[: test.starts]] for side in (BASE, POST)]
    gate = Gate(
        trials=pair_trials(*pairs),
        **asdict(question),
        task=f"{subject.scene['suite']}/{subject.scene['task']}",
        embodiment=subject.scene["embodiment"],
        digests=subject.digests,
        finished=datetime.now(timezone.utc),
        used_starts={name: len(ids) for name, ids in used.items()},
        earlier=earlier,
        commit=commit(),
    )
    return gate, write_gate(folder, gate)


def read_subject(folder: Path) -> Subject:
    """What a run's manifests say of its policies.

    Raises:
        RunError: a stage is missing, not finished or not the one that the next was made from, a policy has changed, or
            the run was made from logs.
    """
    files = policy_files(folder)
    read_stage(files["base"].parent)
    post_training = read_stage(files["residual"].parent)
    learned = lineage(folder, post_training.name)
    refuse_logs(folder, post_training, learned)
    tried = {
        path.parent.name: read_manifest(path.parent)
        for path in sorted(folder.glob(f"*/{MANIFEST}"))
        if path.parent.name not in learned
    }
    digests = {name: file_digest(file) for name, file in files.items()}
    scene = {name: post_training.config[name] for name in ("suite", "task", "embodiment", "cameras", "jitter_cm")}
    return Subject(folder, files, digests, scene, learned, tried)


def refuse_logs(folder: Path, post_training: Stage, learned: dict[str, Stage]) -> None:
    """Nothing can be shown to be held out from logs, and no task of a simulator is known to be theirs.

    Raises:
        RunError: the run was made from logs: its post-training names no task, or, as runs sealed before that wrote the
            recipe's default task, a stage that reads no other one names no start.
    """
    silent = [stage.name for stage in learned.values() if not stage.inputs and not stage.starts]
    if "suite" not in post_training.config:
        why = f"stage {post_training.name} names no task of a simulator"
    elif silent:
        why = f"stage {silent[0]} names no start of a simulator"
    else:
        return
    raise RunError(
        f"{folder} was made from logs ({why}): nothing shows which starts would be fresh to it, so it has no gate; "
        f"try it on its table (docs/robot-cell.md, step 5), or compare a simulator's robot with an evaluation of its "
        f"base: world2act gate --policy run:{folder} --suite NAME --against JSON"
    )


def fresh_starts(subject: Subject, question: Question) -> list[str]:
    """The starts of a gate: each an official state of the task, drawn at random, and a displacement of its own.

    Drawn independently, because the sequential test must not meet easy and hard states in a fixed order. The first
    starts are the same however many there are, so that a gate with more goes on with the trials of one with less.

    Raises:
        World2ActError: no displacement, so that starts would repeat, or no official state is held out.
    """
    jitter_cm, seed = question.jitter_cm, question.seed
    if not jitter_cm or jitter_cm < 0:
        raise World2ActError(f"--jitter-cm {jitter_cm or 0:g}: fresh starts need a displacement, say --jitter-cm 3")
    if seed < 0:
        raise World2ActError(f"--seed {seed} must be 0 or more")
    suite, task = subject.scene["suite"], subject.scene["task"]
    trained = [Start.parse(start) for stage in subject.learned.values() for start in stage.starts if start]
    touched = {start.index for start in trained if (start.suite, start.task) == (suite, task)}
    held_out = [index for index in range(len(load_task(suite, task).initial_states)) if index not in touched]
    if not held_out:
        raise RunError(
            f"{subject.folder} was trained on every official state of {suite}/{task}: keep some out of its splits"
        )
    indices = [int(np.random.default_rng((seed, number)).choice(held_out)) for number in range(question.max_starts)]
    first = SEEDS_APART * (1 + seed)
    return [Start(suite, task, index, jitter_cm, first + number).id for number, index in enumerate(indices)]


def compare(
    test: SequentialPairedTest,
    log: TrialLog,
    starts: list[str],
    pool: WorkerPool,
    subject: Subject,
    announce: Callable[[str], None],
) -> None:
    """Try both policies start by start until the test decides. Workers may be ahead by a start or two; what they find
    there is kept in the log, but counts only if the test gets there."""
    requests = log.missing((BASE, POST), starts)
    attempts = trial_attempts(requests, subject.files["base"], subject.files["residual"], subject.scene["cameras"])
    with closing(run_trials(pool, attempts, None)) as trials:
        for start in starts:
            pair = [TrialRequest(policy, start) for policy in (BASE, POST)]
            while not all(request in log.trials for request in pair):
                log.append(next(trials))
            test.add(*(log.trials[request].success for request in pair))
            announce(progress(test, start))
            if test.decision is not None:
                return


def progress(test: SequentialPairedTest, start: str) -> str:
    """One line: where the test stands after a start."""
    width = len(str(test.max_starts))
    return (
        f"start {test.starts:{width}} of at most {test.max_starts}  {start}: {test.gained} gained, {test.lost} lost, "
        f"{test.alike} alike; wealth {test.wealth[-1]:.3g}, {1 / test.alpha:g} shows it "
        f"(worse: {test.wealth_worse[-1]:.3g})"
    )
