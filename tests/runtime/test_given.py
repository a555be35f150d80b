"""What a user gives to every node is judged before one starts: a namespace, a file of parameters."""

from __future__ import annotations

from pathlib import Path

import pytest

from world2act_core.cli import USAGE_ERROR, main
from world2act_core.errors import World2ActError
from world2act_core.runtime import processes
from world2act_core.runtime.graphs import Graph, describe

SHAPE = "expected is NODE: {ros__parameters: {NAME: VALUE}}"


def built(**values: str) -> Graph:
    return describe("sim_arm").build({"policy": "replay:bag", **values})


@pytest.mark.parametrize("namespace", ["my arm", "my-arm", "2arm", "cell//arm", "ärm", "~"])
def test_what_is_no_namespace_in_ros_is_refused(namespace: str) -> None:
    with pytest.raises(World2ActError, match=f"^namespace:={namespace} is no ROS namespace: it may hold letters"):
        built(namespace=namespace)


@pytest.mark.parametrize("namespace", ["", "/", "left_arm", "/left_arm", "cell3/_arm2/"])
def test_a_namespace_of_ros_is_taken_as_it_is(namespace: str) -> None:
    assert {node.namespace for node in built(namespace=namespace).nodes} == {namespace}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [1", "p.yaml: not valid YAML: while parsing a flow sequence"),
        ("- policy", "p.yaml: the file = ['policy'] must be a mapping"),
        ("dead_man_s: 1", "p.yaml: dead_man_s = 1 must be a mapping"),
        ("command:\n  dead_man_s: 1", "p.yaml: command.dead_man_s = 1 must be a mapping"),
        ("command:\n  ros__parameters:", "p.yaml: command.ros__parameters = None must be a mapping"),
        ("ros__parameters: {a: 1}", "p.yaml: ros__parameters.a = 1 must be a mapping"),
        ("my arm: {ros__parameters: {a: 1}}", "p.yaml: my arm = {'ros__parameters': {'a': 1}} is not the name of a"),
        (
            "command: {ros__parameters: {a: 1}, b: {ros__parameters: {}}}",
            "p.yaml: command.b = {'ros__parameters': {}} stands beside ros__parameters",
        ),
        ("command:\n  ros__parameters:\n    a: {b: }", "p.yaml: command.ros__parameters.a.b = None has no value"),
        ("command: {ros__parameters: {a: [1, 2.5]}}", "p.yaml: command.ros__parameters.a = [1, 2.5] must be a list"),
        ("command: {ros__parameters: {a: 1, a: 2}}", "p.yaml: not valid YAML: key 'a' twice"),
    ],
)
def test_what_no_node_could_read_is_refused_with_where_and_what_is_expected(
    tmp_path: Path, text: str, says: str
) -> None:
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(World2ActError) as refused:
        built(params_file=str(tmp_path / "p.yaml"))
    assert str(refused.value).startswith(f"params_file {says}") and str(refused.value).endswith(SHAPE)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing yet\n",
        "{}",
        "command: {ros__parameters: {dead_man_s: 0.5, nested: {names: [a, b]}}}",
        "/**: {ros__parameters: {use_sim_time: true}}",
        "/left/command: {ros__parameters: {a: 1}}",
        "left: {command: {ros__parameters: {a: 1}}, '*': {ros__parameters: {a: []}}}",
    ],
)
def test_what_ros_reads_reaches_every_node(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.yaml").write_text(text)
    assert {node.params_file for node in built(params_file=str(tmp_path / "p.yaml")).nodes} == {
        str(tmp_path / "p.yaml")
    }


@pytest.mark.parametrize("fault", ["namespace:=my arm", "params_file:=p.yaml"])
def test_up_says_it_in_one_sentence_and_starts_nothing(
    tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[Graph] = []
    monkeypatch.setattr(processes, "run_graph", started.append)
    monkeypatch.chdir(tmp_path)
    Path("p.yaml").write_text("a: [1")
    assert main(["up", "real_arm", "robot:=emulator", "policy:=replay:bag", fault]) == USAGE_ERROR
    said = capsys.readouterr().err
    assert said.startswith("world2act up: ") and len(said.splitlines()) == 1 and started == []
