"""The gate of a run: fresh starts, trials in pairs, an early end, and a kill that costs nothing that was done."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.recipes.gate_runs import OFFICIAL, SCENE, TRAINED, ToyPool, make_run, only_post
from world2act_core.cli import main
from world2act_core.errors import RunError, World2ActError
from world2act_core.evaluation.console import gate_table
from world2act_core.evaluation.gate import Gate
from world2act_core.evaluation.signature import require_gate
from world2act_core.recipes.evaluation import BASE, POST
from world2act_core.recipes.gate import fresh_starts, read_subject, run_gate
from world2act_core.recipes.gate_questions import Question
from world2act_core.recipes.recording import Attempt
from world2act_core.runs import Run
from world2act_core.simulators import workers
from world2act_core.simulators.starts import Start

PROGRAM = Path(__file__).with_name("gate_runs.py")


@pytest.fixture(autouse=True)
def official() -> Iterator[None]:
    with OFFICIAL:
        yield


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


def gated(folder: Path, pool: ToyPool, **question: Any) -> Gate:
    return run_gate(folder, Question(**question), pool, lambda line: None)[0]


def ask(starts: int, seed: int = 0) -> Question:
    return Question(max_starts=starts, seed=seed, jitter_cm=3.0)


def written(folder: Path) -> dict[str, Any]:
    """``gate.json`` without what differs between two gates that found the same."""
    raw: dict[str, Any] = json.loads((folder / "gate.json").read_text())
    return {key: value for key, value in raw.items() if key not in ("finished", "signature")}


def test_a_better_policy_passes_early_and_its_signature_holds(run: Path) -> None:
    pool = ToyPool(only_post)
    gate = gated(run, pool)
    assert gate.passed and gate.trials.n < 20
    assert gate.test.lost == 0 and gate.test.gained >= 6
    assert require_gate(run, embodiment="libero_panda") == gate


def test_no_start_is_tried_long_after_the_decision(run: Path) -> None:
    pool = ToyPool(only_post)
    gate = gated(run, pool)
    assert len(pool.done) <= 2 * (gate.trials.n + 1)


def test_a_worse_policy_fails_early(run: Path) -> None:
    gate = gated(run, ToyPool(lambda job: job.source == BASE))
    assert (gate.test.decision, gate.trials.n) == ("worse", 6)


def test_a_policy_that_changes_nothing_is_not_better_but_not_worse_either(run: Path) -> None:
    pool = ToyPool(lambda job: job.start.index % 2 == 0)
    assert gated(run, pool).test.decision == "not shown"
    assert gated(run, pool, margin=0.05, max_starts=300).test.decision == "shown"


def test_starts_are_drawn_from_what_no_stage_was_trained_on(run: Path) -> None:
    starts = [Start.parse(start) for start in fresh_starts(read_subject(run), ask(200))]
    assert {start.index for start in starts} == set(range(50)) - set(TRAINED)
    assert len({start.seed for start in starts}) == 200
    indices = [start.index for start in starts]
    assert indices[:15] != indices[15:30], "a fixed order of official states would break the test's assumption"


def test_another_seed_draws_other_starts_and_more_starts_begin_alike(run: Path) -> None:
    subject = read_subject(run)
    assert not set(fresh_starts(subject, ask(60))) & set(fresh_starts(subject, ask(60, seed=1)))
    assert fresh_starts(subject, ask(120))[:60] == fresh_starts(subject, ask(60))


def test_a_start_that_measured_the_policy_before_is_not_fresh(run: Path) -> None:
    seen = fresh_starts(read_subject(run), ask(60))[3]
    folder = Run(run, announce=lambda line: None)
    folder.stage("evaluation", lambda stage: stage.starts.append(seen))
    del folder
    with pytest.raises(RunError, match="of the evaluation was used by stage evaluation"):
        gated(run, ToyPool(only_post))
    assert gated(run, ToyPool(only_post), seed=1).passed


def test_an_episode_of_unknown_start_proves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="without a start id"):
        gated(make_run(tmp_path / "run", starts=[""]), ToyPool(only_post))


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"trained": ()}, "stage demonstrations names no start"),
        ({"scene": {name: SCENE[name] for name in ("embodiment", "cameras")}}, "stage stage2 names no task"),
    ],
)
def test_a_run_made_from_logs_has_no_gate(tmp_path: Path, how: dict[str, Any], why: str) -> None:
    """Those sealed before named the recipe's default task, and no start: everything seemed to be held out from them."""
    pool = ToyPool(only_post)
    with pytest.raises(RunError, match=f"{why}.*so it has no gate.*docs/robot-cell.md.*gate --policy run:"):
        gated(make_run(tmp_path / "run", **how), pool)
    assert pool.done == [] and not (tmp_path / "run" / "gate.json").exists()


def test_a_run_trained_on_every_official_state_has_no_fresh_start(tmp_path: Path) -> None:
    everywhere = make_run(tmp_path / "run", starts=[f"libero_goal/8/i{index}" for index in range(50)])
    with pytest.raises(RunError, match="trained on every official state of libero_goal/8"):
        gated(everywhere, ToyPool(only_post))


def test_a_run_whose_stages_do_not_fit_together_is_refused(run: Path) -> None:
    manifest = run / "demonstrations" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"digest": "', '"digest": "f'))
    with pytest.raises(RunError, match="demonstrations is not what .*stage2 was made from"):
        gated(run, ToyPool(only_post))


def test_a_run_that_is_being_trained_in_is_refused(run: Path) -> None:
    busy = Run(run, announce=lambda line: None)
    with pytest.raises(RunError, match="another process is working"):
        gated(run, ToyPool(only_post))
    del busy


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ({"max_starts": 5}, "5 starts cannot show it"),
        ({"margin": 1.5}, "expected 0 <= margin < 1"),
        ({"jitter_cm": 0.0}, "fresh starts need a displacement"),
        ({"seed": -1}, "must be 0 or more"),
    ],
)
def test_a_question_that_means_nothing_is_refused(run: Path, question: dict[str, Any], says: str) -> None:
    with pytest.raises(World2ActError, match=says):
        gated(run, ToyPool(only_post), **question)


def test_a_killed_gate_goes_on_and_ends_as_if_it_had_not_been_killed(tmp_path: Path) -> None:
    whole, killed, trials = make_run(tmp_path / "whole"), make_run(tmp_path / "killed"), 5
    done = subprocess.run([sys.executable, str(PROGRAM), str(killed), str(trials)], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (killed / "gate.json").exists()
    first, second = ToyPool(only_post), ToyPool(only_post)
    gated(whole, first)
    gated(killed, second)
    kept = {(job.start.id, job.source) for job in first.done} - {(job.start.id, job.source) for job in second.done}
    assert len(kept) == trials, "a trial that was done was done again"
    assert written(killed) == written(whole)


@pytest.mark.parametrize("trials", [0, 1, 12])
def test_a_gate_whose_trial_breaks_decides_nothing_and_goes_on_later(run: Path, trials: int) -> None:
    broken = ToyPool(only_post)

    def breaks(job: Attempt) -> bool:
        if len(broken.done) > trials:
            raise OSError("simulator is gone")
        return only_post(job)

    broken.succeeds = breaks
    with pytest.raises(OSError, match="simulator is gone"):
        gated(run, broken)
    assert not (run / "gate.json").exists()
    later = ToyPool(only_post)
    assert gated(run, later).passed
    assert not {(job.start.id, job.source) for job in broken.done[:trials]} & {
        (job.start.id, job.source) for job in later.done
    }


def test_more_starts_go_on_with_the_trials_of_a_gate_that_could_not_tell(run: Path) -> None:
    """It gains on one start of six, so 60 starts hardly tell. The test may stop at any start, so it may go on, too."""
    seldom = ToyPool(lambda job: job.source == POST and job.start.seed % 12 == 5)
    assert gated(run, seldom).test.decision == "not shown"
    before = len(seldom.done)
    more = gated(run, seldom, max_starts=120)
    assert more.passed and more.trials.n > 60
    assert len(seldom.done) <= 2 * more.trials.n + 2 and len(seldom.done) > before
    assert more.earlier == []


def test_asking_again_with_another_seed_is_told(run: Path) -> None:
    pool = ToyPool(lambda job: False)
    gated(run, pool)
    again = gated(run, pool, seed=1)
    assert [(entry["seed"], entry["verdict"]) for entry in again.earlier] == [(0, "not shown")]
    assert len(gated(run, pool, jitter_cm=6.0).earlier) == 2
    back = gated(run, pool)
    assert [(entry["seed"], entry["jitter_cm"]) for entry in back.earlier] == [(1, 3.0), (0, 6.0)]


def stopped(folder: Path, after: int, **question: Any) -> None:
    """A gate that ends, as by Ctrl-C, when so many trials are done."""
    pool = ToyPool(lambda job: job.source == BASE)

    def ends(job: Attempt) -> bool:
        if len(pool.done) > after:
            raise KeyboardInterrupt
        return job.source == BASE

    pool.succeeds = ends
    with pytest.raises(KeyboardInterrupt):
        gated(folder, pool, **question)


def test_a_gate_that_was_stopped_before_it_decided_is_told(run: Path) -> None:
    stopped(run, after=8)
    gate = gated(run, ToyPool(only_post), seed=1)
    assert gate.passed
    assert [dict(entry) for entry in gate.earlier] == [
        {"margin": 0.0, "alpha": 0.05, "seed": 0, "jitter_cm": 3.0, "verdict": None, "finished": None, "starts": 4}
    ]
    words = "Asked before of the same policies: is it better (seed 0, 3 cm, alpha 0.05)? No verdict, 4 starts tried"
    assert words in gate_table(gate).splitlines()


def test_a_stopped_gate_that_goes_on_or_was_never_begun_is_not_told(run: Path) -> None:
    stopped(run, after=8)
    stopped(run, after=0, seed=2)
    assert gated(run, ToyPool(only_post)).earlier == []
    told = gated(run, ToyPool(only_post), seed=1).earlier
    assert [(entry["seed"], entry["verdict"]) for entry in told] == [(0, told[0]["verdict"])] != [(0, None)]


def test_another_margin_on_the_trials_of_a_stopped_gate_is_told(run: Path) -> None:
    stopped(run, after=8, margin=0.05, max_starts=300)
    told = gated(run, ToyPool(only_post), margin=0.1, max_starts=300).earlier
    assert [(entry["margin"], entry["verdict"], entry["starts"]) for entry in told] == [(0.05, None, 4)]


def test_trials_whose_question_is_not_known_any_more_are_told(run: Path) -> None:
    """Gates kept no list of what was asked once, and a verdict is gone with its gate.json."""
    stopped(run, after=8)
    (run / "gate" / "asked.json").unlink()
    told = gated(run, ToyPool(only_post), seed=1).earlier
    assert [(entry["seed"], entry["margin"], entry["starts"]) for entry in told] == [(0, None, 4)]
    assert [entry["seed"] for entry in gated(run, ToyPool(only_post)).earlier] == [1]
    gated(run, ToyPool(only_post), seed=1)
    (run / "gate.json").unlink()
    told = gated(run, ToyPool(only_post), seed=2).earlier
    assert [(entry["seed"], entry["margin"], entry["verdict"]) for entry in told] == [(1, 0.0, None), (0, 0.0, None)]


def test_retrained_files_are_gated_anew(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    gated(folder, ToyPool(lambda job: False))
    (folder / "stage2" / "manifest.json").unlink()
    make_run(folder, residual=lambda path: path.write_bytes(b"better"))
    second = ToyPool(only_post)
    gate = gated(folder, second)
    assert gate.passed and gate.earlier == []
    assert len(second.done) >= 2 * gate.trials.n


def test_each_start_prints_a_line(run: Path) -> None:
    lines: list[str] = []
    run_gate(run, Question(), ToyPool(lambda job: job.source == POST), lines.append)
    assert len(lines) == 6
    assert lines[0].startswith("start  1 of at most 60  libero_goal/8/i")
    assert lines[-1].endswith(": 6 gained, 0 lost, 0 alike; wealth 20.7, 20 shows it (worse: 0.0333)")


@pytest.mark.parametrize(
    ("succeeds", "code", "verdict"),
    [
        (only_post, 0, "Verdict: PASS, the post-trained policy is better than the base policy"),
        (lambda job: job.source == BASE, 1, "Verdict: FAIL, the post-trained policy is worse than the base policy"),
        (lambda job: True, 1, "Verdict: FAIL, it is not shown that the post-trained policy is better than the base"),
    ],
)
def test_the_exit_code_is_the_answer(
    run: Path, succeeds: Any, code: int, verdict: str, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(workers, "WorkerPool", lambda workers, **_: ToyPool(succeeds))
    assert main(["gate", str(run)]) == code
    assert verdict in capsys.readouterr().out
    assert main(["gate", str(run), "--check"]) == code


@pytest.mark.parametrize("command", [["gate"], ["gate", "--check"], ["export", "--out", "exported"]])
def test_a_folder_without_a_stage_is_no_run_and_stays_as_it_is(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos" / "summer").mkdir(parents=True)
    (tmp_path / "photos" / "summer" / "index.json").write_text("{}")
    assert main([command[0], str(tmp_path / "photos"), *command[1:]]) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path / 'photos'} is no run, there is no stage in it: name the folder that 'world2act demo" in said
    assert [path.name for path in (tmp_path / "photos").rglob("*")] == ["summer", "index.json"]


def test_a_broken_run_is_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "run")
    (run / "stage2" / "manifest.json").unlink()
    assert main(["gate", str(run)]) == 2
    assert "the stage was not finished" in capsys.readouterr().err
    assert main(["gate", str(tmp_path / "none")]) == 2
    assert "there is no run folder" in capsys.readouterr().err
