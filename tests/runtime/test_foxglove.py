"""The Foxglove layout shows topics that the graph of a Franka has, and only those."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from world2act_core.embodiment import load_embodiment
from world2act_core.episodes import messages
from world2act_core.runtime.graphs import describe

LAYOUT: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "launch" / "franka_fr3.foxglove.json").read_text(encoding="utf-8")
)


def shown() -> set[str]:
    """Topics that the panels name: a path is a topic and, behind a dot, fields of its message."""
    panels = LAYOUT["configById"].values()
    named = [panel[key] for panel in panels for key in ("topicPath", "topicToRender") if key in panel]
    named += [panel["imageMode"]["imageTopic"] for panel in panels if "imageMode" in panel]
    named += [path["value"] for panel in panels for path in panel.get("paths", ())]
    return {re.split(r"[.\[]", path)[0] for path in named}


def test_every_topic_is_one_of_the_graph_and_all_that_matters_is_shown() -> None:
    graph = describe("real_arm").build({"robot": "franka", "policy": "replay:bag"})
    command = next(node for node in graph.nodes if node.executable == "command")
    robot = load_embodiment(str(command.parameters["robot"]))
    state = {stream.topic for stream in robot.state.values()}
    cameras = {camera.topic for camera in robot.cameras.values()}
    output = {robot.output.topic} | ({robot.output.gripper.topic} if robot.output.gripper else set())
    common = {messages.EPISODE_EVENT_TOPIC, messages.SKILL_PROMPT_TOPIC, messages.ACTION_CHUNK_TOPIC, "diagnostics"}
    there = {
        f"/{topic.strip('/')}"
        for topic in {*state, *cameras, *output, *common, robot.action.topic, f"{command.full_name}/status"}
    }
    assert shown() - there == set()
    wanted = {*state, *cameras, robot.action.topic, robot.output.topic, "diagnostics"}
    assert {f"/{topic}" for topic in wanted} - shown() == set()


def test_every_panel_has_its_place_and_every_place_a_panel() -> None:
    def places(node: Any) -> list[str]:
        return [node] if isinstance(node, str) else places(node["first"]) + places(node["second"])

    assert sorted(places(LAYOUT["layout"])) == sorted(LAYOUT["configById"])


def test_plots_of_joints_and_commands_have_a_curve_for_each() -> None:
    robot = load_embodiment("franka_fr3")
    curves = {name: len(panel["paths"]) for name, panel in LAYOUT["configById"].items() if name.startswith("Plot!")}
    assert curves["Plot!joints"] == robot.state["joint_positions"].size
    labels = [path["label"] for path in LAYOUT["configById"]["Plot!commands"]["paths"]]
    assert labels == list(robot.action.names)
