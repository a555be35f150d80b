"""Graph ``sim_arm``: a simulated task, the brain, and what runs tasks on it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.errors import World2ActError
from world2act_core.runtime.graphs.common import (
    COMMON,
    SKILLS,
    brain,
    flag,
    names,
    recorder,
    seconds,
    skill_parameters,
    supervised,
)
from world2act_core.runtime.graphs.description import Argument, GraphDescription, NodeSpec, Part, Value

ARGUMENTS = (
    *COMMON,
    *SKILLS,
    Argument("robot", "libero_panda", "embodiment: shipped name or YAML file"),
    Argument("task", "libero_goal/8", "the scene to load, suite/task"),
    Argument("cameras", "", "cameras to render, separated by commas; empty: all of the embodiment"),
    Argument("remote", "false", "true: simulate in a process of its own even if the arm's node could"),
    Argument("patience_s", "60", "longest step of such a process, in seconds, before it counts as hung"),
    Argument("realtime", "false", "false: lockstep, every state gets one command; true: 20 Hz by the wall clock"),
    Argument("starts", "", "start states to run, separated by commas; the graph ends after the last. Empty: wait"),
    Argument("source", "policy", "who acts, as bags call it: base, post-trained ..."),
    Argument("results", "", "file for the outcomes of starts, one JSON object a line"),
)


def _camera_names(values: Mapping[str, str], embodiment: Embodiment) -> list[str]:
    wanted = names(values["cameras"]) or list(embodiment.cameras)
    unknown = [name for name in wanted if name not in embodiment.cameras]
    if unknown:
        raise World2ActError(f"cameras: {embodiment.name} has {', '.join(embodiment.cameras)}, but no {unknown[0]!r}")
    return wanted


def _horizon(scene: str) -> int:
    from world2act_core.simulators.suites import horizon_of

    suite, _, task = scene.partition("/")
    if not task.isdigit():
        raise World2ActError(f"task: {scene!r} is not suite/number, for example libero_goal/8")
    return horizon_of(suite, int(task))


def sim_arm_nodes(values: dict[str, str]) -> list[Part]:
    embodiment = load_embodiment(values["robot"])
    autostart, realtime = flag(values, "autostart"), flag(values, "realtime")
    brain_nodes = brain(values, values["robot"], "wall" if realtime else "state", on_arm=False)
    recorder_nodes = recorder(values, values["robot"])
    arm: dict[str, Value] = {
        "robot": values["robot"],
        "autostart": autostart,
        "task": values["task"],
        "cameras": _camera_names(values, embodiment),
        "realtime": realtime,
        "remote": flag(values, "remote"),
        "patience_s": seconds(values, "patience_s"),
        "await_subscribers": [node.name for node in [*brain_nodes, *recorder_nodes]],
    }
    prompter: dict[str, Value] = {
        "autostart": autostart,
        "robot": values["robot"],
        "simulator": True,
        **skill_parameters(values),
        "start": f"{values['task']}/i0",
        "source": values["source"],
        "time_limit_s": _horizon(values["task"]) / embodiment.control_rate_hz,
        "wait_for": ["sim_arm", *(node.name for node in [*brain_nodes, *recorder_nodes])],
    }
    nodes: list[Part] = [
        NodeSpec("sim_arm", "sim_arm", parameters=arm, essential=True),
        NodeSpec("skill_prompter", "skill_prompter", parameters=prompter, essential=True),
        *brain_nodes,
        *recorder_nodes,
    ]
    if starts := names(values["starts"]):
        runner: dict[str, Value] = {"starts": starts, "source": values["source"]}
        if values["results"]:
            runner["results"] = str(Path(values["results"]).absolute())
        nodes.append(NodeSpec("run_task", "run_task", parameters=runner, essential=True, lifecycle=False))
    elif values["results"]:
        raise World2ActError("results needs starts: without them nobody knows when the last task is over")
    return nodes


SIM_ARM = GraphDescription("sim_arm", "the simulated arm and what drives it", ARGUMENTS, supervised(sim_arm_nodes))
