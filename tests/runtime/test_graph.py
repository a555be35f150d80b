"""One description of the graph, with arguments that do something."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest

from world2act_core.embodiment import contract
from world2act_core.errors import World2ActError
from world2act_core.evaluation import Trial, pair_trials
from world2act_core.evaluation.gate import Gate
from world2act_core.evaluation.signature import KEY_VARIABLE, write_gate
from world2act_core.policies.run_folder import policy_files
from world2act_core.runs import file_digest
from world2act_core.runs.stage import MANIFEST
from world2act_core.runtime.graphs import GRAPHS, Include, NodeSpec, describe
from world2act_core.runtime.graphs.real_arm import ROBOTS

POLICY = {"policy": "replay:bag"}
NEEDED = {"record": {"record": "bags/x"}, "replay": {**POLICY, "bag": "bags/x", "robot": "franka_fr3"}}


def nodes(name: str, **values: str) -> dict[str, NodeSpec]:
    needed = NEEDED.get(name, POLICY)
    return {node.name: node for node in describe(name).build({**needed, **values}).nodes}


def test_sim_arm_has_its_processes() -> None:
    assert list(nodes("sim_arm")) == ["sim_arm", "skill_prompter", "policy", "command", "supervisor"]


def test_a_supervisor_brings_the_others_up_from_the_arm_to_who_takes_tasks() -> None:
    found = nodes("real_arm", robot="emulator", cameras="agentview,wrist", record="bags/x")
    order = ["arm_emulator", "agentview_camera", "wrist_camera", "recorder", "command", "policy", "skill_prompter"]
    assert found["supervisor"].parameters["nodes"] == order and found["supervisor"].essential
    assert not any(node.parameters["autostart"] for name, node in found.items() if name != "supervisor")


@pytest.mark.parametrize(("values", "own"), [({"supervisor": "false"}, True), ({"autostart": "false"}, False)])
def test_without_a_supervisor_each_node_comes_up_by_itself_or_waits(values: dict[str, str], own: bool) -> None:
    found = nodes("real_arm", robot="emulator", **values)
    assert "supervisor" not in found and {node.parameters["autostart"] for node in found.values()} == {own}


@pytest.mark.parametrize("graph", GRAPHS)
def test_only_lifecycle_nodes_are_supervised(graph: str) -> None:
    found = nodes(graph, **({"starts": "libero_goal/8/i0"} if graph == "sim_arm" else {}))
    supervised = found["supervisor"].parameters["nodes"]
    assert isinstance(supervised, list)
    assert {*supervised, "supervisor"} == {name for name, node in found.items() if node.lifecycle}


def test_real_arm_is_the_same_without_the_simulator_and_with_cameras() -> None:
    real = nodes("real_arm", cameras="agentview=usb:/dev/video0,wrist=realsense:0123")
    assert list(real) == ["agentview_camera", "wrist_camera", "skill_prompter", "policy", "command", "supervisor"]
    assert real["wrist_camera"].parameters["source"] == "realsense"
    assert real["wrist_camera"].parameters["device"] == "0123"
    assert real["command"].parameters["clock"] == "wall"
    assert real["policy"].executable == nodes("sim_arm")["policy"].executable


def test_the_robots_come_with_their_contracts() -> None:
    contracts = {robot: nodes("real_arm", robot=robot)["command"].parameters["robot"] for robot in ROBOTS}
    assert contracts == {"franka": "franka_fr3", "ur": "ur5e", "sim": "libero_panda", "emulator": "franka_fr3"}


def test_a_replay_knows_the_robots_by_the_names_of_the_launch() -> None:
    asked = {robot: nodes("replay", **{**NEEDED["replay"], "robot": robot}) for robot in (*ROBOTS, "mine.yaml")}
    assert {robot: found["policy"].parameters["robot"] for robot, found in asked.items()} == {
        **ROBOTS,
        "mine.yaml": "mine.yaml",
    }
    assert asked["ur"]["replay"].parameters["robot"] == "ur5e"


def test_the_emulator_stands_beside_the_brain_and_is_waited_for() -> None:
    found = nodes("real_arm", robot="emulator", embodiment="ur5e", cameras="agentview")
    supervisor = found.pop("supervisor")
    assert list(found) == ["arm_emulator", "agentview_camera", "skill_prompter", "policy", "command"]
    assert supervisor.parameters["nodes"] == ["arm_emulator", "agentview_camera", "command", "policy", "skill_prompter"]
    assert found["arm_emulator"].essential and found["agentview_camera"].executable == "emulator_camera"
    assert {node.parameters["robot"] for node in found.values()} == {"ur5e"}
    waited = found["skill_prompter"].parameters["wait_for"]
    assert isinstance(waited, list) and "arm_emulator" in waited


def test_robot_sim_is_the_simulated_arm() -> None:
    found = nodes("real_arm", robot="sim", task="libero_goal/3", record="bags/x")
    assert found == nodes("sim_arm", task="libero_goal/3", record="bags/x")
    assert found["skill_prompter"].parameters["start"] == "libero_goal/3/i0"


def test_an_arm_of_ones_own_is_named_by_its_contract(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text((Path(contract.__file__).parent / "files" / "ur5e.yaml").read_text())
    assert nodes("real_arm", robot=str(file))["command"].parameters["robot"] == str(file)


@pytest.mark.parametrize(
    ("values", "include"),
    [
        (
            {"robot": "franka", "namespace": "left"},
            Include("franka_fr3_moveit_config", "moveit.launch.py", {"robot_ip": "10.0.0.2", "namespace": "left"}),
        ),
        (
            {"robot": "ur"},
            Include(
                "ur_robot_driver",
                "ur_control.launch.py",
                {
                    "ur_type": "ur5e",
                    "robot_ip": "10.0.0.2",
                    "launch_rviz": "false",
                    "initial_joint_controller": "scaled_joint_trajectory_controller",
                },
            ),
        ),
    ],
)
def test_an_address_starts_the_maker_s_driver(values: dict[str, str], include: Include) -> None:
    assert describe("real_arm").build({**POLICY, **values}).includes == ()
    assert describe("real_arm").build({**POLICY, **values, "robot_ip": "10.0.0.2"}).includes == (include,)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"robot": "pr2"}, "robot:=pr2 is neither franka, ur, sim, emulator nor an embodiment contract"),
        ({"robot": "ur5e", "embodiment": "franka_fr3"}, "embodiment:=franka_fr3 another: give one"),
        ({"robot": "emulator", "robot_ip": "10.0.0.2"}, "robot_ip:=10.0.0.2 needs robot:=franka or robot:=ur"),
        ({"robot": "ur", "robot_ip": "10.0.0.2", "namespace": "left"}, "takes no namespace"),
        ({"driver_arguments": "headless_mode:=true"}, "driver_arguments means nothing without robot_ip"),
        ({"robot_ip": "10.0.0.2", "driver_arguments": "true"}, "driver_arguments:=true is not NAME:=VALUE"),
        ({"robot": "ur", "episodes": "3"}, "episodes needs robot:=emulator"),
        ({"robot": "emulator", "episodes": "3"}, "episodes need an instruction"),
        ({"robot": "emulator", "episodes": "-3"}, "episodes:=-3 must be a number of episodes"),
        ({"robot": "emulator", "starts": "libero_goal/8/i0"}, "starts means nothing but with robot:=sim"),
        ({"skill_limit_s": "5"}, "skill_limit_s means nothing without skills:=split"),
        ({"skills": "some"}, "skills:=some is neither whole nor split"),
        ({"robot": "sim", "dry_run": "true"}, "dry_run means nothing with robot:=sim"),
        ({"robot": "sim", "execution": "ensemble"}, "execution means nothing with robot:=sim"),
        ({"robot": "sim", "dead_man_s": "0.5"}, "dead_man_s means nothing with robot:=sim"),
        ({"cameras": "agentview"}, "'agentview' is not NAME=usb:DEVICE"),
    ],
)
def test_a_robot_that_means_nothing_is_refused(values: dict[str, str], says: str) -> None:
    with pytest.raises(World2ActError, match=says):
        nodes("real_arm", **values)


CHANGES = {
    "namespace": "left", "policy": "replay:other", "record": "bags/x", "autostart": "false", "robot": "franka_fr3",
    "task": "libero_goal/3", "cameras": "agentview", "realtime": "true", "starts": "libero_goal/8/i1", "source": "base",
    "time_limit_s": "5", "use_sim_time": "true", "dry_run": "true", "supervisor": "false",
    "skills": "split", "skill_limit_s": "9", "remote": "true", "patience_s": "7",
}  # fmt: skip
REAL = {
    **CHANGES, "robot": "ur", "embodiment": "ur5e", "robot_ip": "10.0.0.2", "cameras": "agentview=usb:0",
    "task": "pick it up", "execution": "ensemble", "dead_man_s": "0.5", "record": "bags/y",
    "bag": "bags/z", "bag_namespace": "left", "tolerance": "0.1", "answer_within_s": "3",
    "scripted": "3", "episodes": "3",
    "driver_arguments": "kinematics_params_file:=my_arm.yaml",
}  # fmt: skip


@pytest.mark.parametrize(
    ("graph", "argument"),
    [(name, a.name) for name, graph in GRAPHS.items() for a in graph.arguments if a.name != "require_gate"],
)
def test_every_argument_changes_the_graph(graph: str, argument: str, tmp_path: Path) -> None:
    """An argument that is accepted and does nothing is a lie. ``require_gate`` refuses instead, see below."""
    (tmp_path / "p.yaml").write_text("{}")
    (tmp_path / "run" / "base").mkdir(parents=True)
    (tmp_path / "run" / "base" / MANIFEST).write_text("{}")
    (tmp_path / "calibrated").mkdir()
    special: dict[str, str] = {"calibration": str(tmp_path / "calibrated")}
    special |= {"params_file": str(tmp_path / "p.yaml"), "run": f"{tmp_path / 'run'}#base", "results": "r.jsonl"}
    value = {**(CHANGES if graph == "sim_arm" else REAL), **special}[argument]
    needed = dict(NEEDED.get(graph, POLICY))
    base, before = {name: needed[name] for name in needed if argument != "run" or name != "policy"}, needed
    if argument == "starts" and graph == "real_arm":
        base, before = {**base, "robot": "sim"}, {**before, "robot": "sim"}
    if argument == "calibration":
        base, before = {**base, "cameras": "agentview=usb:0"}, {**before, "cameras": "agentview=usb:0"}
    if argument == "driver_arguments":
        base, before = ({**given, "robot": "ur", "robot_ip": "10.0.0.2"} for given in (base, before))
    if argument in ("scripted", "episodes"):
        base, before = ({**given, "robot": "emulator", "task": "pick it up"} for given in (base, before))
    if argument == "skill_limit_s":
        base, before = {**base, "skills": "split"}, {**before, "skills": "split"}
    if argument == "results" and graph != "replay":
        base, before = {**base, "starts": "libero_goal/8/i1"}, {**before, "starts": "libero_goal/8/i1"}
    assert describe(graph).build({**base, argument: value}) != describe(graph).build(before)


def test_dry_run_moves_the_commands_away_from_the_arm() -> None:
    found = nodes("real_arm", robot="emulator", dry_run="true")
    assert found["command"].parameters["dry_run"], "it publishes there by itself, whatever the contract's output is"
    assert found["policy"].remappings == found["skill_prompter"].remappings == {"arm_command": "dry_run/arm_command"}
    assert found["arm_emulator"].remappings == {}
    waited = found["skill_prompter"].parameters["wait_for"]
    assert isinstance(waited, list) and "arm_emulator" not in waited, "it would wait for commands for ever"


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
    with pytest.raises(World2ActError, match="'agentview=zed:1' is not NAME=usb:DEVICE, NAME=realsense:SERIAL"):
        nodes("real_arm", cameras="agentview=zed:1")


def test_a_camera_may_be_a_bag_or_somebody_else_s() -> None:
    found = nodes("real_arm", cameras="agentview=bag:logs/x,wrist=external")
    assert [name for name in found if name.endswith("_camera")] == ["agentview_camera"]
    assert found["agentview_camera"].parameters["source"] == "bag"
    with pytest.raises(World2ActError, match="cameras: wrist is there twice"):
        nodes("real_arm", cameras="wrist=usb:0,wrist=usb:1")


def test_teleoperation_is_logged_without_a_policy() -> None:
    found = nodes("record", robot="ur", cameras="agentview=usb:0,wrist=realsense:1")
    assert list(found) == ["skill_prompter", "agentview_camera", "wrist_camera", "recorder", "supervisor"]
    assert found["recorder"].parameters["optional_topics"] == ["action_chunk"], "no policy speaks there"
    assert found["skill_prompter"].parameters["source"] == "teleoperation"
    assert found["skill_prompter"].parameters["wait_for"] == ["agentview_camera", "wrist_camera", "recorder"]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"record": ""}, "name the new folder"),
        ({"robot": "sim"}, "graph sim_arm records"),
        ({"scripted": "3"}, "scripted needs robot:=emulator"),
        ({"scripted": "x"}, "must be a number"),
        ({"scripted": "3", "robot": "emulator"}, "scripted episodes need an instruction"),
    ],
)
def test_a_recording_that_means_nothing_is_refused(values: dict[str, str], says: str) -> None:
    with pytest.raises(World2ActError, match=says):
        nodes("record", **values)


def test_an_unknown_graph_lists_the_known() -> None:
    with pytest.raises(World2ActError, match="there are sim_arm, real_arm, record"):
        describe("arm")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder whose policies stand there and that no gate has seen."""
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    for name, file in policy_files(tmp_path).items():
        file.parent.mkdir()
        file.write_text(name)
        file.with_name(MANIFEST).write_text("{}")
    return tmp_path


def pass_gate(run: Path, embodiment: str) -> None:
    outcomes = {"base": "000000", "post-trained": "111111"}
    base, post = ([Trial(f"s{i}", p, o == "1", 60, 1.5) for i, o in enumerate(all_)] for p, all_ in outcomes.items())
    digests = {name: file_digest(file) for name, file in policy_files(run).items()}
    now = datetime.now(timezone.utc)
    used = {"demonstrations": 35}
    told = Gate(pair_trials(base, post), 60, 0.0, 0.05, "libero_goal/8", embodiment, digests, now, used_starts=used)
    write_gate(run, told)


@pytest.mark.parametrize("robot", ["franka", "ur", "libero_panda"])
def test_an_arm_starts_no_node_of_a_post_trained_policy_without_its_gate(run: Path, robot: str) -> None:
    with pytest.raises(World2ActError, match=r"has no gate\.json.* run 'world2act gate .*require_gate:=false\)$"):
        nodes("real_arm", policy="", run=str(run), robot=robot)
    with pytest.raises(World2ActError, match=r"has no gate\.json"):
        nodes("real_arm", policy=f"run:{run}#post-trained")


def test_an_arm_starts_with_the_gate_of_its_own_robot(run: Path) -> None:
    pass_gate(run, "libero_panda")
    assert nodes("real_arm", policy=f"run:{run}", robot="libero_panda")["policy"].parameters["policy"] == f"run:{run}"
    with pytest.raises(World2ActError, match="was passed on libero_panda, not on franka_fr3"):
        nodes("real_arm", policy=f"run:{run}", robot="franka_fr3")


def test_a_residual_that_changed_after_the_gate_does_not_reach_the_arm(run: Path) -> None:
    pass_gate(run, "franka_fr3")
    policy_files(run)["residual"].write_text("retrained")
    with pytest.raises(World2ActError, match="another residual policy"):
        nodes("real_arm", policy=f"run:{run}")


@pytest.mark.parametrize(
    ("graph", "values"),
    [
        ("sim_arm", {}),
        ("real_arm", {"robot": "sim"}),
        ("real_arm", {"robot": "emulator"}),
        ("real_arm", {"dry_run": "true"}),
        ("real_arm", {"require_gate": "false"}),
        ("real_arm", {"policy": "run:{}#base"}),
        ("real_arm", {"policy": "replay:bag"}),
    ],
)
def test_nothing_is_demanded_where_nothing_post_trained_can_move_an_arm(
    run: Path, graph: str, values: dict[str, str]
) -> None:
    policy = values.get("policy", "run:{}").format(run)
    assert nodes(graph, **{**values, "policy": policy})["policy"].parameters["policy"] == policy


@pytest.mark.parametrize(
    ("graph", "values"),
    [
        ("sim_arm", {}),
        ("real_arm", {"robot": "sim"}),
        ("real_arm", {"robot": "emulator"}),
        ("real_arm", {"dry_run": "true"}),
    ],
)
def test_it_can_be_demanded_where_no_arm_can_be_hurt_too(run: Path, graph: str, values: dict[str, str]) -> None:
    with pytest.raises(World2ActError, match=r"has no gate\.json"):
        nodes(graph, **values, policy=f"run:{run}", require_gate="true")


def test_a_policy_that_no_gate_can_compare_does_not_meet_the_demand() -> None:
    with pytest.raises(World2ActError, match="replay: policies have no gate"):
        nodes("real_arm", require_gate="true")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({**POLICY}, "name the bag"),
        ({"bag": "bags/x"}, "name one of policy"),
        ({**POLICY, "bag": "bags/nowhere"}, "there is no bag at bags/nowhere"),
        ({**NEEDED["replay"], "tolerance": "none"}, "tolerance:=none must be a number from 0 on"),
    ],
)
def test_a_replay_that_means_nothing_is_refused(values: dict[str, str], says: str) -> None:
    with pytest.raises(World2ActError, match=says):
        describe("replay").build(values)
