"""What a policy passes before an arm moves: the four checks, when trials end, what is refused, what is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.learning.scenes import EMBODIMENT
from tests.recipes.regressions import ToyPool, conduct, make_baseline
from world2act_core.cli import main
from world2act_core.errors import RunError, World2ActError
from world2act_core.evaluation.conduct import Conduct, states_digest
from world2act_core.evaluation.suite import read_suite
from world2act_core.evaluation.trials import Trial
from world2act_core.recipes.regression import Checked, Regression, SafetyLimits, check_entry, conclude, planned_entries
from world2act_core.recipes.regression.checks import safety_check
from world2act_core.recipes.regression.graph import agreement
from world2act_core.recipes.suite import DEMONSTRATOR, SuiteTrial
from world2act_core.simulators import workers
from world2act_core.types import Episode

pytestmark = pytest.mark.libero
pytest.importorskip("libero", reason="LIBERO is not installed: make setup")


def question(**changes: Any) -> Regression:
    return Regression(**{"policy": DEMONSTRATOR, "suites": ("libero_goal",), "tasks": (8,), **changes})


def checked(out: Path, pool: ToyPool, **changes: Any) -> Checked:
    asked = question(**changes)
    (entry,) = planned_entries(asked)
    return check_entry(asked, entry, out, pool)


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It solves all of 20 starts, within the limits."""
    return make_baseline(tmp_path_factory.mktemp("baseline"), ToyPool())


def never(job: SuiteTrial) -> bool:
    return False


# --- success -------------------------------------------------------------------------------------------------------
def test_a_policy_that_is_worse_fails_as_soon_as_that_is_shown(tmp_path: Path, baseline: Path) -> None:
    pool = ToyPool(never)
    found = checked(tmp_path, pool, against=(baseline,))
    assert len(pool.jobs) == 6 and not found.passed
    assert found.checks["success"].message == (
        "the policy is worse than the baseline: 6 of 6 starts lost, 0 gained, 0 alike (of at most 20); "
        "success rate -100.0 to -0.7 points, 90 % interval"
    )
    assert found.checks["safety"].passed, "each check speaks for itself"


def test_a_policy_like_its_baseline_passes_as_soon_as_no_loss_can_be_shown_any_more(
    tmp_path: Path, baseline: Path
) -> None:
    pool = ToyPool()
    found = checked(tmp_path, pool, against=(baseline,), episodes=8)
    assert found.passed and len(pool.jobs) < 8
    assert found.checks["success"].message.startswith("no loss is shown: 0 of ")


def test_a_better_policy_passes(tmp_path: Path) -> None:
    poor = make_baseline(tmp_path / "poor", ToyPool(never), episodes=50)
    found = checked(tmp_path, ToyPool(), against=(poor,), episodes=50)
    assert found.passed and found.checks["success"].message.startswith("the policy is better than the baseline: 0 of 6")


def test_to_be_not_worse_by_a_margin_is_the_policys_to_show(tmp_path: Path, baseline: Path) -> None:
    few = checked(tmp_path / "few", ToyPool(), against=(baseline,), non_inferior=0.15)
    message = "it is not shown that the policy is not worse than the baseline by 15.0 points or more"
    assert not few.passed and few.checks["success"].message.startswith(message)
    many = checked(tmp_path / "many", ToyPool(), against=(baseline,), non_inferior=0.4)
    assert many.passed and "is not worse than the baseline by 40.0 points or more" in many.checks["success"].message
    lost = checked(tmp_path / "lost", ToyPool(never), against=(baseline,), non_inferior=0.15)
    assert not lost.passed and "6 of 6 starts lost" in lost.checks["success"].message


def test_where_neither_solves_a_start_there_is_nothing_to_lose_and_nothing_is_shown(tmp_path: Path) -> None:
    hopeless = make_baseline(tmp_path / "hopeless", ToyPool(never))
    found = checked(tmp_path / "out", ToyPool(never), against=(hopeless,), non_inferior=0.4)
    success = found.checks["success"]
    assert not success.passed and success.figures["decision"] == "open"
    assert success.message.startswith("it is not shown that the policy is not worse than the baseline by 40.0 points")
    assert "neither solved a start, so there was nothing to lose" in success.message


def test_without_a_baseline_the_rate_is_reported_with_its_interval(tmp_path: Path) -> None:
    pool = ToyPool(lambda job: job.start.index % 2 == 0)
    found = checked(tmp_path, pool, episodes=4)
    assert found.passed and len(pool.jobs) == 4
    assert found.checks["success"].message == (
        "2 of 4 solved, 50.0 % (95 % interval 15.0 to 85.0 %); no baseline to compare with"
    )


def test_a_stopped_regression_goes_on_with_the_trials_it_has(tmp_path: Path, baseline: Path) -> None:
    first = checked(tmp_path, ToyPool(never), against=(baseline,))
    pool = ToyPool(never)
    second = checked(tmp_path, pool, against=(baseline,))
    assert pool.jobs == [] and second == first
    assert read_suite(first.folder / "evaluation.json") == first.results


# --- safety --------------------------------------------------------------------------------------------------------
def trials(*conducts: Conduct | None) -> list[Trial]:
    return [Trial(f"libero_goal/8/i{i}", "policy", True, 80, 1.0, one) for i, one in enumerate(conducts)]


def test_a_limit_that_the_baseline_did_not_hit_fails_by_name() -> None:
    clean, dirty = trials(conduct(), conduct()), trials(conduct(), conduct({"workspace": 1}))
    check = safety_check(dirty, clean, SafetyLimits())
    assert not check.passed
    assert check.message.startswith(
        "1 limit hits of workspace in 160 steps, the baseline has 0 in 160 (at most 25 % more); "
        "2 steps held in 160 steps, the baseline has 0 in 160"
    )
    assert safety_check(dirty, dirty, SafetyLimits()).passed
    assert safety_check(clean, dirty, SafetyLimits()).passed
    other = trials(conduct(), conduct({"action range": 1}))
    assert "of action range" in safety_check(other, dirty, SafetyLimits()).message, "kinds are not set off"


def test_without_a_baseline_nothing_may_be_refused_unless_a_limit_says_so() -> None:
    dirty = trials(conduct({"workspace": 1}))
    check = safety_check(dirty, [], SafetyLimits())
    assert not check.passed and "none is allowed without a baseline or a limit" in check.message
    assert safety_check(dirty, [], SafetyLimits(hits=1, holds=2)).passed
    assert "2 steps held, at most 1 are allowed" in safety_check(dirty, [], SafetyLimits(hits=1, holds=1)).message
    assert "1 limit hits, at most 0 are allowed" in safety_check(dirty, [], SafetyLimits(hits=0, holds=2)).message


def test_jerk_is_compared_with_the_baselines_or_with_a_limit() -> None:
    smooth, rough = trials(conduct(jerk=100.0)), trials(conduct(jerk=130.0))
    check = safety_check(rough, smooth, SafetyLimits())
    assert not check.passed and "jerk max is 390 m/s^3, the baseline's 300 (at most 25 % more)" in check.message
    assert "jerk rms is 130 m/s^3, the baseline's 100" in check.message
    assert safety_check(trials(conduct(jerk=120.0)), smooth, SafetyLimits()).passed
    assert safety_check(rough, [], SafetyLimits()).passed
    assert "at most 350 is allowed" in safety_check(rough, [], SafetyLimits(jerk_max=350.0)).message


def test_a_baseline_of_before_there_were_counters_is_told_apart_from_a_clean_one() -> None:
    check = safety_check(trials(conduct(jerk=900.0)), trials(None), SafetyLimits())
    assert check.passed and check.message.startswith("the baseline has no counters, so jerk is only reported")
    assert not safety_check(trials(None), trials(conduct()), SafetyLimits()).passed


# --- latency -------------------------------------------------------------------------------------------------------
def test_latency_is_reported_and_judged_only_by_a_limit(tmp_path: Path) -> None:
    slow = ToyPool(conducts=lambda job: conduct(ms=250.0))
    told = checked(tmp_path / "a", slow, episodes=2).checks["latency"]
    assert told.passed and told.message == (
        "38 chunks, p50 250.0 ms, p99 250.0 ms; a chunk lasts 200 ms, so the arm would wait for the policy"
    )
    judged = checked(tmp_path / "b", slow, episodes=2, max_latency_ms=200.0).checks["latency"]
    assert not judged.passed and "p99 250.0 ms, at most 200 ms is allowed" in judged.message
    untimed = ToyPool(conducts=lambda job: Conduct(conduct().safety))
    none = checked(tmp_path / "c", untimed, episodes=2, max_latency_ms=200.0).checks["latency"]
    assert not none.passed, "what was not timed cannot be in time"


# --- the graph -----------------------------------------------------------------------------------------------------
def episode(start: str, success: bool | None, steps: int = 8, moved: float = 0.0) -> Episode:
    state = {name: np.zeros((steps + 1, stream.size), np.float32) for name, stream in EMBODIMENT.state.items()}
    state["eef_position"][-1, 0] = moved
    return Episode(
        episode_id=start,
        task="",
        embodiment=EMBODIMENT.name,
        stamps=np.arange(steps + 1) * EMBODIMENT.step_s,
        state=state,
        actions=np.zeros((steps, 7), np.float32),
        frame_steps=np.empty(0, np.int64),
        images={},
        success=success,
        start_id=start,
    )


START = "libero_goal/8/i0"
DONE = Trial(START, "policy", True, 8, 1.0, Conduct(states=states_digest(episode(START, True).state)))


@pytest.mark.parametrize(
    ("live", "says", "says_of_one_that_draws"),
    [
        (episode(START, True), "", ""),
        (episode(START, False), "not solved over the graph, solved in process", "not solved over the graph"),
        (episode(START, None), "cancelled over the graph, solved in process", "cancelled over the graph"),
        (episode(START, True, steps=12), "12 steps over the graph, 8 in process", ""),
        (episode(START, True, moved=1e-6), "alike in outcome and steps (8), but the arm's states differ", ""),
        (None, "there is no whole episode in the graph's bag", "there is no whole episode"),
    ],
)
def test_graph_and_process_must_agree(live: Episode | None, says: str, says_of_one_that_draws: str) -> None:
    recorded = {} if live is None else {live.start_id: live}
    for draws, expected in ((False, says), (True, says_of_one_that_draws)):
        check = agreement([DONE], recorded, draws=draws)
        assert check.passed == (not expected)
        assert expected in check.message


def test_a_graph_that_fails_is_a_failed_check_that_names_its_log(tmp_path: Path, monkeypatch: Any) -> None:
    from world2act_core.recipes.regression import graph

    monkeypatch.setattr(graph, "looked_through", lambda policy, contract: ("agentview",))
    check = graph.graph_check("replay:/nowhere", [DONE], "libero_panda", tmp_path, draws=False)
    assert not check.passed and str(tmp_path / "graph" / "graph.log") in check.message
    assert (tmp_path / "graph" / "graph.log").is_file()


# --- what is asked, and what is written ----------------------------------------------------------------------------
def test_suites_and_their_perturbed_versions_are_entries_by_name() -> None:
    entries = planned_entries(question(suites=("libero_goal", "libero_goal_swap"), tasks=(0, 8)))
    assert [entry.id for entry in entries] == [
        "libero_goal/0",
        "libero_goal/8",
        "libero_goal_swap/0",
        "libero_goal_swap/8",
    ]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"suites": ()}, "no suite is named"),
        ({"suites": ("libero_gold",)}, "no horizon is published"),
        ({"policy": "gr8t:x"}, "no known scheme"),
        ({"tasks": (3,)}, "no baseline has trials of libero_goal/3"),
        ({"episodes": 5}, "5 starts of libero_goal/8 can show nothing at alpha 0.05, .* need 6 or more"),
        ({"alpha": 0.0}, "margin 0 and alpha 0 ask nothing"),
        ({"non_inferior": 1.5}, "margin 150 and alpha 0.05 ask nothing"),
        ({"suites": ("libero_goal_swap",)}, "no baseline has trials of libero_goal_swap/8"),
        ({"graph_episodes": 1}, "cannot act through the ROS 2 graph"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_a_trial(baseline: Path, changes: Any, says: str) -> None:
    with pytest.raises(World2ActError, match=says):
        planned_entries(question(**{"against": (baseline,), **changes}))


def test_a_baseline_of_another_protocol_is_refused(tmp_path: Path, baseline: Path) -> None:
    raw = json.loads(baseline.read_text())
    raw["protocol"]["horizon"] = 600
    (tmp_path / "evaluation.json").write_text(json.dumps(raw))
    with pytest.raises(RunError, match=r"differs in protocol .*'horizon': 600.*cannot be paired"):
        planned_entries(question(against=(tmp_path,)))
    with pytest.raises(RunError, match="2 baselines have trials"):
        planned_entries(question(against=(baseline, baseline)))
    (tmp_path / "none").mkdir()
    with pytest.raises(RunError, match=r"holds no evaluation\.json"):
        planned_entries(question(against=(tmp_path / "none",)))


def test_a_baseline_whose_tasks_differ_in_horizon_is_compared_task_by_task(tmp_path: Path, baseline: Path) -> None:
    raw = json.loads(baseline.read_text())
    raw["protocol"]["horizon"] = {"3": 700, "8": 300}
    (tmp_path / "evaluation.json").write_text(json.dumps(raw))
    assert len(planned_entries(question(against=(tmp_path,)))) == 1
    raw["protocol"]["horizon"]["8"] = 301
    (tmp_path / "evaluation.json").write_text(json.dumps(raw))
    with pytest.raises(RunError, match="'horizon': 301"):
        planned_entries(question(against=(tmp_path,)))


def test_a_baseline_of_another_look_is_said(tmp_path: Path, baseline: Path) -> None:
    raw = json.loads(baseline.read_text())
    raw["rendering"]["image_size"] = 256
    (tmp_path / "evaluation.json").write_text(json.dumps(raw))
    found = checked(tmp_path / "out", ToyPool(), against=(tmp_path / "evaluation.json",))
    assert found.passed and found.checks["success"].message.endswith("; note: not the baseline's: rendering")


def test_a_baseline_with_fewer_starts_bounds_the_episodes(tmp_path: Path) -> None:
    short = make_baseline(tmp_path, ToyPool(), episodes=7)
    (entry,) = planned_entries(question(against=(short,), episodes=20))
    assert entry.episodes == 7 and entry.baseline is not None and len(entry.baseline.trials) == 7


def test_an_evaluation_of_before_conduct_was_kept_is_still_a_baseline(tmp_path: Path, baseline: Path) -> None:
    raw = json.loads(baseline.read_text())
    for key in ("safety", "latency"):
        del raw[key]
    for trial in raw["trials"]:
        del trial["conduct"]
    (tmp_path / "evaluation.json").write_text(json.dumps(raw))
    (entry,) = planned_entries(question(against=(tmp_path,)))
    assert entry.baseline is not None and {trial.conduct for trial in entry.baseline.trials} == {None}


def test_the_verdict_and_the_report_say_what_was_found(tmp_path: Path, baseline: Path) -> None:
    asked = question(against=(baseline,))
    (entry,) = planned_entries(asked)
    good = check_entry(asked, entry, tmp_path, ToyPool())
    assert conclude(asked, [good], tmp_path)
    verdict = json.loads((tmp_path / "verdict.json").read_text())
    assert verdict["passed"] and verdict["entries"][0]["checks"]["success"]["figures"]["decision"] == "open"
    assert verdict["entries"][0]["folder"] == "libero_goal/8"
    bad = replace(
        good, checks={**good.checks, "safety": safety_check(trials(conduct({"workspace": 1})), [], SafetyLimits())}
    )
    assert not conclude(asked, [bad], tmp_path)
    assert not conclude(asked, [good], tmp_path, broken=["libero_goal/9: the simulator broke"])
    assert not conclude(asked, [], tmp_path), "nothing tried is nothing shown"
    conclude(asked, [bad], tmp_path)
    report = (tmp_path / "report.html").read_text()
    assert "FAIL: 1 checks" in report and "none is allowed without a baseline" in report


def test_a_file_in_the_way_of_the_verdict_is_said_before_a_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = ToyPool()
    monkeypatch.setattr(workers, "WorkerPool", lambda *_: pool)
    (tmp_path / "file").write_text("mine")
    command = ["gate", "--policy", DEMONSTRATOR, "--suite", "libero_goal", "--tasks", "8"]
    assert main([*command, "--out", str(tmp_path / "file")]) == 2
    assert "file cannot be a folder, there is a file in its way" in capsys.readouterr().err and pool.jobs == []


def run_gate(out: Path, baseline: Path, *more: str) -> int:
    named = ["--policy", DEMONSTRATOR, "--suite", "libero_goal", "--tasks", "8", "--out", str(out)]
    return main(["gate", *named, "--against", str(baseline), *more])


@pytest.mark.parametrize(("succeeds", "code", "verdict"), [(lambda job: True, 0, "PASS"), (never, 1, "FAIL")])
def test_the_gates_exit_code_is_the_answer(
    tmp_path: Path,
    baseline: Path,
    succeeds: Callable[[SuiteTrial], bool],
    code: int,
    verdict: str,
    monkeypatch: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(workers, "WorkerPool", lambda workers: ToyPool(succeeds))
    assert run_gate(tmp_path, baseline) == code
    said = capsys.readouterr().out
    assert f"Verdict: {verdict}" in said and "libero_goal/8  safety: limit hits: none" in said
    assert json.loads((tmp_path / "verdict.json").read_text())["passed"] == (code == 0)


def test_what_belongs_to_a_run_and_to_any_policy_is_not_mixed(
    tmp_path: Path, baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_gate(tmp_path, baseline, "runs/demo") == 2
    assert run_gate(tmp_path, baseline, "--starts", "9") == 2
    assert run_gate(tmp_path, baseline, "--episodes", "3") == 2
    assert main(["gate"]) == 2
    said = capsys.readouterr().err
    for words in (
        "RUN and --policy do not go together",
        "--starts does nothing in 'world2act gate --policy ADDRESS'",
        "can show nothing",
        "name a run folder",
    ):
        assert words in said
    assert not list(tmp_path.iterdir())
