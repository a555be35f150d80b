"""Run a paired evaluation so that a kill at any second costs at most the trials that were under way.

Every finished trial is one line of a JSONL log, on disk before the next begins. Starting again keeps the lines,
drops a line that the kill tore, and runs only what is missing; a start is never counted twice.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from world2act_core.errors import RunError
from world2act_core.evaluation.results import trial_from_json, trial_to_json
from world2act_core.evaluation.trials import Trial

LOG_SCHEMA = "world2act.trials/1"


class TrialRequest(NamedTuple):
    """A trial to be run; picklable, so that it can go to a worker process."""

    policy: str
    start_id: str


class TrialLog:
    """Append-only log of trials, open for one writer at a time; a context manager.

    The first line states what is being evaluated. A log of other weights or another simulator is refused rather
    than mixed in.

    Args:
        path: the JSONL file; created if it does not exist.
        identity: what a trial's outcome depends on (digests of the weights, simulator versions, horizon); JSON values.

    Raises:
        RunError: another process is writing, the identity differs, or a line other than the last is damaged.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path
        self.trials: dict[TrialRequest, Trial] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b")
        try:
            self._lock()
            self._load(dict(identity))
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> TrialLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def missing(self, policies: Sequence[str], starts: Sequence[str]) -> list[TrialRequest]:
        """Trials still to be run: start by start, all policies of a start before the next, so that a kill leaves
        pairs. Repeated policies or starts are asked for once."""
        wanted = dict.fromkeys(TrialRequest(policy, start) for start in starts for policy in policies)
        return [request for request in wanted if request not in self.trials]

    def append(self, trial: Trial) -> bool:
        """Keep a trial, on disk when this returns; False if that start and policy were there already."""
        request = TrialRequest(trial.policy, trial.start_id)
        if request in self.trials:
            return False
        self._write(trial_to_json(trial))
        self.trials[request] = trial
        return True

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"another process is evaluating into {self.path}: wait for it or end it") from None

    def _load(self, identity: dict[str, Any]) -> None:
        self._file.seek(0)
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):  # the kill tore the last line: that trial did not happen
            self._file.truncate(len(whole))
        lines = whole.splitlines()
        if not lines:
            self._write({"schema": LOG_SCHEMA, "identity": identity})
            return
        header = self._parse(lines[0], 1)
        if header.get("schema") != LOG_SCHEMA:
            raise RunError(f"{self.path} does not start with schema {LOG_SCHEMA!r}: evaluate into another file")
        if header.get("identity") != json.loads(json.dumps(identity)):
            raise RunError(
                f"{self.path} holds trials of {header.get('identity')}, not of {identity}: move it away or evaluate "
                f"into another file"
            )
        for number, line in enumerate(lines[1:], start=2):
            try:
                trial = trial_from_json(self._parse(line, number))
            except (KeyError, TypeError) as error:
                raise RunError(f"{self.path} line {number} is not a trial ({error}): remove that line") from None
            self.trials.setdefault(TrialRequest(trial.policy, trial.start_id), trial)

    def _parse(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            parsed = json.loads(line)
        except ValueError:
            parsed = None
        if not isinstance(parsed, dict):
            raise RunError(f"{self.path} line {number} is damaged: remove that line and evaluate again")
        return parsed

    def _write(self, content: dict[str, Any]) -> None:
        self._file.write(json.dumps(content, sort_keys=True).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def evaluate(
    run_trial: Callable[[TrialRequest], Trial],
    policies: Sequence[str],
    starts: Sequence[str],
    log: Path,
    *,
    identity: Mapping[str, Any],
    on_trial: Callable[[Trial, int, int], None] | None = None,
    map_trials: Callable[[Callable[[TrialRequest], Trial], Iterable[TrialRequest]], Iterable[Trial]] = map,
) -> list[Trial]:
    """Try every policy on every start, keeping what an earlier call into the same log has done.

    Args:
        run_trial: runs one trial. What it raises ends the evaluation (with all finished trials kept): a crash is
            not a failure of the policy.
        policies: names, e.g. ``("base", "post-trained")``.
        starts: start ids.
        log: the JSONL file to append to.
        identity: see ``TrialLog``.
        on_trial: called after each new trial with (trial, done, total), for a progress bar.
        map_trials: how to run them; ``multiprocessing.Pool.imap_unordered`` runs them in workers, in any order.

    Returns:
        One trial for each policy and start, policy by policy in the order of ``starts``, whatever order they ran in.

    Raises:
        RunError: see ``TrialLog``; also if ``run_trial`` returned a trial that was not asked for.
    """
    with TrialLog(log, identity) as kept:
        requests = kept.missing(policies, starts)
        wanted = {TrialRequest(policy, start): None for policy in policies for start in starts}
        done = len(wanted) - len(requests)
        for trial in map_trials(run_trial, requests):
            if (trial.policy, trial.start_id) not in wanted:
                raise RunError(f"a trial of {trial.policy} on {trial.start_id} came back that was not asked for")
            if kept.append(trial):
                done += 1
                if on_trial is not None:
                    on_trial(trial, done, len(wanted))
        return [kept.trials[request] for request in wanted]
