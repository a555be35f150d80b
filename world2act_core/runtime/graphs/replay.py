"""Graph ``replay``: a bag drives the policy, whose chunks are compared with those recorded. No arm, no commands.

Time is the bag's: an observation is shown when the one before it has been answered, however long that took.
"""

from __future__ import annotations

from pathlib import Path

from world2act_core.errors import World2ActError
from world2act_core.runtime.graphs.common import COMMON, flag, policy_address, seconds, supervised
from world2act_core.runtime.graphs.description import Argument, GraphDescription, NodeSpec, Part, Value
from world2act_core.runtime.graphs.real_arm import ROBOTS

OF_AN_ARM = ("record", "require_gate")

ARGUMENTS = (
    *(argument for argument in COMMON if argument.name not in OF_AN_ARM),
    Argument(
        "bag", "", "the bag: what it says a policy was shown is shown again, its chunks (or actions) are compared"
    ),
    Argument("bag_namespace", "", "namespace of the robot in the bag"),
    Argument("robot", "", f"{', '.join(ROBOTS)}; or a contract, shipped name or YAML file; empty: what the bag names"),
    Argument("tolerance", "0", "largest absolute difference of any value that counts as the same"),
    Argument("answer_within_s", "10", "a chunk that takes longer is missing"),
    Argument("results", "", "file for the comparison as JSON"),
)


def replay_nodes(values: dict[str, str]) -> list[Part]:
    if not values["bag"]:
        raise World2ActError("name the bag that drives the policy: bag:=FOLDER")
    policy, robot = policy_address(values), ROBOTS.get(values["robot"], values["robot"])
    if not robot:
        from world2act_core.evaluation.replay import bag_embodiment

        robot = bag_embodiment(values["bag"])
    parameters: dict[str, Value] = {
        "robot": robot,
        "bag": str(Path(values["bag"]).absolute()),
        "bag_namespace": values["bag_namespace"],
        "tolerance": _tolerance(values["tolerance"]),
        "answer_within_s": seconds(values, "answer_within_s"),
    }
    if values["results"]:
        parameters["results"] = str(Path(values["results"]).absolute())
    shared: dict[str, Value] = {"robot": robot, "clock": "prompt", "autostart": flag(values, "autostart")}
    return [
        NodeSpec("policy", "policy", parameters={**shared, "policy": policy}),
        NodeSpec("replay", "replay", parameters=parameters, essential=True, lifecycle=False),
    ]


def _tolerance(text: str) -> float:
    try:
        tolerance = float(text)
    except ValueError:
        tolerance = -1.0
    if not 0 <= tolerance < 1e9:
        raise World2ActError(f"tolerance:={text} must be a number from 0 on")
    return tolerance


REPLAY = GraphDescription(
    "replay", "a bag that drives a policy and is compared with it", ARGUMENTS, supervised(replay_nodes)
)
