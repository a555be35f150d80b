"""What every graph shares: the meaning of argument values, and the nodes that are the same on every arm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.errors import World2ActError
from world2act_core.runtime.graphs.description import Argument, NodeSpec, Part, Value

Parts = Callable[[dict[str, str]], list[Part]]

COMMON = (
    Argument("namespace", "", "namespace of every node and topic"),
    Argument("policy", "", "address of the policy, for example replay:BAG#EPISODE"),
    Argument("run", "", "run folder whose policy is started; short for policy:=run:FOLDER (FOLDER#base: its base)"),
    Argument("params_file", "", "YAML file with parameters of the nodes; it wins over the arguments"),
    Argument("record", "", "new folder for a bag of everything the graph says; empty: no recording"),
    Argument(
        "require_gate",
        "auto",
        "whether a run's post-trained policy needs a passed gate (world2act gate): true; false; "
        "auto: on an arm, not in a simulator, an emulator or a dry run",
    ),
    Argument("autostart", "true", "bring the nodes up; false: a lifecycle manager of your own does, nobody supervises"),
    Argument(
        "supervisor",
        "true",
        "one node brings the others up in order, watches them and takes them down; false: each comes up by itself",
    ),
)

ACTIVATION_ORDER = (
    "arm_emulator",
    "sim_arm",
    "camera",
    "emulator_camera",
    "static_transforms",
    "recorder",  # before anybody commands: it must not miss the first of it
    "command",
    "policy",
    "skill_prompter",  # last: from then on a task may begin
)
"""Executables in the order in which a supervisor activates their nodes; down it goes the other way round."""

SKILLS = (
    Argument("skills", "whole", "whole: the policy is prompted with the instruction; split: skill by skill"),
    Argument("skill_limit_s", "0", "skills:=split: the next skill begins after so long; 0: only by what is seen"),
)

CAMERAS_HELP = (
    "drivers to start, e.g. agentview=usb:/dev/video0,wrist=realsense:SERIAL; NAME=bag:PATH plays a bag's images; "
    "NAME=external, or nothing: its driver runs already"
)


def skill_parameters(values: Mapping[str, str]) -> dict[str, Value]:
    """What the prompter does with an instruction of several skills."""
    if values["skills"] not in ("whole", "split"):
        raise World2ActError(f"skills:={values['skills']} is neither whole nor split")
    limit_s = seconds(values, "skill_limit_s", or_zero=True)
    if limit_s and values["skills"] == "whole":
        raise World2ActError("skill_limit_s means nothing without skills:=split")
    return {"skills": values["skills"], "skill_limit_s": limit_s}


def supervised(parts: Parts) -> Parts:
    """Let a supervisor bring the nodes up, unless the arguments say otherwise."""

    def with_supervisor(values: dict[str, str]) -> list[Part]:
        wanted = flag(values, "supervisor") and flag(values, "autostart")
        found = parts(values)
        if not wanted:
            return found
        lifecycle = [part for part in found if isinstance(part, NodeSpec) and part.lifecycle]
        ordered = sorted(lifecycle, key=lambda node: ACTIVATION_ORDER.index(node.executable))
        nodes = [
            replace(part, parameters={**part.parameters, "autostart": False}) if part in lifecycle else part
            for part in found
        ]
        parameters: dict[str, Value] = {"nodes": [node.name for node in ordered]}
        return [*nodes, NodeSpec("supervisor", "supervisor", parameters=parameters, essential=True)]

    return with_supervisor


def flag(values: Mapping[str, str], name: str) -> bool:
    text = values[name].lower()
    if text not in ("true", "false"):
        raise World2ActError(f"{name}:={values[name]} must be true or false")
    return text == "true"


def seconds(values: Mapping[str, str], name: str, or_zero: bool = False) -> float:
    try:
        seconds = float(values[name])
    except ValueError:
        seconds = -1.0
    if not (0 < seconds < 1e9 or (or_zero and seconds == 0)):
        raise World2ActError(f"{name}:={values[name]} must be a number of seconds above 0{' or 0' * or_zero}")
    return seconds


def names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def policy_address(values: Mapping[str, str]) -> str:
    if bool(values["policy"]) == bool(values["run"]):
        raise World2ActError("name one of policy:=ADDRESS (for example replay:BAG) and run:=FOLDER")
    return values["policy"] or f"run:{values['run']}"


def demand_gate(values: Mapping[str, str], contract: str, *, on_arm: bool) -> None:
    """Refuse a run's post-trained policy that no gate vouches for. Its base is what it was compared with, not what
    post-training may have broken, so nothing is asked of it.

    Raises:
        World2ActError: says why, and which argument lifts the demand.
    """
    from world2act_core.policies.run_folder import split_reference
    from world2act_core.residual.engine import export_folder

    auto = values["require_gate"] == "auto"
    if not (on_arm if auto else flag(values, "require_gate")):
        return
    scheme, _, reference = policy_address(values).partition(":")
    if scheme == "onnx":
        _demand_gate_of_export(Path(export_folder(reference)), load_embodiment(contract).name)
        return
    if scheme != "run":
        if auto:
            return
        raise World2ActError(f"require_gate:=true needs a policy of a run, but {scheme}: policies have no gate")
    folder, part = split_reference(reference)
    if part == "base":
        return
    from world2act_core.evaluation.signature import require_gate

    try:
        require_gate(folder, embodiment=load_embodiment(contract).name)
    except World2ActError as refusal:
        raise World2ActError(f"{refusal} (or start it ungated, in so many words: require_gate:=false)") from None


def _demand_gate_of_export(folder: Path, embodiment: str) -> None:
    """An export carries the gate that its run had when it was made."""
    from world2act_core.evaluation.signature import require_gate
    from world2act_core.residual.engine import read_export

    made_of = read_export(folder).made_of
    try:
        require_gate(folder, embodiment=embodiment, made_of=made_of)
    except World2ActError as refusal:
        raise World2ActError(
            f"{refusal} (that is: gate the run, then export it again; or start it ungated, in so many words: "
            f"require_gate:=false)"
        ) from None


def brain(values: Mapping[str, str], contract: str, clock: str, *, on_arm: bool) -> list[NodeSpec]:
    """Policy and command: the same on a simulated and a real arm, each in a process of its own."""
    demand_gate(values, contract, on_arm=on_arm)
    shared: dict[str, Value] = {"robot": contract, "clock": clock, "autostart": flag(values, "autostart")}
    return [
        NodeSpec("policy", "policy", parameters={**shared, "policy": policy_address(values)}),
        NodeSpec("command", "command", parameters=shared, essential=True),
    ]


def camera_nodes(
    values: Mapping[str, str], contract: str, embodiment: Embodiment, *, emulated: bool = False
) -> list[NodeSpec]:
    """One process a camera: a driver or, for a name alone where the arm is ``emulated``, the emulator's renderer.

    Raises:
        World2ActError: no such camera or source, or a camera twice.
    """
    from world2act_core.runtime.cameras import SOURCES

    nodes: dict[str, NodeSpec] = {}
    for entry in names(values["cameras"]):
        name, _, driver = entry.partition("=")
        source, _, device = driver.partition(":")
        rendered = emulated and not driver
        if name not in embodiment.cameras or not (rendered or source in SOURCES or driver == "external"):
            forms = "NAME=usb:DEVICE, NAME=realsense:SERIAL, NAME=bag:PATH or NAME=external"
            raise World2ActError(f"cameras: {entry!r} is not {forms} with NAME one of {', '.join(embodiment.cameras)}")
        if driver == "external":
            continue
        if name in nodes:
            raise World2ActError(f"cameras: {name} is there twice")
        parameters: dict[str, Value] = {
            "robot": contract,
            "autostart": flag(values, "autostart"),
            "use_sim_time": flag(values, "use_sim_time"),
            "camera": name,
        }
        if not rendered:
            parameters |= {"source": source, "device": device}
        nodes[name] = NodeSpec("emulator_camera" if rendered else "camera", f"{name}_camera", parameters=parameters)
    return list(nodes.values())


def recorder(values: Mapping[str, str], contract: str, *, optional: tuple[str, ...] = ()) -> list[NodeSpec]:
    """The recorder, if asked for; it waits for somebody on every topic but the ``optional`` ones."""
    if not values["record"]:
        return []
    parameters: dict[str, Value] = {
        "robot": contract,
        "autostart": flag(values, "autostart"),
        "folder": str(Path(values["record"]).absolute()),
    }
    if optional:
        parameters["optional_topics"] = list(optional)
    return [NodeSpec("recorder", "recorder", parameters=parameters)]
