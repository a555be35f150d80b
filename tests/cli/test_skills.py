"""``world2act skills``: what a user types and reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.skills.logged import carrying, contract_file, write_bag
from world2act_core.calibration.gripper_width import GripperWidth
from world2act_core.calibration.store import write_gripper
from world2act_core.cli import main
from world2act_core.embodiment import load_embodiment
from world2act_core.episodes import BagWriter


def build(tmp_path: Path, *more: str) -> int:
    bag = write_bag(tmp_path / "bag", carrying(1), carrying(2, cycles=2))
    command = ["skills", "build", str(bag), "--out", str(tmp_path / "out"), "--embodiment", contract_file(tmp_path)]
    return main([*command, "--form", "bags", *more])


def test_build_prints_the_rate_and_where_the_report_is(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert build(tmp_path) == 0
    printed = capsys.readouterr().out
    assert "1 of 2" in printed
    assert f"report: {tmp_path / 'out' / 'report.html'}" in printed
    assert (tmp_path / "out" / "report.html").exists()
    assert (tmp_path / "out" / "contact_sheet.png").exists()


def test_inspect_lists_what_was_discarded_and_why(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    build(tmp_path)
    (tmp_path / "out" / "report.html").unlink()
    capsys.readouterr()
    assert main(["skills", "inspect", str(tmp_path / "out"), "--discarded"]) == 0
    printed = capsys.readouterr().out
    assert "logged-2: more events than steps" in printed
    assert (tmp_path / "out" / "report.html").exists()


def test_the_papers_rule_can_be_asked_for(tmp_path: Path) -> None:
    assert build(tmp_path, "--segmenter", "gripper") == 0


def test_a_data_set_without_a_clip_is_a_no(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", carrying(2, cycles=2))
    command = ["skills", "build", str(bag), "--out", str(tmp_path / "out"), "--embodiment", contract_file(tmp_path)]
    assert main([*command, "--form", "bags"]) == 1


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--decomposer", "local"], "needs --model"),
        (["--decomposer", "endpoint"], "WORLD2ACT_LLM_API_KEY"),
        (["--codec", "mpeg1", "--form", "lerobot"], "mpeg1"),
    ],
)
def test_what_cannot_work_is_one_sentence_before_anything_is_read(
    tmp_path: Path,
    more: list[str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("WORLD2ACT_LLM_API_KEY", raising=False)
    assert build(tmp_path, *more) == 2
    printed = capsys.readouterr().err.strip().splitlines()[-1]
    assert printed.startswith("world2act skills: ")
    assert sentence in printed
    assert not (tmp_path / "out" / "journal.jsonl").exists()


def test_inspecting_another_folder_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["skills", "inspect", str(tmp_path)]) == 2
    assert "world2act skills build" in capsys.readouterr().err


def a_knuckle(folder: Path) -> tuple[Path, str]:
    """The same hand behind a driver that reports its knuckle's angle, 0 where it is open: 0.1 rad a centimetre."""
    contract = yaml.safe_load(Path(contract_file(folder)).read_text())
    contract["name"] = "knuckle"
    contract["state"]["gripper_positions"] |= {"units": "rad", "joints": ["knuckle"]}
    file = folder / "knuckle.yaml"
    file.write_text(yaml.safe_dump(contract))
    robot, episode = load_embodiment(file), carrying(1)
    width = np.abs(episode.state["gripper_positions"]).sum(axis=1, keepdims=True)
    state = {**episode.state, "gripper_positions": (10 * (0.08 - width)).astype(np.float32)}
    with BagWriter(folder / "bag", robot) as writer:
        writer.write_episode(replace(episode, embodiment="knuckle", state=state))
    return folder / "bag", str(file)


def measured(folder: Path) -> Path:
    """As `world2act calibrate gripper` stores it."""
    result = GripperWidth(0.08, 0.0, 0.03, 0.0, 0.03, (), 2, scale=-0.1, offset_m=0.08)
    return write_gripper(folder, result, date="2026-01-01T00:00:00+00:00")


def test_a_gripper_that_reports_no_metres_must_have_been_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bag, contract = a_knuckle(tmp_path)
    command = ["skills", "build", str(bag), "--embodiment", contract, "--form", "bags", "--out"]
    assert main([*command, "first"]) == 1
    assert main(["skills", "inspect", "first", "--discarded"]) == 0
    assert "is in 'rad', segmentation needs metres: measure what that means with world2act" in capsys.readouterr().out
    measured(tmp_path / "calibration" / "knuckle")
    assert main([*command, "second"]) == 0
    said = capsys.readouterr().out
    assert "1 of 1" in said and "gripper: w_0 80.00 mm (calibration/knuckle/gripper.yaml)" in said


def test_stored_widths_are_used_by_themselves_options_win_and_it_is_said_which(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bag = write_bag(tmp_path / "bag", carrying(1))
    command = ["skills", "build", str(bag), "--embodiment", contract_file(tmp_path), "--form", "bags"]
    command += ["--segmenter", "gripper"]
    assert main([*command, "--out", "paper"]) == 0
    assert "gripper: w_0 80.00 mm (the contract), Delta 50.00 mm (the paper)" in capsys.readouterr().out
    stored = measured(tmp_path / "elsewhere")
    assert main([*command, "--out", "stored", "--calibration", str(stored.parent), "--fully-open", "0.079"]) == 0
    assert f"w_0 79.00 mm (as given), Delta 30.00 mm ({stored})" in capsys.readouterr().out
    assert main([*command, "--out", "wide", "--delta", "0.06"]) == 1, "the thing of 30 mm leaves only 50"
    assert "Delta 60.00 mm (as given)" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*command, "--out", "mm", "--delta", "50"])
    assert "50 is no width of a gripper: metres are wanted" in capsys.readouterr().err


def test_a_calibration_that_was_named_must_be_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build(tmp_path, "--calibration", str(tmp_path / "nowhere")) == 2
    assert "make one with world2act calibrate gripper" in capsys.readouterr().err
