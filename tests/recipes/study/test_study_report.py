"""The tables that end a study say what the analysis found, in every form."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.recipes.study.test_analysis import BASE, GAIN, NEW, plan_with, records_of
from world2act_core.recipes.study import report
from world2act_core.recipes.study.analysis import Findings, analyse
from world2act_core.recipes.study.plan import StudyPlan

NOT_WORSE = replace(GAIN, kind="not worse", margin=5.0)


@pytest.fixture
def findings() -> Findings:
    plan = plan_with(replace(GAIN, at_least=60.0), NOT_WORSE)
    return analyse(plan, records_of(plan, {"base": BASE, "new": NEW}))


def test_the_terminal_shows_rates_differences_and_verdicts(findings):
    text = report.as_text(findings)
    assert text.isascii()
    assert re.search(r"^new +7/16 +|^new +8/16 +8/16 +16/32 +50\.0 % ", text, re.MULTILINE)
    assert re.search(r"^new better than base +held-out +32 +\+31\.2 ", text, re.MULTILINE)
    assert "better; at least +60 points were aimed at" in text
    assert "1 of 2 planned comparisons came out as planned" in text


def test_markdown_names_command_plan_and_machine_but_no_path_of_it(findings):
    text = report.as_markdown(findings, Path("/home/someone/plan.yaml"))
    assert text.startswith("`world2act study plan.yaml`, plan SHA-256 `p`, on 2 cores of x.")
    assert "/home" not in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines if "better than" in line or "not worse by" in line} == {11}
    assert "world2act study recipes/a.yaml" in report.as_markdown(findings, Path("recipes/a.yaml"))


def test_the_page_needs_nothing_else_and_leads_with_the_first_comparison(findings, tmp_path):
    path = tmp_path / "report.html"
    report.write_page(findings, Path("plan.yaml"), path)
    html = path.read_text()
    assert not re.search(r"https?://|url\(|@import|<script", html)
    assert "1 of 2 planned comparisons came out as planned." in html
    assert html.index("new less base") < html.index("success rates</h2>")
    assert "16/32" in html and "Held-out starts: success rates" in html


@pytest.mark.parametrize(
    ("new", "headline"),
    [
        ((NEW[0], NEW[1], NEW[2], ""), "The study is not finished: 1 of 4 cells lack something."),
        (NEW, "1 of 1 planned comparisons came out as planned."),
    ],
)
def test_an_unfinished_study_does_not_boast(new, headline, tmp_path):
    plan: StudyPlan = plan_with(GAIN)
    findings = analyse(plan, records_of(plan, {"base": BASE, "new": new}))
    assert report.headline(findings) == headline
    text = report.as_text(findings)
    assert ("Missing: libero_object_0_s1: new." in text) == ("not finished" in headline)
    assert ("24 of 32" in text and "unfinished" in text) == ("not finished" in headline)
    report.write_page(findings, Path("plan.yaml"), tmp_path / "page.html")
