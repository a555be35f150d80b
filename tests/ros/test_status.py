"""``world2act status`` beside a running graph, and beside none."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.ros.desks import OperatorDesk
from tests.ros.support import running
from world2act_core.embodiment import Embodiment
from world2act_core.runtime.graphs import Graph, NodeSpec, dds_environment

ROOT = Path(__file__).parents[2]


def status(domain: int, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "world2act_core.cli", "status", "--once", *arguments]
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain)}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)


def test_without_a_graph_it_says_so_in_one_sentence(domain: int) -> None:
    view = status(domain, "--within", "1")
    said, complaint = view.communicate(timeout=120)
    assert view.returncode == 1 and not said
    assert complaint.count("\n") == 1 and f"found under / in ROS domain {domain} within 1 s" in complaint


def test_it_prints_what_is_there(probe: Any, domain: int, panda: Embodiment, made_bag: Path) -> None:
    policy = {"policy": f"replay:{made_bag}", "clock": "wall"}
    env = dds_environment()
    nodes = (
        NodeSpec("command", "command", parameters={"clock": "wall"}, env=env),
        NodeSpec("policy", "policy", parameters=policy, env=env),
    )
    with running(Graph("two", nodes), domain):
        desk = OperatorDesk(probe, panda)
        probe.node.create_timer(0.1, lambda: desk.arm.show_images(time.time(), "agentview"))
        desk.begin("e1")
        desk.wait_tracked(desk.move(actions=np.full((4, 7), 0.25)))
        desk.stop()
        desk.wait_reason("stopped by topic stop")
        view = status(domain, "--within", "60")
        probe.wait(lambda: view.poll() is not None, 120, "the view has ended")
        assert view.stdout is not None and view.stderr is not None
        text, complaint = view.stdout.read(), view.stderr.read()
    assert view.returncode == 0, complaint
    lines = text.splitlines()
    assert lines[0] == f"/ in ROS domain {domain}"
    assert re.search(r"/command +active +WARN: holding: stopped by topic stop", text), text
    assert re.search(r"/policy +active +WARN: no chunk: camera wrist", text), text
    assert "skill    'skill' of task 'task'" in text and "STOP IS LATCHED: stopped by topic stop" in text, text
    assert re.search(r"holds +[\d.]+ s ago: stopped by topic stop", text), text
    rates = {row.split()[0]: float(row.split()[1]) for row in lines if re.match(r"  /\S+ +[\d.]+ ", row)}
    assert 12 < rates["/arm_command"] < 25 and 3 < rates["/joint_states"] < 15, text
    assert 3 < rates["/agentview/image_raw"] < 15 and rates["/wrist/image_raw"] == 0, text
