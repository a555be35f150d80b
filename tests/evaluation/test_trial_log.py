"""An evaluation that is killed and started again ends as if it had never been killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from world2act_core.errors import RunError
from world2act_core.evaluation.trial_log import TrialLog, TrialRequest, evaluate
from world2act_core.evaluation.trials import Trial

POLICIES = ("base", "post-trained")
STARTS = [f"libero_goal/8/i{i}" for i in range(5)]
IDENTITY = {"base": "digest-1", "horizon": 300}


class Runner:
    """Runs trials with a fixed outcome a start, remembering which, and may be killed before the n-th."""

    def __init__(self, kill_at: int | None = None) -> None:
        self.ran: list[TrialRequest] = []
        self.kill_at = kill_at

    def __call__(self, request: TrialRequest) -> Trial:
        if len(self.ran) == self.kill_at:
            raise KeyboardInterrupt
        self.ran.append(request)
        return Trial(request.start_id, request.policy, int(request.start_id[-1]) % 2 == 0, 70, 0.5)


def run(log: Path, runner: Runner) -> list[Trial]:
    return evaluate(runner, POLICIES, STARTS, log, identity=IDENTITY)


def test_trials_come_back_policy_by_policy(tmp_path: Path) -> None:
    trials = run(tmp_path / "trials.jsonl", Runner())
    assert [(t.policy, t.start_id) for t in trials] == [(p, s) for p in POLICIES for s in STARTS]


def test_pairs_are_run_together(tmp_path: Path) -> None:
    runner = Runner()
    run(tmp_path / "trials.jsonl", runner)
    assert runner.ran[:2] == [("base", STARTS[0]), ("post-trained", STARTS[0])]


@pytest.mark.parametrize("kill_at", range(10))
def test_a_killed_evaluation_resumes_with_its_trials_kept(tmp_path: Path, kill_at: int) -> None:
    log = tmp_path / "trials.jsonl"
    with pytest.raises(KeyboardInterrupt):
        run(log, Runner(kill_at))
    second = Runner()
    resumed = run(log, second)
    assert len(second.ran) == 10 - kill_at
    assert resumed == run(tmp_path / "uninterrupted.jsonl", Runner())
    assert log.read_bytes() == (tmp_path / "uninterrupted.jsonl").read_bytes()


def test_every_torn_length_of_the_log_resumes_to_the_same_result(tmp_path: Path) -> None:
    """SIGKILL may leave any prefix of the file."""
    log = tmp_path / "trials.jsonl"
    whole = run(log, Runner())
    content = log.read_bytes()
    for length in range(0, len(content), 7):
        log.write_bytes(content[:length])
        second = Runner()
        assert run(log, second) == whole
        assert log.read_bytes() == content
        finished = max(0, content[:length].count(b"\n") - 1)
        assert len(second.ran) == 10 - finished


def test_a_finished_evaluation_runs_nothing(tmp_path: Path) -> None:
    log = tmp_path / "trials.jsonl"
    first = run(log, Runner())
    second = Runner()
    assert run(log, second) == first
    assert second.ran == []


def test_a_duplicate_is_counted_once_and_the_first_stands(tmp_path: Path) -> None:
    log = tmp_path / "trials.jsonl"
    with TrialLog(log, IDENTITY) as kept:
        assert kept.append(Trial(STARTS[0], "base", True, 70, 0.5))
        assert not kept.append(Trial(STARTS[0], "base", False, 300, 2.0))
    lines = log.read_text().splitlines()
    log.write_text("\n".join([*lines, lines[-1].replace("true", "false")]) + "\n")
    with TrialLog(log, IDENTITY) as kept:
        assert [trial.success for trial in kept.trials.values()] == [True]


def test_repeated_starts_are_run_once(tmp_path: Path) -> None:
    runner = Runner()
    trials = evaluate(runner, ["base"], [STARTS[0]] * 3, tmp_path / "trials.jsonl", identity=IDENTITY)
    assert len(trials) == len(runner.ran) == 1


def test_a_log_of_other_weights_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "trials.jsonl"
    run(log, Runner())
    with pytest.raises(RunError, match="digest-2"):
        evaluate(Runner(), POLICIES, STARTS, log, identity={**IDENTITY, "base": "digest-2"})


def test_damage_before_the_last_line_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "trials.jsonl"
    run(log, Runner())
    lines = log.read_text().splitlines()
    lines[3] = lines[3][:20]
    log.write_text("\n".join(lines) + "\n")
    with pytest.raises(RunError, match="line 4 is damaged"):
        run(log, Runner())


def test_a_line_that_is_no_trial_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "trials.jsonl"
    run(log, Runner())
    log.write_text(log.read_text().replace("true", '"yes"').replace("false", '"no"'))
    with pytest.raises(RunError, match="line 2 is not a trial"):
        run(log, Runner())


def test_a_foreign_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "trials.jsonl"
    log.write_text('{"something": "else"}\n')
    with pytest.raises(RunError, match="does not start with schema"):
        run(log, Runner())
    assert log.read_text() == '{"something": "else"}\n'


def test_two_writers_at_once_are_refused(tmp_path: Path) -> None:
    log = tmp_path / "trials.jsonl"
    with TrialLog(log, IDENTITY), pytest.raises(RunError, match="another process is evaluating"):
        run(log, Runner())
    assert len(run(log, Runner())) == 10


def test_a_crash_is_not_a_failed_trial(tmp_path: Path) -> None:
    def crash(request: TrialRequest) -> Trial:
        raise OSError("simulator is gone")

    log = tmp_path / "trials.jsonl"
    with pytest.raises(OSError, match="simulator is gone"):
        evaluate(crash, POLICIES, STARTS, log, identity=IDENTITY)
    assert len(run(log, Runner())) == 10


def test_a_trial_that_was_not_asked_for_is_refused(tmp_path: Path) -> None:
    def confused(request: TrialRequest) -> Trial:
        return Trial("libero_goal/8/i49", request.policy, True, 70, 0.5)

    with pytest.raises(RunError, match="i49 came back that was not asked for"):
        evaluate(confused, POLICIES, STARTS, tmp_path / "trials.jsonl", identity=IDENTITY)


def test_workers_may_answer_in_any_order(tmp_path: Path) -> None:
    def backwards(runner: object, requests: Iterable[TrialRequest]) -> list[Trial]:
        return [Runner()(request) for request in reversed(list(requests))]

    shuffled = evaluate(
        Runner(), POLICIES, STARTS, tmp_path / "a.jsonl", identity=IDENTITY, map_trials=backwards
    )  # fmt: skip
    assert shuffled == run(tmp_path / "b.jsonl", Runner())


def test_progress_counts_kept_trials(tmp_path: Path) -> None:
    log, seen = tmp_path / "trials.jsonl", []
    with pytest.raises(KeyboardInterrupt):
        run(log, Runner(kill_at=7))
    evaluate(Runner(), POLICIES, STARTS, log, identity=IDENTITY, on_trial=lambda _, n, of: seen.append((n, of)))
    assert seen == [(8, 10), (9, 10), (10, 10)]


SLOW_EVALUATION = """
import sys, time
from pathlib import Path
from world2act_core.evaluation.trial_log import evaluate
from world2act_core.evaluation.trials import Trial

def run_trial(request):
    time.sleep(0.02)
    return Trial(request.start_id, request.policy, int(request.start_id[-1]) % 2 == 0, 70, 0.5)

starts = [f"libero_goal/8/i{i}" for i in range(5)]
evaluate(run_trial, ("base", "post-trained"), starts, Path(sys.argv[1]), identity={"base": "digest-1", "horizon": 300},
         on_trial=lambda trial, done, total: print(done, flush=True))
"""


def test_a_process_killed_for_good_leaves_its_finished_trials_and_no_lock(tmp_path: Path) -> None:
    log = tmp_path / "trials.jsonl"
    with subprocess.Popen([sys.executable, "-c", SLOW_EVALUATION, str(log)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(4):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    runner = Runner()
    assert run(log, runner) == run(tmp_path / "uninterrupted.jsonl", Runner())
    assert len(runner.ran) <= 6


def test_a_trial_that_was_begun_twice_keeps_its_mark_and_others_have_none(tmp_path: Path) -> None:
    log = tmp_path / "trials.jsonl"
    trials = [Trial(STARTS[0], "base", False, 300, 2.0, attempts=2), Trial(STARTS[1], "base", False, 300, 2.0)]
    with TrialLog(log, IDENTITY) as kept:
        for trial in trials:
            kept.append(trial)
    assert ["attempts" in line for line in log.read_text().splitlines()] == [False, True, False]
    with TrialLog(log, IDENTITY) as kept:
        assert list(kept.trials.values()) == trials
