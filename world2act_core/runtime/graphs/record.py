"""Graph ``record``: somebody else moves the arm (teleoperation); cameras, states, commands and episodes are logged."""

from __future__ import annotations

from world2act_core.embodiment import load_embodiment
from world2act_core.episodes import messages
from world2act_core.errors import World2ActError
from world2act_core.runtime.graphs.common import CAMERAS_HELP, COMMON, camera_nodes, flag, recorder, seconds, supervised
from world2act_core.runtime.graphs.description import Argument, GraphDescription, NodeSpec, Part, Value
from world2act_core.runtime.graphs.real_arm import DRIVER_ARGUMENTS, count, emulator_nodes, robot_contract, robot_driver

OF_A_POLICY = ("policy", "run", "require_gate")

ARGUMENTS = (
    *(argument for argument in COMMON if argument.name not in OF_A_POLICY),
    Argument("robot", "franka", "franka, ur, emulator; or the contract of an arm of your own"),
    Argument("embodiment", "", "contract, shipped name or YAML file; empty: the robot's"),
    Argument("robot_ip", "", "address of a franka or ur: starts its driver too; empty: the driver runs already"),
    DRIVER_ARGUMENTS,
    Argument("task", "", "instruction of the episodes that skill_prompter/start begins, in words"),
    Argument("source", "teleoperation", "who acts, as bags call it"),
    Argument("cameras", "", CAMERAS_HELP),
    Argument(
        "scripted",
        "0",
        "robot:=emulator: a scripted operator teleoperates so many episodes, then the graph ends; 0: you teleoperate",
    ),
    Argument("time_limit_s", "600", "longest duration of an episode"),
    Argument("use_sim_time", "false", "take the time from /clock"),
)


def record_nodes(values: dict[str, str]) -> list[Part]:
    robot, contract = robot_contract(values)
    if robot == "sim":
        raise World2ActError("robot:=sim means nothing here: graph sim_arm records with record:=FOLDER")
    if not values["record"]:
        raise World2ActError("name the new folder of the bag: record:=FOLDER")
    embodiment = load_embodiment(contract)
    driver = robot_driver(values, robot, embodiment)
    emulator = emulator_nodes(values, contract) if robot == "emulator" else []
    cameras = camera_nodes(values, contract, embodiment, emulated=robot == "emulator")
    recorders = recorder(values, contract, optional=(messages.ACTION_CHUNK_TOPIC,))
    prompter: dict[str, Value] = {
        "autostart": flag(values, "autostart"),
        "robot": contract,
        "simulator": False,
        "use_sim_time": flag(values, "use_sim_time"),
        "task": values["task"],
        "source": values["source"],
        "time_limit_s": seconds(values, "time_limit_s"),
        "wait_for": [node.name for node in [*cameras, *recorders, *emulator]],
    }
    # It marks the episodes: without it a bag is one long stream that nobody can cut.
    marker = NodeSpec("skill_prompter", "skill_prompter", parameters=prompter, essential=True)
    return [*driver, *emulator, marker, *cameras, *recorders, *_operator(values, contract, robot == "emulator")]


def _operator(values: dict[str, str], contract: str, emulated: bool) -> list[NodeSpec]:
    """Somebody at the device, where a script may be that."""
    episodes = count(values, "scripted")
    if not episodes:
        return []
    if not emulated:
        raise World2ActError("scripted needs robot:=emulator: nobody but you teleoperates a real arm")
    if not values["task"]:
        raise World2ActError("scripted episodes need an instruction: task:='pick up the cube'")
    parameters: dict[str, Value] = {"robot": contract, "episodes": episodes}
    return [NodeSpec("scripted_operator", "scripted_operator", parameters=parameters, essential=True, lifecycle=False)]


RECORD = GraphDescription("record", "what logs teleoperation for post-training", ARGUMENTS, supervised(record_nodes))
