"""What the results page computes in the browser, run by Node.js on real data: Python's figures are the truth."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.evaluation import stored_results as stored
from world2act_core.evaluation.statistics import exact_paired_p, paired_difference_interval, wilson_interval
from world2act_core.evaluation.suite import pair_suites, read_suite
from world2act_core.recipes.results import page
from world2act_core.recipes.results.collect import collect
from world2act_core.recipes.results.content import content

LOGIC = Path(page.__file__).with_name("logic.js").read_text(encoding="utf-8")
pytestmark = pytest.mark.skipif(
    shutil.which("node") is None, reason="Node.js, which runs the page's script, is missing"
)


def javascript(expression: str, data: Any = None) -> Any:
    """The value of an expression in which ``data`` is given and everything of ``logic.js`` is known."""
    script = f"{LOGIC}\nconst data = JSON.parse(require('fs').readFileSync(0));\n"
    script += f"process.stdout.write(JSON.stringify({expression}));"
    command = ["node", "--input-type=commonjs", "--eval", script]
    done = subprocess.run(command, input=json.dumps(data), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def unfolded(folder: Path) -> dict[str, Any]:
    return {**content(collect([folder]), folder), "folder": str(folder)}


def test_the_intervals_and_the_exact_test_are_pythons() -> None:
    rng = random.Random(0)
    tables = [[rng.randrange(0, size) for _ in range(4)] for size in (2, 5, 40, 400, 3000) for _ in range(40)]
    tables = [table for table in tables if sum(table)] + [
        [0, 0, 0, 7],
        [9, 0, 0, 0],
        [0, 1500, 1501, 0],
        [0, 0, 1200, 0],
    ]
    found = javascript(
        "data.map(([both, a, b, neither]) => [wilson(both + a, both + a + b + neither), exactPairedP(a, b),"
        " pairedInterval(both, a, b, neither)])",
        tables,
    )
    for (both, a, b, neither), (rate, p, difference) in zip(tables, found, strict=True):
        assert rate == pytest.approx(wilson_interval(both + a, both + a + b + neither), abs=1e-12)
        assert p == pytest.approx(exact_paired_p(a, b), rel=1e-13, abs=1e-300)
        assert difference == pytest.approx(paired_difference_interval(both, a, b, neither), abs=1e-12)


def test_a_comparison_counts_the_starts_that_both_have_as_eval_against_does(tmp_path: Path) -> None:
    stored.evaluation(tmp_path / "a", {0: "1100", 8: "0000001"})
    stored.evaluation(tmp_path / "b", {0: "10", 8: "111111110"}, policy="compact:b.pt")
    pairs = pair_suites(*(read_suite(tmp_path / name / "evaluation.json") for name in "ab"))
    found = javascript("compared(...pooled(unfold(data)))", unfolded(tmp_path))
    assert (found["n"], found["left"]) == (pairs.n, 4)
    counts = [found[name] for name in ("both", "onlyA", "onlyB", "neither")]
    assert counts == [pairs.count(name) for name in ("both", "only base", "only post-trained", "neither")]
    assert (found["a"], found["b"]) == (pairs.base_successes, pairs.post_successes)
    assert found["p"] == pytest.approx(pairs.p_value, rel=1e-13) and found["verdict"] == pairs.verdict
    assert found["difference"] == pytest.approx(pairs.difference)
    assert found["interval"] == pytest.approx(pairs.difference_interval, abs=1e-12)
    assert javascript("((rows) => compared(rows[0], rows[1]))(unfold(data))", unfolded(tmp_path)) is None


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({}, ""),
        ({"protocol": {"horizon": 300, "controller": "OSC_POSE"}}, ""),
        ({"protocol": {"controller": "OSC_POSE", "horizon": 600}}, "the results differ in protocol"),
        ({"embodiment": {"name": "libero_panda", "sha256": "56"}}, "the results differ in embodiment"),
        ({"embodiment": {"name": "fr3", "sha256": "34cd"}}, "the embodiments differ (libero_panda against fr3)"),
    ],
)
def test_what_is_not_the_same_trial_is_not_paired(tmp_path: Path, changes: dict[str, Any], refusal: str) -> None:
    stored.evaluation(tmp_path / "a", {0: "1100"})
    stored.evaluation(tmp_path / "b", {0: "1000"}, policy="compact:b.pt", **changes)
    assert javascript("unpairable(...unfold(data), data.files)", unfolded(tmp_path)) == refusal


def test_what_may_change_an_outcome_is_said(tmp_path: Path) -> None:
    stored.evaluation(tmp_path / "a", {0: "1100"})
    stored.evaluation(tmp_path / "b", {0: "1100"}, policy="compact:b.pt")
    stored.evaluation(tmp_path / "c", {0: "1000"}, policy="compact:c.pt", versions={}, commit="")
    stored.edit(tmp_path / "c" / "evaluation.json", lambda raw: raw.update(assets="placeholder"))
    said = javascript("((r) => [caveats(r[0], r[1], data.files), caveats(r[0], r[2], data.files)])(unfold(data))",
                      unfolded(tmp_path))  # fmt: skip
    assert said == [[], ["assets is not stated by both", "versions differs", "commit is not stated by both"]]


def test_filters_and_words_keep_the_rows_that_they_name(tmp_path: Path) -> None:
    stored.evaluation(tmp_path / "a", {0: "10", 8: "11"})
    stored.evaluation(tmp_path / "b", {8: "00"}, suite="libero_object", policy="compact:B.pt", commit="beef")
    stored.run(tmp_path / "demo", "01", "11")
    kept = "data.wanted.map((wanted) => unfold(data).filter((row) => passes(row, wanted)).map((row) => row.id))"
    wanted = [
        {},
        {"task": "8"},
        {"suite": "libero_goal", "task": "8"},
        {"policy": "compact:B.pt"},
        {"commit": "beef", "kind": "run"},
        {"words": " b.PT  object"},
        {"words": "instruction"},
        {"assets": ""},
        {"assets": "placeholder"},
    ]
    found = javascript(kept, {**unfolded(tmp_path), "wanted": wanted})
    ids = ["0", "1", "2", "3", "4"]  # a task 0, a task 8, b, run's base, run's post-trained
    assert found == [ids, ids[1:], ["1", "3", "4"], ["2"], [], ["2"], ["0", "1", "2"], ids, []]


def test_tasks_in_one_row_are_their_trials_together(tmp_path: Path) -> None:
    stored.evaluation(tmp_path, {0: "1110", 8: "10"})

    def extend(raw: dict[str, Any]) -> None:
        raw["latency"] = {"p99_ms": 12.5}
        for entry in raw["tasks"]:
            entry["holds"] = entry["task"]
        for trial in raw["trials"][:5]:
            trial["jerk"] = 2.0 if "/0/" in trial["start_id"] else 7.0

    stored.edit(tmp_path / "evaluation.json", extend)
    (row,) = javascript("pooled(unfold(data))", unfolded(tmp_path))
    assert (row["successes"], row["n"], row["outcomes"], row["starts"]) == (4, 6, "111010", [0, 1, 2, 3, 4, 5])
    assert row["metrics"] == {"jerk": [3.0, 5], "latency.p99_ms": [12.5, 0]}
    assert row["steps"] == pytest.approx(sum((100, 101, 102, 103, 100, 101)) / 6)
    assert (row["suite"], row["task"]) == ("libero_goal", "2 tasks")


def test_columns_sort_numbers_as_numbers_and_what_is_missing_comes_last(tmp_path: Path) -> None:
    stored.evaluation(tmp_path, {2: "10", 10: "11", 1: "00"})
    stored.edit(
        tmp_path / "evaluation.json", lambda raw: raw["trials"][0].update(jerk=3) or raw["trials"][4].update(jerk=5)
    )
    orders = [["task", False], ["task", True], ["rate", True], ["metric jerk", False], ["metric jerk", True]]
    found = javascript("data.orders.map(([c, down]) => sorted(unfold(data), c, down).map((row) => row.task))",
                       {**unfolded(tmp_path), "orders": orders})  # fmt: skip
    assert found == [["1", "2", "10"], ["10", "2", "1"], ["10", "2", "1"], ["2", "1", "10"], ["1", "2", "10"]]


def test_histories_are_a_chart_a_task_with_a_curve_a_policy_oldest_first(tmp_path: Path) -> None:
    for name, day, outcomes in (("a", 9, "11"), ("b", 2, "10"), ("c", 5, "00")):
        policy = "compact:c.pt" if name == "c" else "compact:a.pt"
        stored.evaluation(tmp_path / name, {0: outcomes}, policy=policy, finished=f"2026-01-0{day}T00:00:00+00:00")
    stored.evaluation(tmp_path / "d", {8: "11"}, finished="2026-01-01T00:00:00+00:00")
    found = javascript(
        "histories(unfold(data)).map(([name, curves]) => [name, [...curves].map(([policy, rows]) =>"
        " [policy, rows.map((row) => row.successes)])])",
        unfolded(tmp_path),
    )
    assert found == [
        ["libero_goal/0", [["compact:a.pt", [1, 2]], ["compact:c.pt", [0]]]],
        ["libero_goal/8", [["compact:a.pt", [2]]]],
    ]


def test_numbers_read_as_they_do_in_the_other_reports() -> None:
    cases = {
        "percent(0.8)": "80.0 %",
        "percentInterval([0.652, 0.895])": "65.2 to 89.5 %",
        "points(0.65)": "+65.0",
        "points(-0.1)": "−10.0",
        "points(0)": "±0.0",
        "pValue(0.0156)": "p = 0.016",
        "pValue(3e-8)": "p = 3.0e-08",
        "pValue(1.2e-12)": "p = 1.2e-12",
        "number(0.123456)": "0.1235",
        "number(7)": "7",
        "number(null)": "",
    }
    assert javascript(f"[{', '.join(cases)}]") == list(cases.values())


def test_the_script_is_whole() -> None:
    """Node parses what the page holds, though it has no document to run it in."""
    done = subprocess.run(["node", "--check", "-"], input=page.script(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list(page.FILTERS) and sorted(page.FILTERS) == sorted(javascript("FILTERS"))
