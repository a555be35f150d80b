"""``world2act gate``: an option that does nothing in the chosen mode is refused, and told where it does."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from world2act_core.cli import USAGE_ERROR, build_parser, main
from world2act_core.cli.gate import run
from world2act_core.errors import World2ActError
from world2act_core.recipes.regression_options import OPTIONS, regression

RUN = "gate RUN"
CHECK = "gate RUN --check"
POLICY = "gate --policy ADDRESS"


@pytest.mark.parametrize(
    ("given", "option", "chosen", "belongs"),
    [
        ("RUN --ros --max-jerk 5", "--max-jerk", RUN, POLICY),
        ("RUN --ros", "--ros", RUN, POLICY),
        ("RUN --episodes 20", "--episodes", RUN, POLICY),
        ("RUN --suite libero_goal", "--suite", RUN, POLICY),
        ("RUN --embodiment franka_fr3", "--embodiment", RUN, CHECK),
        ("RUN --max-age-days 1", "--max-age-days", RUN, CHECK),
        ("RUN --check --non-inferior 5", "--non-inferior", CHECK, f"{RUN}' or 'world2act {POLICY}"),
        ("RUN --check --alpha 0.05", "--alpha", CHECK, f"{RUN}' or 'world2act {POLICY}"),
        ("RUN --check --workers 2", "--workers", CHECK, f"{RUN}' or 'world2act {POLICY}"),
        ("RUN --check --seed 0", "--seed", CHECK, RUN),
        ("RUN --check --tasks 8", "--tasks", CHECK, POLICY),
        ("--policy demonstrator --remote", "--remote", POLICY, RUN),
        ("--policy demonstrator --starts 60", "--starts", POLICY, RUN),
        ("--policy demonstrator --embodiment libero_panda", "--embodiment", POLICY, CHECK),
        ("--policy demonstrator --check", "--check", POLICY, CHECK),
    ],
)
def test_an_option_of_another_mode_is_refused(
    given: str, option: str, chosen: str, belongs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given as its default, too: whoever writes it means it."""
    assert main(["gate", *given.replace("RUN", str(tmp_path)).split()]) == USAGE_ERROR
    said = capsys.readouterr().err
    assert f"{option} does nothing in 'world2act {chosen}', it belongs to 'world2act {belongs}'" in said


@pytest.mark.parametrize("points", ["0", "-5", "nan"])
@pytest.mark.parametrize("given", ["RUN", "--policy demonstrator"])
def test_a_margin_that_asks_nothing_is_refused(
    given: str, points: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gate", *given.replace("RUN", str(tmp_path)).split(), "--non-inferior", points]) == USAGE_ERROR
    assert f"--non-inferior {points} must be more than 0 points" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--starts -3", "--starts -3 tries nothing: name 1 or more"),
        ("--starts 0", "--starts 0 tries nothing: name 1 or more"),
        ("--alpha 2", "--alpha 2 must be more than 0 and less than 0.5, for example 0.05"),
        ("--alpha nan", "--alpha nan must be more than 0 and less than 0.5, for example 0.05"),
        ("--non-inferior 150", "--non-inferior 150 must be less than 100 points: no policy can lose more"),
    ],
)
def test_a_question_that_means_nothing_is_refused_by_its_option(
    option: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for given in ([str(tmp_path)], ["--policy", "demonstrator"])[: 1 if "--starts" in option else 2]:
        assert main(["gate", *given, *option.split()]) == USAGE_ERROR
        assert capsys.readouterr().err == f"world2act gate: {says}\n"


@pytest.mark.parametrize(
    ("points", "says"), [(0.0, "0 must be more than 0 points"), (5.0, "5 compares with a baseline: name it")]
)
def test_pytest_sim_tests_refuses_a_margin_that_asks_nothing_too(points: float, says: str) -> None:
    options = {flag[2:].replace("-", "_"): how.get("default") for flag, how in OPTIONS.items()}
    with pytest.raises(World2ActError, match=f"--non-inferior {says}"):
        regression({**options, "non_inferior": points}.__getitem__)


@pytest.mark.parametrize("option", ["--ros-episodes 3", "--ros-episodes 2", "--draws"])
def test_what_is_said_of_the_graph_is_refused_without_it(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Given as its default, too."""
    assert main(["gate", "--policy", "demonstrator", *option.split()]) == USAGE_ERROR
    assert f"{option.split()[0]} does nothing without --ros" in capsys.readouterr().err


@pytest.mark.parametrize(("given", "episodes"), [({}, 0), ({"ros": True}, 2), ({"ros": True, "ros_episodes": 3}, 3)])
def test_two_starts_go_through_the_graph_unless_told_otherwise(given: dict[str, Any], episodes: int) -> None:
    options = {flag[2:].replace("-", "_"): how.get("default") for flag, how in OPTIONS.items()}
    assert regression({**options, **given}.__getitem__).graph_episodes == episodes


def test_every_option_has_the_default_that_its_help_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Defaults are filled in when it is known what was given."""
    asked: list[argparse.Namespace] = []

    def note(args: argparse.Namespace) -> int:
        asked.append(args)
        return 0

    for name in ("_gate", "_check", "gate_policy"):
        monkeypatch.setattr(f"world2act_core.cli.gate.{name}", note)
    for given in (["runs/a"], ["runs/a", "--check"], ["--policy", "demonstrator"]):
        run(build_parser(["gate"]).parse_args(["gate", *given]))
    trials, check, policy = map(vars, asked)
    assert (trials["alpha"], trials["workers"], trials["seed"], trials["starts"]) == (0.05, 2, 0, None)
    assert (trials["non_inferior"], trials["jitter_cm"], trials["remote"]) == (None, None, False)
    assert (check["embodiment"], check["max_age_days"]) == ("", None)
    assert (policy["episodes"], policy["suite"], policy["ros"], policy["ros_episodes"]) == (20, [], False, None)
