"""docs/robot-cell.md: every command on the page is one that this version takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from world2act_core.cli import build_parser, commands
from world2act_core.runtime.graphs import describe

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "robot-cell.md").read_text()
LINES = [
    line
    for block in re.findall(r"^```bash\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
    if line
]


def words(line: str) -> list[str]:
    return shlex.split(line, comments=True)


def of(*beginning: str) -> list[str]:
    found = [line for line in LINES if words(line)[: len(beginning)] == list(beginning)]
    assert found
    return found


def parse(command: list[str]) -> None:
    """Refuses what ``world2act`` would refuse before it does anything."""
    if command[0] not in commands():
        pytest.skip(f"`world2act {command[0]}` is not in this version")
    build_parser([command[0]]).parse_args(command)


@pytest.mark.parametrize("line", of("scripts/run", "world2act"))
def test_our_commands_take_these_arguments(line: str) -> None:
    parse(words(line)[2:])


@pytest.mark.parametrize("line", of("scripts/run", "ros2", "launch"))
def test_launch_files_take_these_arguments(line: str) -> None:
    _, _, _, package, file, *given = words(line)
    assert package == "world2act"
    assert (ROOT / "launch" / file).is_file()
    graph = describe(file.partition(".")[0])
    assert {argument.partition(":=")[0] for argument in given} <= {argument.name for argument in graph.arguments}


def test_drivers_and_cameras_of_these_launches_can_be_started() -> None:
    """Built but for the policy: its run is not there before the page was followed."""
    for line in of("scripts/run", "ros2", "launch"):
        file, *given = words(line)[4:]
        values = dict(argument.split(":=", 1) for argument in given)
        if "run" in values:
            values |= {"run": "", "policy": "replay:bags/x"}
        built = describe(file.partition(".")[0]).build(values)
        assert {node.name for node in built.nodes} >= {"wrist_camera", "agentview_camera", "skill_prompter"}
        assert [include.package for include in built.includes] == ["ur_robot_driver"]


@pytest.mark.parametrize("line", [line for line in LINES if "docker compose" in line])
def test_profiles_are_there_and_take_these_arguments(line: str) -> None:
    setting, *rest = words(line)
    name, _, arguments = setting.partition("=")
    compose = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
    profile = rest[rest.index("--profile") + 1]
    (service,) = [s for s in compose["services"].values() if profile in s["profiles"]]
    command = re.sub(r"\$\{" + name + r":-[^}]*\}", arguments, service["command"])
    assert command != service["command"], f"the service does not read {name}"
    parse(shlex.split(command)[1:])


def test_files_that_the_page_names_are_there() -> None:
    for file in re.findall(r"\bdocker/[\w./-]+|world2act_core/[\w./]+\.yaml", PAGE):
        assert (ROOT / file).exists(), file
    for target in re.findall(r"\]\(([^)#]+)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
