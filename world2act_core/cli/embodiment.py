"""Check a robot's embodiment contract, or list those that come with World2Act.

`check` reads a contract and prints what it says; a contract that contradicts itself is refused with one sentence that
names file, key and value.
"""

from __future__ import annotations

import argparse

EXAMPLES = """\
  world2act embodiment list
  world2act embodiment check libero_panda
  world2act embodiment check my_arm.yaml"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="names of the contracts that come with World2Act")
    check = actions.add_parser("check", help="read a contract and print what it says")
    check.add_argument("contract", metavar="FILE", help="a YAML file, or the name of a contract that is shipped")


def run(args: argparse.Namespace) -> int:
    from world2act_core.embodiment import load_embodiment, shipped_embodiments

    if args.action == "list":
        for name in shipped_embodiments():
            print(f"{name:16} {load_embodiment(name).description}")
        return 0
    print(summary(args.contract))
    return 0


def summary(contract: str) -> str:
    """What a contract says, one line a topic."""
    from world2act_core.embodiment import load_embodiment

    robot = load_embodiment(contract)
    cameras = ", ".join(f"{c.name} {c.width}x{c.height} at {c.rate_hz:g} Hz" for c in robot.cameras.values())
    streams = ", ".join(f"{s.name} ({s.size}, {s.units})" for s in robot.state.values())
    commands = f"{robot.output.kind} on {', '.join(robot.output.topics or (robot.action.topic,))}"
    return "\n".join(
        [
            f"{robot.file}: a valid contract",
            f"  robot     {robot.name}: {robot.description}",
            f"  control   {robot.control_rate_hz:g} Hz, chunks of {robot.chunk_length} steps",
            f"  cameras   {cameras}",
            f"  state     {streams}",
            f"  action    {robot.action.kind}: {', '.join(robot.action.names)}",
            f"  output    {commands}",
            f"  gripper   {robot.action.names[robot.gripper.index]}: "
            f"{robot.gripper.open:g} opens, {robot.gripper.close:g} closes",
        ]
    )
