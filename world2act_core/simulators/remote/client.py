"""A simulator that lives in another process, behind the protocol of all simulators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from world2act_core.embodiment import load_embodiment
from world2act_core.errors import SimulatorLost, World2ActError
from world2act_core.simulators.opening import PATIENCE, Patience
from world2act_core.simulators.protocol import Simulator
from world2act_core.simulators.remote.process import Server, begin_process
from world2act_core.simulators.remote.session import observation_from
from world2act_core.simulators.rendering import FAST, RenderSettings
from world2act_core.simulators.rollout import Moment
from world2act_core.simulators.starts import Start
from world2act_core.types import Array, Observation, Skill


class RemoteSimulator:
    """A simulator in a process of its own, see ``simulators.protocol.Simulator``.

    States, observations and success are those of the same simulator in this process, bit for bit. If the process is
    lost, the episode under way is void: every call says so until the next ``reset``, which starts another process.

    Attributes:
        suite, task_index: which task this is.
        embodiment, task, horizon: see ``simulators.protocol.Simulator``.
        versions: package → version in the server's interpreter.
        facts: what else the simulator says that results depend on; JSON values.

    Raises:
        MissingExtraError: the simulator is installed nowhere.
        World2ActError: no such suite or task.
        SimulatorLost: its process did not come up.
    """

    def __init__(
        self,
        suite: str,
        task: int,
        image_size: int | None = None,
        rendering: RenderSettings = FAST,
        patience: Patience = PATIENCE,
        begin: Callable[[str, str, float], Server] = begin_process,
    ) -> None:
        """Args as ``opening.open_simulator``; ``begin(suite, name, seconds)`` starts a server, see ``on_ray``."""
        self.suite, self.task_index = suite, task
        self._begin = begin
        self._scene = {"suite": suite, "task": task, "image_size": image_size, "rendering": asdict(rendering)}
        self._patience = patience
        self._loss: SimulatorLost | None = None
        self._server: Server | None = None
        self._reached: Observation | None = None
        self._start()

    @property
    def pid(self) -> int | None:
        """Of the server; None if it is lost or closed."""
        return None if self._server is None else self._server.pid

    def reset(self, start: Start) -> None:
        """Put the scene into a start state and let it settle; simulated time becomes 0.

        Raises:
            World2ActError: the simulator refuses the start.
            SimulatorLost: its process was lost over it.
        """
        if self._loss is not None:
            self._start()
        said, _ = self.ask("reset", self._patience.scene_s, start=asdict(start))
        self._take(said)

    def observe(self, cameras: Sequence[str] = ()) -> Observation:
        """State now, with images of the named cameras ``(H, W, 3)`` uint8, upright.

        Raises:
            ContractError: the embodiment has no such camera.
            SimulatorLost: the process was lost.
        """
        if not cameras and self._reached is not None:
            reached, self._reached = self._reached, None  # whoever looks again gets arrays of their own
            return reached
        values, arrays = self.ask("observe", cameras=list(cameras))
        return observation_from(float(values["stamp"]), arrays)

    def step(self, action: Array) -> bool:
        """Apply one action ``(A,)`` for one control step; True once the task is solved.

        Raises:
            ContractError: the action has another shape or is not finite.
            SimulatorLost: the process was lost.
        """
        values, arrays = self.ask("step", action=np.asarray(action, np.float64).tolist())
        self._reached = observation_from(float(values["stamp"]), arrays)
        return bool(values["success"])

    def state(self) -> Array:
        """Privileged: the whole physical state now, float64, as the simulator itself tells it."""
        return self.ask("state")[1]["state"]

    def close(self) -> None:
        """End the process."""
        if self._server is not None:
            self._server.end()
            self._server = None

    def _start(self) -> None:
        name = f"{self.suite}/{self.task_index}"
        self._server, self._loss = self._begin(self.suite, name, self._patience.scene_s), None
        self.versions = self._server.versions
        try:
            said, _ = self.ask("open", self._patience.scene_s, **self._scene)
            self._agree_on_robot(said)
            self._take(said)
        except World2ActError:
            self.close()
            raise

    def _agree_on_robot(self, said: Mapping[str, Any]) -> None:
        self.embodiment = load_embodiment(said["embodiment"])
        if self.embodiment.sha256 != said["embodiment_sha256"]:
            raise World2ActError(
                f"the simulator of {self.suite} has another contract {said['embodiment']!r} than this process: let "
                "both run the same World2Act"
            )

    def _take(self, said: Mapping[str, Any]) -> None:
        self.task, self.horizon = str(said["task"]), int(said["horizon"])
        self.facts: dict[str, Any] = dict(said["facts"])

    def ask(
        self, operation: str, patience_s: float | None = None, **fields: Any
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        """Have an operation of ``session.Session`` done; its values and arrays.

        Args:
            patience_s: seconds; None is patient as with a step.

        Raises:
            World2ActError: the server refuses it.
            SimulatorLost: the process was lost.
        """
        self._reached = None
        if self._loss is not None:
            raise SimulatorLost(f"{self._loss}; reset it to begin another one")
        if self._server is None:
            raise World2ActError(f"the simulator of {self.suite}/{self.task_index} is closed: open another one")
        try:
            return self._server.ask({"op": operation, **fields}, patience_s or self._patience.call_s)
        except SimulatorLost as loss:
            self._loss, self._server = loss, None
            raise


class RemoteDemonstrator:
    """The scripted demonstrator of a remote simulator's task, an ``Actor``.

    It reads the truth of the scene, so it acts where the scene is: on the server.
    """

    def __init__(self, simulator: RemoteSimulator) -> None:
        self._simulator = simulator

    def reset(self, simulator: Simulator) -> None:
        if simulator is not self._simulator:
            raise World2ActError("a demonstrator of another simulator: make one with open_demonstrator")
        self._simulator.ask("begin demonstration")

    def act(self, moment: Moment) -> Array:
        return self._simulator.ask("demonstrate", step=moment.step)[1]["action"]

    def skills(self, steps: int) -> tuple[Skill, ...]:
        return tuple(Skill(**skill) for skill in self._simulator.ask("skills", steps=steps)[0]["skills"])
