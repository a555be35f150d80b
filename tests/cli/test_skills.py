"""``world2act skills``: what a user types and reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.skills.logged import carrying, contract_file, write_bag
from world2act_core.cli import main


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
