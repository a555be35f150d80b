"""``world2act up``: the command line offers exactly the graph's arguments."""

from __future__ import annotations

from typing import Any

import pytest

from world2act_core.cli import main
from world2act_core.runtime import processes
from world2act_core.runtime.graphs import Graph, describe


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Graph]:
    graphs: list[Graph] = []

    def run_graph(graph: Graph) -> int:
        graphs.append(graph)
        return 0

    monkeypatch.setattr(processes, "run_graph", run_graph)
    return graphs


def test_options_become_arguments_of_the_graph(started: list[Graph]) -> None:
    """--run names a folder and must not shadow the command's own function."""
    assert main(["up", "sim_arm", "--run", "runs/demo", "--starts", "libero_goal/8/i1"]) == 0
    assert started == [describe("sim_arm").build({"run": "runs/demo", "starts": "libero_goal/8/i1"})]


def test_arguments_may_be_written_as_ros2_launch_takes_them(started: list[Graph], capsys: Any) -> None:
    assert main(["up", "sim_arm", "run:=runs/demo", "starts:=libero_goal/8/i1"]) == 0
    assert started == [describe("sim_arm").build({"run": "runs/demo", "starts": "libero_goal/8/i1"})]
    assert main(["up", "sim_arm", "run:=runs/demo", "start:=0"]) == 2
    assert main(["up", "sim_arm", "runs/demo"]) == 2
    said = capsys.readouterr().err
    assert "no argument 'start'" in said and "'runs/demo' is neither an option nor NAME:=VALUE" in said


def test_every_argument_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["up", "real_arm", "--help"])
    shown = capsys.readouterr().out
    for argument in describe("real_arm").arguments:
        assert f"--{argument.name.replace('_', '-')}" in shown


def test_a_mistake_is_one_sentence(started: list[Graph], capsys: Any) -> None:
    assert main(["up", "sim_arm"]) == 2
    assert "name one of policy:=ADDRESS" in capsys.readouterr().err and not started
