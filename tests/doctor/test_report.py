"""What decides the exit code, and how findings are shown."""

from __future__ import annotations

import json

import pytest

from world2act_core import doctor
from world2act_core.cli import main
from world2act_core.doctor.report import as_table, demo_ready, examine
from world2act_core.doctor.types import Check, Finding

FINE = Finding("ok", "1.0")
GONE = Finding("missing", "not installed", "make setup")


def check(name: str, finding: Finding, needed: bool = True) -> Check:
    return Check(name, needed, lambda: finding)


def test_an_optional_part_does_not_hold_the_demo_up() -> None:
    assert demo_ready(examine([check("torch", FINE), check("RealSense", GONE, needed=False)]))


def test_a_needed_part_does() -> None:
    assert not demo_ready(examine([check("torch", GONE), check("disk", FINE)]))


def test_the_table_keeps_the_order_and_shows_the_mend() -> None:
    lines = as_table(examine([check("torch", GONE), check("RealSense", GONE, needed=False)])).splitlines()
    assert lines[0].split() == ["torch", "missing", "not", "installed"]
    assert lines[1].strip() == "→ make setup"
    assert lines[2].startswith("RealSense  missing, optional")
    assert lines[-1] == "The demo still needs: torch."


@pytest.mark.parametrize(("finding", "code"), [(FINE, 0), (GONE, 1)])
def test_the_exit_code_says_whether_the_demo_can_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], finding: Finding, code: int
) -> None:
    monkeypatch.setattr(doctor, "CHECKS", (check("torch", finding),))
    assert main(["doctor", "--json"]) == code
    assert json.loads(capsys.readouterr().out)["demo_ready"] is (code == 0)
