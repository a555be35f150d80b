"""A simulator on another machine, through Ray: the same requests and answers, arrays as return values.

The actor keeps a server process on its machine (``process.ServerProcess``), in whatever interpreter simulates the suite
there, so it needs nothing but this library and Ray, and a crash costs it an episode and not itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from world2act_core.errors import MissingExtraError, SimulatorLost, World2ActError
from world2act_core.simulators.remote.messages import error_from, error_message
from world2act_core.simulators.remote.process import ServerProcess, begin_process
from world2act_core.types import Array


class ServerActor:
    """What runs on the other machine: a server process, asked for whoever holds the actor's handle."""

    def __init__(self, suite: str, name: str, patience_s: float) -> None:
        self._suite, self._name, self._patience_s = suite, name, patience_s
        self._server: ServerProcess | None = None

    def begin(self) -> dict[str, Any]:
        """Start the server's process, in the place of the last one; what it says of itself, or an error."""
        self.end()
        try:
            self._server = begin_process(self._suite, self._name, self._patience_s)
        except World2ActError as error:
            return error_message(error)
        return {"versions": self._server.versions, "pid": self._server.pid}

    def ask(self, request: Mapping[str, Any], patience_s: float) -> tuple[dict[str, Any], dict[str, Array]]:
        """The answer and its arrays; an error is an answer, because Ray would wrap what is raised."""
        try:
            if self._server is None:
                raise SimulatorLost(f"the simulator of {self._name} has no process: reset it")
            return self._server.ask(request, patience_s)
        except SimulatorLost as loss:
            self._server = None
            return error_message(loss), {}
        except World2ActError as error:
            return error_message(error), {}

    def end(self) -> None:
        """End the server's process."""
        if self._server is not None:
            self._server.end()
            self._server = None


class RayServer:
    """The client's side: a server as ``process.ServerProcess`` is one, somewhere in a Ray cluster.

    ``RemoteSimulator(suite, task, begin=RayServer)`` simulates there. Call ``ray.init`` first; one core is asked for.

    Raises:
        MissingExtraError: Ray is not installed here, or the simulator is not there.
        SimulatorLost: the server did not come up, or its machine is gone.
    """

    def __init__(self, suite: str, name: str, patience_s: float) -> None:
        try:
            import ray
        except ImportError:
            raise MissingExtraError("Ray is not installed: add the extra with pip install 'world2act[study]'") from None
        self._ray, self._name, self._patience_s = ray, name, patience_s
        self._actor = ray.remote(num_cpus=1)(ServerActor).remote(suite, name, patience_s)
        said = self._get(self._actor.begin.remote(), patience_s)
        if error := error_from(said, f"the start of the simulator of {name}"):
            self.end()
            raise error
        self.versions: dict[str, str] = said["versions"]
        self.pid: int = said["pid"]

    def ask(self, request: Mapping[str, Any], patience_s: float) -> tuple[dict[str, Any], dict[str, Array]]:
        """As ``ServerProcess.ask``."""
        answer, arrays = self._get(self._actor.ask.remote(request, patience_s), patience_s)
        if error := error_from(answer, f"{request['op']!r} of the simulator of {self._name}"):
            raise error
        return answer, arrays

    def end(self) -> None:
        """End the server and its actor."""
        self._ray.kill(self._actor)

    def _get(self, reference: Any, patience_s: float) -> Any:
        """What a call gave; the actor's own deadline comes first, this one is for a machine that is gone."""
        try:
            return self._ray.get(reference, timeout=patience_s + self._patience_s)
        except self._ray.exceptions.RayError as error:
            reason = " ".join(str(error).split())[:200]
            raise SimulatorLost(f"the simulator of {self._name} on Ray was lost ({reason})") from None
