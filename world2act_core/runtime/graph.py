"""The ONE description of which nodes run, with which parameters: for the launch files and for ``world2act up`` alike.

Plain Python without ROS. ``launch/*.launch.py`` translates it into launch actions, ``runtime.processes`` starts the
same nodes as processes where ``launch`` is not installed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.errors import World2ActError
from world2act_core.runtime.chunks import MODES, OPEN_LOOP, check_mode

PACKAGE = "world2act"
Value = bool | int | float | str | list[str]


@dataclass(frozen=True)
class Argument:
    """One argument of a graph; every value is text, as in ``ros2 launch``."""

    name: str
    default: str
    help: str


@dataclass(frozen=True)
class NodeSpec:
    """One node. When an ``essential`` node ends, the whole graph ends with its exit code."""

    executable: str
    name: str
    namespace: str = ""
    package: str = PACKAGE
    parameters: Mapping[str, Value] = field(default_factory=dict)
    params_file: str = ""
    remappings: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    essential: bool = False
    lifecycle: bool = True

    @property
    def full_name(self) -> str:
        """``/namespace/name``"""
        return "/" + "/".join(part.strip("/") for part in (self.namespace, self.name) if part.strip("/"))


@dataclass(frozen=True)
class Graph:
    """The nodes of one graph, ready to start."""

    name: str
    nodes: tuple[NodeSpec, ...]


@dataclass(frozen=True)
class GraphDescription:
    """A graph before its arguments have values."""

    name: str
    summary: str
    arguments: tuple[Argument, ...]
    _nodes: Callable[[dict[str, str]], list[NodeSpec]]

    def build(self, values: Mapping[str, str]) -> Graph:
        """Fill the arguments in.

        Raises:
            World2ActError: an unknown argument, or a value that means nothing.
        """
        known = {argument.name: argument.default for argument in self.arguments}
        unknown = [name for name in values if name not in known]
        if unknown:
            raise World2ActError(f"{self.name} has no argument {unknown[0]!r}; it has {', '.join(known)}")
        filled = {**known, **values}
        common = {"namespace": filled["namespace"], "params_file": _params_file(filled["params_file"])}
        nodes = [_with(node, env=dds_environment(), **common) for node in self._nodes(filled)]
        return Graph(self.name, tuple(nodes))


def _with(node: NodeSpec, **changes: object) -> NodeSpec:
    return NodeSpec(**{**node.__dict__, **changes})


def dds_environment() -> dict[str, str]:
    """Shared memory for images: without this profile most 640x480 frames are lost between processes.

    The profile is the one beside the launch files; a profile that the user has chosen wins.
    """
    profile = next((path for path in _profile_places() if path.is_file()), None)
    if profile is None:
        return {}
    names = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
    return {**dict.fromkeys(names, str(profile)), "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp"}


def _profile_places() -> list[Path]:
    from world2act_core.runtime.prefixes import ament_prefixes

    name = "fastdds_shm.xml"
    installed = [prefix / "share" / PACKAGE / "launch" / name for prefix in ament_prefixes()]
    return [Path(__file__).resolve().parents[2] / "launch" / name, *installed]


def _params_file(path: str) -> str:
    if path and not Path(path).is_file():
        raise World2ActError(f"params_file {path} does not exist")
    return str(Path(path).resolve()) if path else ""


def _flag(values: Mapping[str, str], name: str) -> bool:
    text = values[name].lower()
    if text not in ("true", "false"):
        raise World2ActError(f"{name}:={values[name]} must be true or false")
    return text == "true"


def _seconds(values: Mapping[str, str], name: str, or_zero: bool = False) -> float:
    try:
        seconds = float(values[name])
    except ValueError:
        seconds = -1.0
    if not (0 < seconds < 1e9 or (or_zero and seconds == 0)):
        raise World2ActError(f"{name}:={values[name]} must be a number of seconds above 0{' or 0' * or_zero}")
    return seconds


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _policy_address(values: Mapping[str, str]) -> str:
    if bool(values["policy"]) == bool(values["run"]):
        raise World2ActError("name one of policy:=ADDRESS (for example replay:BAG) and run:=FOLDER")
    return values["policy"] or f"run:{values['run']}"


def _camera_names(values: Mapping[str, str], embodiment: Embodiment) -> list[str]:
    names = _names(values["cameras"]) or list(embodiment.cameras)
    unknown = [name for name in names if name not in embodiment.cameras]
    if unknown:
        raise World2ActError(f"cameras: {embodiment.name} has {', '.join(embodiment.cameras)}, but no {unknown[0]!r}")
    return names


COMMON = (
    Argument("namespace", "", "namespace of every node and topic"),
    Argument("policy", "", "address of the policy, for example replay:BAG#EPISODE"),
    Argument("run", "", "run folder whose policy is started; short for policy:=run:FOLDER (FOLDER#base: its base)"),
    Argument("params_file", "", "YAML file with parameters of the nodes; it wins over the arguments"),
    Argument("record", "", "new folder for a bag of everything the graph says; empty: no recording"),
    Argument("autostart", "true", "configure and activate the nodes by themselves; false: a lifecycle manager does"),
)

_SIM_ARM = (
    *COMMON,
    Argument("robot", "libero_panda", "embodiment: shipped name or YAML file"),
    Argument("task", "libero_goal/8", "the scene to load, suite/task"),
    Argument("cameras", "", "cameras to render, separated by commas; empty: all of the embodiment"),
    Argument("realtime", "false", "false: lockstep, every state gets one command; true: 20 Hz by the wall clock"),
    Argument("starts", "", "start states to run, separated by commas; the graph ends after the last. Empty: wait"),
    Argument("source", "policy", "who acts, as bags call it: base, post-trained ..."),
    Argument("results", "", "file for the outcomes of starts, one JSON object a line"),
)

_REAL_ARM = (
    *COMMON,
    Argument("robot", "franka_fr3", "embodiment: shipped name or YAML file"),
    Argument("task", "", "default instruction of ~/start, in words"),
    Argument(
        "cameras",
        "",
        "drivers to start, e.g. agentview=usb:/dev/video0,wrist=realsense:SERIAL; empty: none",
    ),
    Argument("time_limit_s", "60", "longest duration of a task"),
    Argument("use_sim_time", "false", "take the time from /clock, as when a bag is played with --clock"),
    Argument("dry_run", "false", "publish commands on dry_run/<topic>, where no arm listens"),
    Argument("execution", OPEN_LOOP, f"how action chunks are executed: {', '.join(MODES)}"),
    Argument("dead_man_s", "0", "hold unless topic dead_man says true this often; 0: only if the contract asks"),
)


def _brain(values: Mapping[str, str], embodiment: Embodiment, clock: str) -> list[NodeSpec]:
    """Policy and command: the same on a simulated and a real arm, each in a process of its own."""
    shared: dict[str, Value] = {"robot": values["robot"], "clock": clock, "autostart": _flag(values, "autostart")}
    return [
        NodeSpec("policy", "policy", parameters={**shared, "policy": _policy_address(values)}),
        NodeSpec("command", "command", parameters=shared, essential=True),
    ]


def _recorder(values: Mapping[str, str]) -> list[NodeSpec]:
    if not values["record"]:
        return []
    parameters: dict[str, Value] = {
        "robot": values["robot"],
        "autostart": _flag(values, "autostart"),
        "folder": str(Path(values["record"]).absolute()),
    }
    return [NodeSpec("recorder", "recorder", parameters=parameters)]


def _sim_arm_nodes(values: dict[str, str]) -> list[NodeSpec]:
    from world2act_core.simulators.libero_package import horizon

    embodiment = load_embodiment(values["robot"])
    autostart, realtime = _flag(values, "autostart"), _flag(values, "realtime")
    brain = _brain(values, embodiment, "wall" if realtime else "state")
    recorder = _recorder(values)
    arm: dict[str, Value] = {
        "robot": values["robot"],
        "autostart": autostart,
        "task": values["task"],
        "cameras": _camera_names(values, embodiment),
        "realtime": realtime,
        "await_subscribers": [node.name for node in [*brain, *recorder]],
    }
    prompter: dict[str, Value] = {
        "autostart": autostart,
        "robot": values["robot"],
        "simulator": True,
        "source": values["source"],
        "time_limit_s": horizon(values["task"].partition("/")[0]) / embodiment.control_rate_hz,
        "wait_for": ["sim_arm", *(node.name for node in [*brain, *recorder])],
    }
    nodes = [
        NodeSpec("sim_arm", "sim_arm", parameters=arm, essential=True),
        NodeSpec("skill_prompter", "skill_prompter", parameters=prompter, essential=True),
        *brain,
        *recorder,
    ]
    if starts := _names(values["starts"]):
        runner: dict[str, Value] = {"starts": starts, "source": values["source"]}
        if values["results"]:
            runner["results"] = str(Path(values["results"]).absolute())
        nodes.append(NodeSpec("run_task", "run_task", parameters=runner, essential=True, lifecycle=False))
    elif values["results"]:
        raise World2ActError("results needs starts: without them nobody knows when the last task is over")
    return nodes


def _camera_nodes(values: Mapping[str, str], embodiment: Embodiment) -> list[NodeSpec]:
    nodes = []
    for entry in _names(values["cameras"]):
        name, _, driver = entry.partition("=")
        source, _, device = driver.partition(":")
        if name not in embodiment.cameras or source not in ("usb", "realsense"):
            expected = f"NAME=usb:DEVICE or NAME=realsense:SERIAL with NAME one of {', '.join(embodiment.cameras)}"
            raise World2ActError(f"cameras: {entry!r} is not {expected}")
        parameters: dict[str, Value] = {
            "robot": values["robot"],
            "autostart": _flag(values, "autostart"),
            "use_sim_time": _flag(values, "use_sim_time"),
            "camera": name,
            "source": source,
            "device": device,
        }
        nodes.append(NodeSpec("camera", f"{name}_camera", parameters=parameters))
    return nodes


def _execution(values: Mapping[str, str], embodiment: Embodiment) -> dict[str, dict[str, Value]]:
    """What policy and command do on a robot only."""
    check_mode(values["execution"], embodiment)
    shared: dict[str, Value] = {"use_sim_time": _flag(values, "use_sim_time"), "execution": values["execution"]}
    dead_man_s = _seconds(values, "dead_man_s", or_zero=True)
    return {"policy": shared, "command": {**shared, "dry_run": _flag(values, "dry_run"), "dead_man_s": dead_man_s}}


def _real_arm_nodes(values: dict[str, str]) -> list[NodeSpec]:
    embodiment = load_embodiment(values["robot"])
    sim_time = _flag(values, "use_sim_time")
    dry_run = _flag(values, "dry_run")
    brain = [
        _with(node, parameters={**node.parameters, **_execution(values, embodiment)[node.executable]})
        for node in _brain(values, embodiment, "wall")
    ]
    cameras = _camera_nodes(values, embodiment)
    recorder = _recorder(values)
    prompter: dict[str, Value] = {
        "autostart": _flag(values, "autostart"),
        "robot": values["robot"],
        "simulator": False,
        "use_sim_time": sim_time,
        "task": values["task"],
        "time_limit_s": _seconds(values, "time_limit_s"),
        "wait_for": [node.name for node in [*brain, *cameras, *recorder]],
    }
    nodes = [
        NodeSpec("skill_prompter", "skill_prompter", parameters=prompter, essential=True),
        *brain,
        *cameras,
        *recorder,
    ]
    if not dry_run:
        return nodes
    topic = embodiment.action.topic  # the others follow the command node's dry_run
    return [_with(node, remappings={topic: f"dry_run/{topic}"}) for node in nodes]


GRAPHS = {
    "sim_arm": GraphDescription("sim_arm", "the simulated arm and what drives it", _SIM_ARM, _sim_arm_nodes),
    "real_arm": GraphDescription("real_arm", "the same nodes on a robot", _REAL_ARM, _real_arm_nodes),
}


def describe(name: str) -> GraphDescription:
    """The description of a graph by name."""
    if name not in GRAPHS:
        raise World2ActError(f"there is no graph {name!r}; there are {', '.join(GRAPHS)}")
    return GRAPHS[name]
