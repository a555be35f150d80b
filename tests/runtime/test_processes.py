"""The runner starts a graph as processes and leaves none behind, however it ends."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from world2act_core.errors import MissingExtraError, World2ActError
from world2act_core.runtime import processes
from world2act_core.runtime.graphs import Graph, Include, NodeSpec
from world2act_core.runtime.processes import GraphProcesses, command_line, run_graph

SLEEPER = "import time\nprint('here', flush=True)\ntime.sleep(60)"
STUBBORN = f"import signal\n[signal.signal(s, signal.SIG_IGN) for s in (2, 15)]\n{SLEEPER}"
SLOW = f"import signal\nsignal.signal(2, signal.SIG_IGN)\n{SLEEPER}"
FAILING = "import sys, time\ntime.sleep(0.3)\nprint('disk full')\nsys.exit(3)"
FINISHING = "import time\ntime.sleep(0.3)"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ROS prefix with one package whose executables are small scripts; no ROS is needed."""
    folder = tmp_path / "lib" / "fake"
    folder.mkdir(parents=True)
    scripts = {"sleeper": SLEEPER, "stubborn": STUBBORN, "slow": SLOW, "failing": FAILING, "finishing": FINISHING}
    for name, body in scripts.items():
        path = folder / name
        path.write_text(f"#!{sys.executable} -S\n{body}\n")
        path.chmod(0o755)
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    grace = {signal.SIGINT: 0.5, signal.SIGTERM: 0.3, signal.SIGKILL: 2.0}
    monkeypatch.setattr(processes, "GRACE_S", grace)
    return tmp_path


def node(executable: str, essential: bool = False) -> NodeSpec:
    return NodeSpec(executable, executable, package="fake", essential=essential)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition: object, seconds: float = 10.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def test_an_essential_node_that_fails_ends_all_and_gives_the_exit_code(package: Path) -> None:
    output = io.StringIO()
    with GraphProcesses(Graph("g", (node("sleeper"), node("failing", essential=True))), output) as running:
        pids = [entry.process.pid for entry in running.running]
        assert running.wait() == 3
    assert not any(is_alive(pid) for pid in pids)
    assert (
        "[failing] disk full" in output.getvalue() and "[world2act] failing ended with exit code 3" in output.getvalue()
    )


def test_a_node_that_is_not_essential_may_die_but_is_remembered(package: Path) -> None:
    output = io.StringIO()
    graph = Graph("g", (node("failing"), node("sleeper")))
    with GraphProcesses(graph, output) as running:
        wait_until(lambda: running.running[0].process.poll() is not None)
        assert is_alive(running.running[1].process.pid)
        running.interrupt()
        assert running.wait() == 3


def test_an_essential_node_that_finishes_well_ends_all_well(package: Path) -> None:
    """A sleeper ended by SIGINT dies of KeyboardInterrupt; a graph that ended as planned reports what is wrong."""
    assert run_graph(Graph("g", (node("finishing", essential=True),)), io.StringIO()) == 0


def test_a_node_that_has_to_be_asked_twice_does_not_spoil_a_graph_that_ended_as_planned(package: Path) -> None:
    output = io.StringIO()
    with GraphProcesses(Graph("g", (node("slow"), node("finishing", essential=True))), output) as running:
        wait_until(lambda: "here" in output.getvalue())
        assert running.wait() == 0
    assert "slow was ended by SIGTERM" in output.getvalue()


def test_a_node_that_ignores_polite_signals_is_killed(package: Path) -> None:
    output = io.StringIO()
    with GraphProcesses(Graph("g", (node("stubborn"), node("finishing", essential=True))), output) as running:
        wait_until(lambda: "here" in output.getvalue())
        pid = running.running[0].process.pid
        assert running.wait() == 128 + signal.SIGKILL
    assert not is_alive(pid)


def test_nodes_do_not_outlive_a_killed_parent(package: Path) -> None:
    program = (
        "from world2act_core.runtime.graphs import Graph, NodeSpec\n"
        "from world2act_core.runtime import processes\n"
        "processes.REAPER_GRACE_S = 0.5\n"
        "nodes = tuple(NodeSpec(n, n, package='fake') for n in ('sleeper', 'stubborn'))\n"
        "with processes.GraphProcesses(Graph('g', nodes)) as running:\n"
        "    pathlib.Path(sys.argv[1]).write_text(' '.join(str(e.process.pid) for e in running.running))\n"
        "    running.wait()\n"
    )
    root, pid_file = Path(processes.__file__).parents[2], package / "pids"
    command = [sys.executable, "-c", f"import pathlib, sys\n{program}", str(pid_file)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)
    assert parent.stdout is not None
    try:
        seen = ""
        while seen.count("here") < 2:
            line = parent.stdout.readline()
            assert line, f"the parent ended: {seen}"
            seen += line
        wait_until(lambda: pid_file.exists() and len(pid_file.read_text().split()) == 2)
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    pids = [int(text) for text in pid_file.read_text().split()]
    wait_until(lambda: not any(is_alive(pid) for pid in pids))


def test_a_graph_whose_nodes_have_all_ended_is_over(package: Path) -> None:
    with GraphProcesses(Graph("g", (node("failing"), node("finishing"))), io.StringIO()) as running:
        assert running.wait() == 3


def test_ctrl_c_is_an_orderly_end(package: Path) -> None:
    graph = Graph("g", (node("sleeper"),))
    output = io.StringIO()

    class Interrupts(io.StringIO):
        def write(self, text: str) -> int:
            # Once: what the node says while it ends may hold the word again, and would then interrupt the tests.
            if "here" in text and "here" not in output.getvalue():
                os.kill(os.getpid(), signal.SIGINT)
            return output.write(text)

    before = signal.getsignal(signal.SIGINT)
    run_graph(graph, Interrupts())
    assert "interrupted; ending every node" in output.getvalue()
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_while_the_nodes_start_is_an_orderly_end_too(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CI once caught the interrupt between a node's first words and the handler that was set after its start."""
    started: list[str] = []
    start = GraphProcesses._start

    def interrupted(self: GraphProcesses, spec: NodeSpec, parameters: Path) -> None:
        start(self, spec, parameters)
        started.append(spec.name)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(GraphProcesses, "_start", interrupted)
    output = io.StringIO()
    run_graph(Graph("g", (node("sleeper"), node("stubborn"))), output)
    assert started == ["sleeper"]
    assert "interrupted; ending every node" in output.getvalue()


def test_parameters_remappings_and_namespace_reach_the_command_line(package: Path) -> None:
    spec = NodeSpec("sleeper", "n", "left", "fake", {"a": "true"}, "/p.yaml", {"arm_command": "dry_run/arm_command"})
    line = command_line(spec, Path("/x.yaml"))
    assert line[1:] == ["--ros-args", "-r", "__node:=n", "--params-file", "/x.yaml", "-r", "__ns:=/left",
                        "--params-file", "/p.yaml", "-r", "arm_command:=dry_run/arm_command"]  # fmt: skip
    assert processes.parameter_yaml(spec) == '{"/left/n": {"ros__parameters": {"a": "true"}}}'


def test_a_package_that_is_not_built_is_one_sentence(package: Path) -> None:
    with pytest.raises(MissingExtraError, match="fake/nothing is not installed; 'make setup'"):
        command_line(NodeSpec("nothing", "n", package="fake"), Path("/x.yaml"))


def test_a_driver_s_launch_file_is_started_by_upstream_s_launch(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ros2 = tmp_path / "bin" / "ros2"
    ros2.parent.mkdir()
    ros2.write_text('#!/bin/sh\necho "asked for: $*"\n')
    ros2.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ros2.parent}:{os.environ['PATH']}")
    include = Include("ur_robot_driver", "ur_control.launch.py", {"robot_ip": "10.0.0.2", "namespace": ""})
    output = io.StringIO()
    with GraphProcesses(Graph("g", (node("sleeper"),), (include,)), output) as running:
        running.wait()
    said = "[ur_robot_driver] asked for: launch ur_robot_driver ur_control.launch.py robot_ip:=10.0.0.2\n"
    assert said in output.getvalue(), "an empty argument is left to the launch file"


def test_without_upstream_s_launch_a_driver_is_one_sentence(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes.shutil, "which", lambda *_, **__: None)
    include = Include("ur_robot_driver", "ur_control.launch.py", {"robot_ip": "10.0.0.2"})
    with pytest.raises(World2ActError, match="ur_control.launch.py needs 'ros2 launch', .* leave robot_ip empty"):
        run_graph(Graph("g", (), (include,)), io.StringIO())
