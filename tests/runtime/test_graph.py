"""One description of the graph, with arguments that do something."""

from __future__ import annotations

from pathlib import Path

import pytest

from world2act_core.errors import World2ActError
from world2act_core.runtime.graph import GRAPHS, NodeSpec, describe

POLICY = {"policy": "replay:bag"}


def nodes(name: str, **values: str) -> dict[str, NodeSpec]:
    return {node.name: node for node in describe(name).build({**POLICY, **values}).nodes}


def test_sim_arm_has_its_four_processes() -> None:
    assert list(nodes("sim_arm")) == ["sim_arm", "skill_prompter", "policy", "command"]


def test_real_arm_is_the_same_without_the_simulator_and_with_cameras() -> None:
    real = nodes("real_arm", cameras="agentview=usb:/dev/video0,wrist=realsense:0123")
    assert list(real) == ["skill_prompter", "policy", "command", "agentview_camera", "wrist_camera"]
    assert real["wrist_camera"].parameters["source"] == "realsense"
    assert real["wrist_camera"].parameters["device"] == "0123"
    assert real["command"].parameters["clock"] == "wall"
    assert real["policy"].executable == nodes("sim_arm")["policy"].executable


CHANGES = {
    "namespace": "left", "policy": "replay:other", "record": "bags/x", "autostart": "false", "robot": "franka_fr3",
    "task": "libero_goal/3", "cameras": "agentview", "realtime": "true", "starts": "libero_goal/8/i1", "source": "base",
    "time_limit_s": "5", "use_sim_time": "true", "dry_run": "true",
}  # fmt: skip
REAL = {**CHANGES, "robot": "libero_panda", "cameras": "agentview=usb:0", "task": "pick it up", "execution": "ensemble",
        "dead_man_s": "0.5"}  # fmt: skip


@pytest.mark.parametrize(
    ("graph", "argument"), [(name, a.name) for name, graph in GRAPHS.items() for a in graph.arguments]
)
def test_every_argument_changes_the_graph(graph: str, argument: str, tmp_path: Path) -> None:
    """An argument that is accepted and does nothing is a lie."""
    (tmp_path / "p.yaml").write_text("{}")
    special = {"params_file": str(tmp_path / "p.yaml"), "run": "runs/x", "results": "r.jsonl"}
    value = {**(REAL if graph == "real_arm" else CHANGES), **special}[argument]
    base = {} if argument == "run" else dict(POLICY)
    before = dict(base, policy="replay:bag")
    if argument == "results":
        base, before = {**base, "starts": "libero_goal/8/i1"}, {**before, "starts": "libero_goal/8/i1"}
    assert describe(graph).build({**base, argument: value}).nodes != describe(graph).build(before).nodes


def test_dry_run_moves_the_commands_away_from_the_arm() -> None:
    dry = nodes("real_arm", dry_run="true")
    assert dry["command"].parameters["dry_run"], "it publishes there by itself"
    assert dry["policy"].remappings == {"arm_command": "dry_run/arm_command"}


def test_policy_and_command_agree_on_the_execution_mode() -> None:
    graph = nodes("real_arm", execution="real_time")
    assert {graph[name].parameters["execution"] for name in ("policy", "command")} == {"real_time"}
    with pytest.raises(World2ActError, match="no execution mode 'closed'"):
        nodes("real_arm", execution="closed")


def test_every_node_gets_the_shared_memory_profile() -> None:
    for node in nodes("sim_arm").values():
        assert Path(node.env["FASTDDS_DEFAULT_PROFILES_FILE"]).name == "fastdds_shm.xml"


def test_starts_make_the_graph_end_after_the_last() -> None:
    runner = nodes("sim_arm", starts="libero_goal/8/i1, libero_goal/8/i2")["run_task"]
    assert runner.essential and runner.parameters["starts"] == ["libero_goal/8/i1", "libero_goal/8/i2"]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"policy": ""}, "name one of policy:=ADDRESS"),
        ({"run": "runs/x"}, "name one of policy:=ADDRESS"),
        ({"robot_ip": "1.2.3.4"}, "sim_arm has no argument 'robot_ip'"),
        ({"realtime": "maybe"}, "realtime:=maybe must be true or false"),
        ({"cameras": "belly"}, "libero_panda has agentview, wrist, but no 'belly'"),
        ({"params_file": "/nowhere.yaml"}, "params_file /nowhere.yaml does not exist"),
        ({"results": "r.jsonl"}, "results needs starts"),
    ],
)
def test_a_value_that_means_nothing_is_refused(values: dict[str, str], says: str) -> None:
    with pytest.raises(World2ActError, match=says.replace("?", r"\?")):
        nodes("sim_arm", **values)


def test_an_unknown_camera_driver_names_the_known_ones() -> None:
    with pytest.raises(World2ActError, match="'agentview=zed:1' is not NAME=usb:DEVICE or NAME=realsense:SERIAL"):
        nodes("real_arm", cameras="agentview=zed:1")


def test_an_unknown_graph_lists_the_known() -> None:
    with pytest.raises(World2ActError, match="there are sim_arm, real_arm"):
        describe("arm")
