"""The client's side of a server process: start it, ask it within a deadline, end it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from world2act_core.errors import SimulatorLost
from world2act_core.simulators.opening import CHECKOUT, family_of
from world2act_core.simulators.remote import shared
from world2act_core.simulators.remote.messages import VERSION, BadMessage, error_from, receive, send
from world2act_core.types import Array

GOODBYE_S = 5.0
"""How long a server may take to end by itself before it is killed."""
_OURS = "import sys; sys.path[:] = {paths!r}; "
_THEIRS = "import sys; sys.path.append({root!r}); "
_SERVE = "from world2act_core.simulators.remote.server import main; main({socket}, {memory})"


class Server(Protocol):
    """A server as a client sees it, wherever it is; for what each does see ``ServerProcess``."""

    versions: dict[str, str]
    pid: int

    def ask(self, request: Mapping[str, Any], patience_s: float) -> tuple[dict[str, Any], dict[str, Array]]:
        """The answer to a request: its values, and the arrays that came with it."""

    def end(self) -> None:
        """End it."""


def begin_process(suite: str, name: str, patience_s: float) -> ServerProcess:
    """A server on this machine, in the interpreter that simulates a suite.

    Raises:
        MissingExtraError: there is none.
        SimulatorLost: it did not come up.
    """
    return ServerProcess(family_of(suite).interpreter(), name, patience_s)


class ServerProcess:
    """A server in a process of its own, which ends with this object or this process, whichever goes first.

    Args:
        interpreter: the Python that runs it. Of this one's packages a foreign one sees none but this library, and its
            own come first.
        name: what it simulates, for messages.
        patience_s: seconds for the interpreter to start.

    Attributes:
        pid: of the process.
        versions: package → version, as the server tells.

    Raises:
        SimulatorLost: it did not come up, or speaks another version of the protocol.
    """

    def __init__(self, interpreter: Path, name: str, patience_s: float) -> None:
        self._name = name
        ours, theirs = socket.socketpair()
        memory = shared.create()
        code = _code(interpreter, theirs.fileno(), memory)
        try:
            self._process = subprocess.Popen(
                [str(interpreter), "-I", "-c", code],
                pass_fds=(theirs.fileno(), memory),
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C reaches the whole process group; this one ends with its client
                env={**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")},
            )
        except OSError as error:
            os.close(memory)
            ours.close()
            raise SimulatorLost(f"{interpreter} cannot be started for {name} ({error}): make setup mends it") from None
        finally:
            theirs.close()
        self._connection, self._memory = ours, shared.SharedArrays(memory)
        self.pid = self._process.pid
        greeting, _ = self.ask({"op": "hello", "protocol": VERSION}, patience_s)
        if greeting.get("protocol") != VERSION:
            raise self._lost(f"speaks version {greeting.get('protocol')!r} of the protocol instead of {VERSION}")
        self.versions: dict[str, str] = dict(greeting.get("versions", {}))

    def ask(self, request: Mapping[str, Any], patience_s: float) -> tuple[dict[str, Any], dict[str, Array]]:
        """The answer to a request: its values, and the arrays that came with it.

        Raises:
            World2ActError: what the server says that went wrong.
            SimulatorLost: it crashed, did not answer within ``patience_s`` seconds, or answered nonsense. Its process
                is ended.
        """
        deadline = time.monotonic() + patience_s
        try:
            send(self._connection, request, deadline)
            answer = receive(self._connection, deadline)
            error = error_from(answer, f"{request['op']!r} of the simulator of {self._name}")
            arrays = {} if error else self._memory.read(answer.pop("arrays", []))
        except TimeoutError:
            raise self._lost(f"did not answer {request['op']!r} within {patience_s:g} s and was ended") from None
        except BadMessage as error:
            raise self._lost(f"answered nonsense ({error}) and was ended") from None
        except (EOFError, OSError):
            raise self._lost(f"died at {request['op']!r}") from None
        if error is not None:
            raise error
        return answer, arrays

    def end(self) -> None:
        """Let the process end by itself, or kill it if it does not."""
        self._connection.close()  # it sees that nobody is left to answer
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GOODBYE_S)
        self._kill()

    def _kill(self) -> int:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._connection.close()
        self._memory.close()
        return self._process.wait()

    def _lost(self, what: str) -> SimulatorLost:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.2)  # its own exit code, if it has ended, and not that of being killed
        return SimulatorLost(
            f"the simulator of {self._name} (process {self.pid}, {_ending(self._kill())}) {what}: "
            "the episode under way is void"
        )


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _code(interpreter: Path, socket_descriptor: int, memory: int) -> str:
    """What the interpreter runs. Ours finds what this process finds; a foreign one its own packages first."""
    own = Path(sys.executable) == interpreter
    begin = _OURS.format(paths=sys.path) if own else _THEIRS.format(root=str(CHECKOUT))
    return begin + _SERVE.format(socket=socket_descriptor, memory=memory)
