"""``world2act results``: one page, what it says, and what it says of a folder that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.evaluation import stored_results as stored
from world2act_core.cli import main


def test_it_writes_the_page_and_tells_what_it_could_not_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored.evaluation(tmp_path / "eval", {0: "10", 8: "11"})
    (tmp_path / "eval" / "old").mkdir()
    (tmp_path / "eval" / "old" / "results.json").write_text("{")
    out = tmp_path / "reports" / "results.html"
    assert main(["results", str(tmp_path / "eval"), "--out", str(out)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"not read: {tmp_path / 'eval' / 'old' / 'results.json'}: is not JSON")
    assert said[1] == f"1 files of results, 2 rows; 1 not read; page: {out}"
    assert out.read_text().startswith("<!DOCTYPE html>")
    assert main(["results", str(tmp_path / "eval"), "--out", str(out)]) == 0, "again, over the earlier page"


def test_a_folder_that_is_not_there_or_a_page_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "results.html"
    assert main(["results", str(tmp_path / "none"), "--out", str(out)]) == 2 and not out.exists()
    assert "none does not exist: name folders in which results lie" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["results", str(tmp_path), "--out", str(tmp_path / "file" / "results.html")]) == 2
    assert "cannot be written" in capsys.readouterr().err
