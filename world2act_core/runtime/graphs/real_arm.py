"""Graph ``real_arm``: the brain on a Franka or UR, or on what stands in for one (LIBERO, the emulator)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from world2act_core.embodiment import Embodiment, load_embodiment, shipped_embodiments
from world2act_core.errors import World2ActError
from world2act_core.runtime.chunks import MODES, OPEN_LOOP, check_mode
from world2act_core.runtime.graphs.calibrated import CALIBRATION, calibrated, calibration_folder
from world2act_core.runtime.graphs.common import (
    CAMERAS_HELP,
    COMMON,
    SKILLS,
    brain,
    camera_nodes,
    flag,
    names,
    recorder,
    seconds,
    skill_parameters,
    supervised,
)
from world2act_core.runtime.graphs.description import Argument, GraphDescription, Include, NodeSpec, Part, Value
from world2act_core.runtime.graphs.sim_arm import SIM_ARM, sim_arm_nodes

ROBOTS = {"franka": "franka_fr3", "ur": "ur5e", "sim": "libero_panda", "emulator": "franka_fr3"}
"""What can be asked for, and the contract that goes with it."""

SIM_TASK = "libero_goal/8"

BACK_S = 2.0
"""The emulated arm is back by then."""

DRIVER_ARGUMENTS = Argument(
    "driver_arguments",
    "",
    "robot_ip: further arguments of the driver's launch file, NAME:=VALUE,NAME:=VALUE, such as "
    "kinematics_params_file:=FILE of a ur",
)

ARGUMENTS = (
    *COMMON,
    *SKILLS,
    Argument("robot", "franka", "franka, ur, sim (LIBERO), emulator; or the contract of an arm of your own"),
    Argument("embodiment", "", "contract, shipped name or YAML file; empty: the robot's"),
    Argument("robot_ip", "", "address of a franka or ur: starts its driver too; empty: the driver runs already"),
    DRIVER_ARGUMENTS,
    Argument("task", "", "default instruction of ~/start, in words; with robot:=sim the scene, suite/task"),
    Argument(
        "cameras",
        "",
        f"{CAMERAS_HELP}. A name alone: the emulator or simulator renders it",
    ),
    CALIBRATION,
    Argument("starts", "", "robot:=sim: start states to run, separated by commas; the graph ends after the last"),
    Argument(
        "episodes",
        "0",
        "robot:=emulator: the task so many times, each from the arm's first pose, then the graph ends; 0: by ~/start",
    ),
    Argument("time_limit_s", "60", "longest duration of a task"),
    Argument("use_sim_time", "false", "take the time from /clock, as when a bag is played with --clock"),
    Argument("dry_run", "false", "publish commands on dry_run/<topic>, where no arm listens"),
    Argument("execution", OPEN_LOOP, f"how action chunks are executed: {', '.join(MODES)}"),
    Argument("dead_man_s", "0", "hold unless topic dead_man says true this often; 0: only if the contract asks"),
)


def robot_contract(values: Mapping[str, str]) -> tuple[str, str]:
    """Which of ROBOTS (or "own") and its contract."""
    robot, embodiment = values["robot"], values["embodiment"]
    if robot in ROBOTS:
        return robot, embodiment or ROBOTS[robot]
    if Path(robot).suffix not in (".yaml", ".yml") and robot not in shipped_embodiments():
        raise World2ActError(f"robot:={robot} is neither {', '.join(ROBOTS)} nor an embodiment contract")
    if embodiment:
        raise World2ActError(f"robot:={robot} names a contract and embodiment:={embodiment} another: give one")
    return "own", robot


def robot_driver(values: Mapping[str, str], robot: str, embodiment: Embodiment) -> list[Include]:
    """The launch file of the robot's maker, if an address is given; docs/arms.md says what runs beside it."""
    address, namespace = values["robot_ip"], values["namespace"]
    further = _further(values[DRIVER_ARGUMENTS.name])
    if not address:
        if further:
            raise World2ActError("driver_arguments means nothing without robot_ip, which starts the driver")
        return []
    if robot == "franka":
        arguments = {"robot_ip": address, "namespace": namespace, **further}
        return [Include("franka_fr3_moveit_config", "moveit.launch.py", arguments)]
    if robot != "ur":
        raise World2ActError(f"robot_ip:={address} needs robot:=franka or robot:=ur")
    if namespace:
        raise World2ActError("the UR driver's launch file takes no namespace: start the driver yourself, drop robot_ip")
    arguments = {"ur_type": "ur5e", "robot_ip": address, "launch_rviz": "false"}
    if embodiment.output.kind == "joint_trajectory":
        arguments["initial_joint_controller"] = embodiment.output.topic.partition("/")[0]
    return [Include("ur_robot_driver", "ur_control.launch.py", {**arguments, **further})]


def _further(text: str) -> dict[str, str]:
    """``NAME:=VALUE,NAME:=VALUE``."""
    found = [entry.partition(":=") for entry in names(text)]
    for name, separator, _ in found:
        if not (name and separator):
            raise World2ActError(f"driver_arguments:={text} is not NAME:=VALUE,NAME:=VALUE")
    return {name: value for name, _, value in found}


def emulator_nodes(values: Mapping[str, str], contract: str, returns: bool = False) -> list[NodeSpec]:
    """What stands in for the arm and its controllers; ``returns`` to its first pose after each episode."""
    parameters: dict[str, Value] = {"robot": contract, "autostart": flag(values, "autostart"), "returns": returns}
    return [NodeSpec("arm_emulator", "arm_emulator", parameters=parameters, essential=True)]


def _execution(values: Mapping[str, str], embodiment: Embodiment) -> dict[str, dict[str, Value]]:
    """What policy and command do on a robot only."""
    check_mode(values["execution"], embodiment)
    shared: dict[str, Value] = {"use_sim_time": flag(values, "use_sim_time"), "execution": values["execution"]}
    dead_man_s = seconds(values, "dead_man_s", or_zero=True)
    return {"policy": shared, "command": {**shared, "dry_run": flag(values, "dry_run"), "dead_man_s": dead_man_s}}


def real_arm_nodes(values: dict[str, str]) -> list[Part]:
    robot, contract = robot_contract(values)
    embodiment = load_embodiment(contract)
    driver = robot_driver(values, robot, embodiment)
    if robot == "sim":
        return _on_libero(values, contract)
    if values["starts"]:
        raise World2ActError("starts means nothing but with robot:=sim: a robot begins where it stands, by ~/start")
    sim_time, dry_run, autostart = (flag(values, name) for name in ("use_sim_time", "dry_run", "autostart"))
    emulated = robot == "emulator"
    brain_nodes = [
        replace(node, parameters={**node.parameters, **_execution(values, embodiment)[node.executable]})
        for node in brain(values, contract, "wall", on_arm=not emulated and not dry_run)
    ]
    cameras = camera_nodes(values, contract, embodiment, emulated=emulated)
    seen = calibrated(values, embodiment, cameras, warn=not emulated)
    recorder_nodes = recorder(values, contract)
    tasks = _tasks(values, emulated)
    emulator = emulator_nodes(values, contract, returns=bool(tasks)) if emulated else []
    awaited = [*brain_nodes, *cameras, *recorder_nodes, *([] if dry_run else emulator)]
    prompter: dict[str, Value] = {
        "autostart": autostart,
        "robot": contract,
        "simulator": False,
        **skill_parameters(values),
        "calibration": str(calibration_folder(values, embodiment)),
        "use_sim_time": sim_time,
        "task": values["task"],
        "time_limit_s": seconds(values, "time_limit_s"),
        "wait_for": [node.name for node in awaited],
    }
    nodes = [
        NodeSpec("skill_prompter", "skill_prompter", parameters=prompter, essential=True),
        *brain_nodes,
        *recorder_nodes,
    ]
    if dry_run:
        topic = embodiment.action.topic  # the others follow what the command node does by itself
        nodes = [replace(node, remappings={topic: f"dry_run/{topic}"}) for node in nodes]
    return [*driver, *emulator, *seen, *nodes, *tasks]


def count(values: Mapping[str, str], name: str) -> int:
    """An argument that is a number of episodes."""
    if not values[name].isdecimal():
        raise World2ActError(f"{name}:={values[name]} must be a number of episodes, 0 or more")
    return int(values[name])


def _tasks(values: Mapping[str, str], emulated: bool) -> list[NodeSpec]:
    """Somebody who asks for the task again and again. On a real arm nobody but an operator does."""
    episodes = count(values, "episodes")
    if not episodes:
        return []
    if not emulated:
        raise World2ActError(
            "episodes needs robot:=emulator: before a real arm moves, somebody looks and calls ~/start"
        )
    if not values["task"]:
        raise World2ActError("episodes need an instruction: task:='pick up the cube'")
    parameters: dict[str, Value] = {"starts": [""] * episodes, "task": values["task"], "pause_s": BACK_S}
    return [NodeSpec("run_task", "run_task", parameters=parameters, essential=True, lifecycle=False)]


def _on_libero(values: Mapping[str, str], contract: str) -> list[Part]:
    """The same brain on LIBERO's arm: graph ``sim_arm``. Without a list of starts ~/start runs the scene's first."""
    for name in ("use_sim_time", "dry_run"):
        if flag(values, name):
            raise World2ActError(f"{name} means nothing with robot:=sim: the simulated arm keeps its own time")
    for argument in ARGUMENTS:
        if argument.name in ("execution", "dead_man_s", "calibration") and values[argument.name] != argument.default:
            raise World2ActError(f"{argument.name} means nothing with robot:=sim, which LIBERO draws and waits for")
    known = {argument.name: argument.default for argument in SIM_ARM.arguments}
    shared = {name: values[name] for name in known if name in values}
    return sim_arm_nodes({**known, **shared, "robot": contract, "task": values["task"] or SIM_TASK})


REAL_ARM = GraphDescription("real_arm", "the same nodes on a robot", ARGUMENTS, supervised(real_arm_nodes))
