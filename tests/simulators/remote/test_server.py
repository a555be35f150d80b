"""The server by itself, spoken to over its socket: what it does with requests that make no sense."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.simulators.remote import toy
from world2act_core.errors import ContractError, World2ActError
from world2act_core.simulators.remote import messages
from world2act_core.simulators.remote.client import RemoteSimulator
from world2act_core.simulators.remote.server import serve
from world2act_core.simulators.remote.shared import SharedArrays, create
from world2act_core.simulators.starts import Start
from world2act_core.simulators.suites import suite_tasks

HELLO = {"op": "hello", "protocol": messages.VERSION}
OPEN = {
    "op": "open", "suite": toy.SUITE, "task": 0, "image_size": None,
    "rendering": {"effects": False, "multisamples": 0, "shadow_map": 0, "detail_m": 0.0},
}  # fmt: skip
START = {"suite": toy.SUITE, "task": 0, "index": 1, "jitter_cm": 0.25, "seed": 3}


class Line:
    """A socket to a server that serves in another thread."""

    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(20)
        self.thread = threading.Thread(target=serve, args=(theirs, SharedArrays(create())))
        self.thread.start()

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        messages.send(self.socket, request)
        return messages.receive(self.socket)

    def complaint(self, request: dict[str, Any]) -> str:
        error = messages.error_from(self.ask(request), "it")
        assert error is not None
        return str(error)

    def close(self) -> None:
        self.socket.close()
        self.thread.join(20)
        assert not self.thread.is_alive()


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.close()


@pytest.fixture
def opened(line: Line) -> Line:
    assert "error" not in line.ask(HELLO)
    assert line.ask(OPEN)["facts"] == {"toys": 1}
    return line


def test_it_greets_with_its_versions(line: Line) -> None:
    greeting = line.ask(HELLO)
    assert greeting["protocol"] == messages.VERSION and {"world2act", "python", "numpy"} <= set(greeting["versions"])


def test_a_client_of_another_version_is_refused(line: Line) -> None:
    said = line.complaint({"op": "hello", "protocol": 99})
    assert said.startswith("the client speaks version 99 of the simulators' protocol, this server version 1")
    assert "before 'hello'" in line.complaint(OPEN)


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({}, "'message': op is missing, expected str"),
        ({"op": 7}, "op is 7, expected str"),
        ({"op": "dance"}, "there is no operation 'dance': there are hello, "),
        ({"op": "reset"}, "'reset': start is missing"),
        ({"op": "reset", "start": {"suite": "toy_goal"}}, "is no Start"),
        ({"op": "reset", "start": {**START, "colour": "red"}}, "is no Start"),
        ({"op": "observe", "cameras": "agentview"}, "cameras is 'agentview', expected list"),
        ({"op": "step"}, "'step': action is missing"),
        ({"op": "step", "action": ["x"]}, "'step': action is no list of numbers"),
        ({"op": "step", "action": [[0.0], [1.0, 2.0]]}, "'step': action is no list of numbers"),
        ({"op": "open", "suite": "toy_goal", "task": True}, "task is True, expected int"),
        ({"op": "open", "suite": "go", "task": 0, "image_size": None, "rendering": {}}, "is no RenderSettings"),
        ({**OPEN, "suite": "go_fish"}, "no simulator has suite 'go_fish'"),
        ({"op": "tasks", "suite": "toy_box", "tasks": []}, "there is no toy 'toy_box'"),
        ({"op": "demonstrate", "step": 0}, "no demonstration is under way"),
    ],
)
def test_a_request_without_sense_is_one_sentence_and_the_next_one_is_answered(
    line: Line, request_: dict[str, Any], says: str
) -> None:
    line.ask(HELLO)
    line.ask(OPEN)
    assert says in line.complaint(request_)
    line.ask(OPEN)  # a refused 'open' has closed the simulator
    assert line.ask({"op": "reset", "start": START})["task"] == "count from 1"


def test_nothing_is_done_before_something_is_open(line: Line) -> None:
    line.ask(HELLO)
    assert "no simulator is open" in line.complaint({"op": "observe", "cameras": []})


@pytest.mark.parametrize(
    "content", [b"\x05\0\0\0{oops", struct.pack("<I", 2**31) + b"x", b"\x02\0\0\0[]", b"\x04\0\0\0\xff\xfe\xfd\xfc"]
)
def test_what_is_no_message_is_told_so_and_hung_up_on(line: Line, content: bytes) -> None:
    line.socket.sendall(content)
    answer = messages.receive(line.socket)
    assert answer["error"]["message"].startswith("no message of this protocol")
    with pytest.raises((EOFError, ConnectionError)):
        messages.receive(line.socket)


def test_half_a_message_ends_the_server_quietly(line: Line) -> None:
    line.socket.sendall(b"\x10\0")
    line.close()


def test_errors_come_back_as_what_they_were(remote: RemoteSimulator) -> None:
    remote.reset(Start(toy.SUITE, 0, 1))
    with pytest.raises(ContractError, match="there is no camera 'nose'"):
        remote.observe(("nose",))
    with pytest.raises(World2ActError, match=r"'reset' of the simulator of toy_goal/0 failed \(ValueError: thirteen\)"):
        remote.reset(Start(toy.SUITE, 0, 13))
    remote.reset(Start(toy.SUITE, 0, 1))


def test_an_unknown_kind_of_error_is_still_ours() -> None:
    """A name that is no error of ours is never looked up elsewhere."""
    for kind in ("SystemExit", "printable", None, 3):
        error = messages.error_from({"error": {"kind": kind, "message": "m"}}, "it")
        assert type(error) is World2ActError and str(error) == "it failed (m): its log says where"


def test_numbers_survive_to_the_bit(opened: Line) -> None:
    numbers = [0.1, -1 / 3, 1e-308, 5e-324, 2**53 + 1.0, 0.1 + 0.2, -0.0]
    opened.ask({"op": "reset", "start": START})
    messages.send(opened.socket, {"op": "x", "numbers": numbers})
    assert "error" in messages.receive(opened.socket)
    a, b = socket.socketpair()
    messages.send(a, {"numbers": numbers})
    assert struct.pack("7d", *messages.receive(b)["numbers"]) == struct.pack("7d", *numbers)


def test_instruction_and_facts_are_those_of_the_episode(remote: RemoteSimulator) -> None:
    assert (remote.task, remote.horizon, remote.facts) == ("count", 40, {"toys": 1})
    remote.reset(Start(toy.SUITE, 0, 4))
    assert remote.task == "count from 4" and remote.versions["python"]


def test_a_suites_tasks_are_told_by_who_simulates_them() -> None:
    tasks = suite_tasks(toy.SUITE)
    assert list(tasks) == [0, 1, 2] and tasks[0].starts is None and tasks[0].protocol["assets"] == "wooden"
    assert tasks[0].protocol["pid"] != os.getpid()
    assert suite_tasks(toy.SUITE, (1,)).keys() == {1}
    with pytest.raises(World2ActError, match="there is no toy 'toy_box'"):
        suite_tasks("toy_box")
