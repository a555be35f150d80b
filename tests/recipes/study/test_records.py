"""A cell's record keeps what its trials say of themselves."""

from __future__ import annotations

import json
from pathlib import Path

from world2act_core.evaluation import Trial
from world2act_core.recipes.study.plan import Cell
from world2act_core.recipes.study.records import CellRecord, MethodRecord, read_record, write_record


def test_a_trial_that_was_begun_twice_keeps_its_mark_and_others_have_none(tmp_path: Path) -> None:
    trials = (Trial("s0", "base", True, 80, 2.5), Trial("s1", "base", False, 300, 9.0, attempts=2))
    method = MethodRecord({"held_out": trials}, 2.0, {}, False, "digest", "c0ffee")
    record = CellRecord("s", Cell("libero_goal", 8, 0), "p", "s", True, {"base": method}, {}, {"cores": 2})
    write_record(tmp_path / "cell.json", record)
    stored = json.loads((tmp_path / "cell.json").read_text())["methods"]["base"]["trials"]["held_out"]
    assert stored == [["s0", True, 80, 2.5], ["s1", False, 300, 9.0, 2]]
    assert read_record(tmp_path / "cell.json").methods["base"].trials["held_out"] == trials
