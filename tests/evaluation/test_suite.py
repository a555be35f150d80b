"""An evaluation of one policy on a suite: what is written, what is said, and what it may be compared with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from world2act_core.errors import RunError
from world2act_core.evaluation.suite import (
    SuiteResults,
    against_table,
    pair_suites,
    read_suite,
    suite_table,
    write_suite,
)
from world2act_core.evaluation.trials import Trial


def results(first: str, second: str = "", policy: str = "compact:a.pt") -> SuiteResults:
    """Outcomes of tasks 0 and 8 as strings of 0 and 1."""
    trials = [
        Trial(f"libero_goal/{task}/i{index}", "policy", outcome == "1", 100 + index, 2.5)
        for task, outcomes in ((0, first), (8, second))
        for index, outcome in enumerate(outcomes)
    ]
    words = {0: "open the middle drawer", 8: "put the bowl on the plate"}
    return SuiteResults(
        suite="libero_goal",
        policy={"address": policy, "identity": {"a.pt": "12ab"}, "metadata": {}},
        protocol={"controller": "OSC_POSE", "horizon": 300},
        embodiment={"name": "libero_panda", "sha256": "34cd"},
        rendering={"image_size": 128},
        instructions={task: text for task, text in words.items() if task == 0 or second},
        trials=tuple(trials),
        versions={"mujoco": "3.17.0"},
    )


def test_the_whole_table() -> None:
    assert suite_table(results("1" * 12 + "0" * 38, "1" * 45 + "0" * 5)).splitlines() == [
        "libero_goal, official initial states; policy compact:a.pt",
        "--------------------------------------------------------------",
        "task                         successes    rate   95 % interval",
        "--------------------------------------------------------------",
        "0 open the middle drawer         12/50  24.0 %  14.3 to 37.4 %",
        "8 put the bowl on the plate      45/50  90.0 %  78.6 to 95.7 %",
        "--------------------------------------------------------------",
        "all                             57/100  57.0 %  47.2 to 66.3 %",
    ]


def test_it_survives_its_file_and_names_every_start_with_its_outcome(tmp_path: Path) -> None:
    written = results("101", "01")
    write_suite(tmp_path / "evaluation.json", written)
    assert read_suite(tmp_path / "evaluation.json") == written
    raw = json.loads((tmp_path / "evaluation.json").read_text())
    assert {trial["start_id"]: trial["success"] for trial in raw["trials"]} == {
        "libero_goal/0/i0": True,
        "libero_goal/0/i1": False,
        "libero_goal/0/i2": True,
        "libero_goal/8/i0": False,
        "libero_goal/8/i1": True,
    }
    assert raw["tasks"][0]["successes"] == 2 and raw["all"]["n"] == 5


def test_an_edited_file_is_refused(tmp_path: Path) -> None:
    write_suite(tmp_path / "evaluation.json", results("000"))
    raw = json.loads((tmp_path / "evaluation.json").read_text())
    raw["tasks"][0]["successes"] = raw["all"]["successes"] = 3
    (tmp_path / "evaluation.json").write_text(json.dumps(raw))
    with pytest.raises(RunError, match="do not follow from its trials"):
        read_suite(tmp_path / "evaluation.json")
    del raw["trials"]
    (tmp_path / "evaluation.json").write_text(json.dumps(raw))
    with pytest.raises(RunError, match="is incomplete"):
        read_suite(tmp_path / "evaluation.json")


def test_the_paired_table_is_the_exact_test_on_the_same_starts() -> None:
    other, this = results("0" * 8 + "11", "01"), results("1" * 10, "10", policy="onnx:b")
    table = against_table(other, this)
    assert table.splitlines()[:6] == [
        "other: compact:a.pt",
        "new:   onnx:b",
        "",
        "task                         other    new  gained  lost",
        "0 open the middle drawer      2/10  10/10       8     0",
        "8 put the bowl on the plate    1/2    1/2       1     1",
    ]
    assert "9 starts gained, 1 lost, 2 alike; exact paired test p = 0.021" in table
    assert table.endswith("Verdict: The new policy is better than the other policy.")


def test_starts_of_one_side_only_are_left_out_and_counted() -> None:
    other, this = results("0101", "11"), results("01")
    assert pair_suites(other, this).n == 2
    assert "4 trials on starts that only one side has are left out" in against_table(other, this)


def test_other_protocols_cannot_be_paired() -> None:
    longer = replace(results("01"), protocol={"controller": "OSC_POSE", "horizon": 600})
    with pytest.raises(RunError, match=r"differ in protocol .*'horizon': 600.*cannot be paired"):
        pair_suites(longer, results("01"))
    with pytest.raises(RunError, match="differ in suite"):
        pair_suites(replace(results("01"), suite="libero_goal_swap"), results("01"))
    elsewhere = replace(results("01"), trials=(Trial("libero_goal/0/i40", "policy", True, 9, 1.0),))
    with pytest.raises(RunError, match="no start in common"):
        pair_suites(elsewhere, results("01"))


def test_what_may_change_an_outcome_unmeant_is_said() -> None:
    other = replace(results("01"), versions={"mujoco": "3.3.1"}, rendering={"image_size": 256})
    table = against_table(other, results("01"))
    assert "note: rendering differs" in table and "note: versions differs" in table
    assert "differs" not in against_table(results("01"), results("01"))


def test_what_was_simulated_with_stand_ins_says_so_wherever_it_is_shown(tmp_path: Path) -> None:
    own = replace(results("101"), protocol={"starts": "seeds", "assets": "robocasa"})
    stand_ins = replace(own, protocol={"starts": "seeds", "assets": "placeholder"})
    label = "assets: placeholder (stand-ins for the benchmark's own: no result about the benchmark)"
    assert suite_table(stand_ins).splitlines()[:2] == ["libero_goal, seeds; policy compact:a.pt", label]
    assert against_table(stand_ins, stand_ins).startswith(label)
    assert "assets" not in suite_table(own) + against_table(own, own)
    write_suite(tmp_path / "evaluation.json", stand_ins)
    assert json.loads((tmp_path / "evaluation.json").read_text())["protocol"]["assets"] == "placeholder"
    with pytest.raises(RunError, match="differ in protocol"):
        pair_suites(own, stand_ins)


def test_time_limits_of_tasks_that_only_one_side_tried_do_not_keep_the_others_apart() -> None:
    """RoboCasa has a limit a task."""
    one = replace(results("101"), protocol={"horizon": 450})
    both = replace(results("111", "01"), protocol={"horizon": {"0": 450, "8": 300}})
    assert pair_suites(one, both).n == 3
    with pytest.raises(RunError, match="differ in protocol"):
        pair_suites(one, replace(both, protocol={"horizon": {"0": 300, "8": 300}}))
