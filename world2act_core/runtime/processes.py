"""Starts a graph as processes, without ``ros2 launch``: prefixed output, an orderly end, no orphans.

Every node leads a session of its own, so that Ctrl-C in a terminal reaches only this process, which then ends the nodes
in order: SIGINT, then SIGTERM, then SIGKILL, each with a time-out. If this process itself is killed, ``reaper`` ends
the nodes.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

from world2act_core.errors import World2ActError
from world2act_core.runtime import reaper
from world2act_core.runtime.graphs import Graph, Include, NodeSpec, Value
from world2act_core.runtime.prefixes import find_executable, ros_environment

# How long a node may take to close a bag or free a simulator before the next, harder signal.
GRACE_S = {signal.SIGINT: 8.0, signal.SIGTERM: 3.0, signal.SIGKILL: 2.0}
REAPER_GRACE_S = 5.0


def parameter_yaml(node: NodeSpec) -> str:
    """The node's parameters as a ROS 2 parameter file for its full name."""
    values: dict[str, Value] = dict(node.parameters)
    # JSON is YAML whose strings cannot be mistaken for numbers.
    return json.dumps({node.full_name: {"ros__parameters": values}})


def command_line(node: NodeSpec, parameters: Path) -> list[str]:
    """How the node is started: executable and ROS arguments, as ``ros2 run`` would."""
    arguments = ["--ros-args", "-r", f"__node:={node.name}", "--params-file", str(parameters)]
    if node.namespace:
        arguments += ["-r", f"__ns:=/{node.namespace.strip('/')}"]
    if node.params_file:  # later files win
        arguments += ["--params-file", node.params_file]
    for name, target in node.remappings.items():
        arguments += ["-r", f"{name}:={target}"]
    return [str(find_executable(node.package, node.executable)), *arguments]


def include_command_line(include: Include) -> list[str]:
    """A launch file of another package needs upstream's ``ros2 launch``.

    Raises:
        World2ActError: it is not there.
    """
    ros2 = shutil.which("ros2", path=ros_environment().get("PATH"))
    if ros2 is None:
        raise World2ActError(
            f"{include.package}/{include.launch_file} needs 'ros2 launch', which is not installed here: "
            "start the robot's driver yourself and leave robot_ip empty"
        )
    arguments = [f"{name}:={value}" for name, value in include.arguments.items() if value]
    return [ros2, "launch", include.package, include.launch_file, *arguments]


@dataclass
class Running:
    """A started node (or launch file) and the thread that prints what it says."""

    node: NodeSpec | Include
    process: subprocess.Popen[str]
    reader: threading.Thread

    def describe_end(self) -> str:
        code = self.process.returncode
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"{self.node.name} {how}"


class GraphProcesses:
    """The processes of one graph. Use as a context manager: leaving it ends them all."""

    def __init__(self, graph: Graph, output: IO[str] | None = None) -> None:
        self._graph, self._output = graph, output or sys.stdout
        self._lock = threading.Lock()
        self._interrupted = False
        self.running: list[Running] = []

    def __enter__(self) -> GraphProcesses:
        self._folder = tempfile.TemporaryDirectory(prefix="world2act_up_")
        self._reaper = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(reaper.__file__)), str(REAPER_GRACE_S)],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            parts: list[NodeSpec | Include] = [*self._graph.includes, *self._graph.nodes]
            for index, part in enumerate(parts):
                if self._interrupted:
                    break
                self._start(part, Path(self._folder.name) / f"{index}.yaml")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        assert self._reaper.stdin is not None
        self._reaper.stdin.close()
        self._reaper.wait()
        self._folder.cleanup()

    def _start(self, part: NodeSpec | Include, parameters: Path) -> None:
        environment = ros_environment()
        if isinstance(part, Include):
            command = include_command_line(part)
        else:
            parameters.write_text(parameter_yaml(part), encoding="utf-8")
            command = command_line(part, parameters)
            for name, value in part.env.items():
                environment.setdefault(name, value)  # what the user has set wins
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        assert self._reaper.stdin is not None
        self._reaper.stdin.write(f"{process.pid}\n")
        self._reaper.stdin.flush()
        reader = threading.Thread(target=self._relay, args=(part.name, process), daemon=True)
        reader.start()
        self.running.append(Running(part, process, reader))

    def _relay(self, name: str, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._say(name, line.rstrip("\n"))

    def _say(self, name: str, line: str) -> None:
        with self._lock:
            print(f"[{name}] {line}", file=self._output, flush=True)

    def wait(self) -> int:
        """Until an essential node ends, none is left, or the user interrupts; then end all.

        Returns:
            0 if every node ended well; else the exit code of the first that did not. Who had to be asked a second time
            to end, by SIGTERM, was slow, as anything is on a busy machine, and did end; who had to be killed did not.
        """
        reported: set[int] = set()
        culprit: Running | None = None
        while culprit is None and not self._interrupted and len(reported) < len(self.running):
            time.sleep(0.05)
            for index, running in enumerate(self.running):
                if index in reported or running.process.poll() is None:
                    continue
                reported.add(index)
                self._say("world2act", running.describe_end())
                if running.node.essential:
                    culprit = running
                    break
        if self._interrupted:
            self._say("world2act", "interrupted; ending every node")
        died = [running for index, running in enumerate(self.running) if index in reported]
        self.end()
        for running in self.running:
            if running not in died and running.process.returncode:
                self._say("world2act", running.describe_end())
        ended = [running for running in self.running if running.process.returncode != -signal.SIGTERM]
        return self._exit_code([*([culprit] if culprit else []), *died, *ended])

    def _exit_code(self, in_order: Sequence[Running]) -> int:
        for running in in_order:
            code = running.process.returncode
            if code:
                return code if code > 0 else 128 - code
        return 0

    def interrupt(self) -> None:
        """End everything soon; safe to call from a signal handler."""
        self._interrupted = True

    def end(self) -> None:
        """End every node: SIGINT, then SIGTERM, then SIGKILL, by process id."""
        for number, grace_s in GRACE_S.items():
            left = [running for running in self.running if running.process.poll() is None]
            for running in left:
                running.process.send_signal(number)
            deadline = time.monotonic() + grace_s
            for running in left:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    running.process.wait(max(0.0, deadline - time.monotonic()))
        for running in self.running:
            running.reader.join(timeout=1.0)


def run_graph(graph: Graph, output: IO[str] | None = None) -> int:
    """Run a graph in the foreground until an essential node ends or Ctrl-C; returns an exit code.

    An interrupted graph whose nodes all ended well counts as success, as it is the normal way to stop a robot.
    """
    processes = GraphProcesses(graph, output)
    # The handlers first: an interrupt between the first node's start and its handler would tear the start in two.
    with _interrupting(processes), processes:
        return processes.wait()


def end_with_parent() -> None:
    """Have the kernel send this process SIGTERM when its parent ends, however that ends (Linux, prctl(2))."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # 1: PR_SET_PDEATHSIG


@contextlib.contextmanager
def _interrupting(processes: GraphProcesses) -> Iterator[None]:
    def handle(number: int, frame: FrameType | None) -> None:
        processes.interrupt()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
