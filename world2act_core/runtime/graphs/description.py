"""What a graph is: arguments, nodes, and launch files of others, in plain Python without ROS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from world2act_core.errors import World2ActError
from world2act_core.runtime.graphs.given import checked_namespace, checked_params_file

PACKAGE = "world2act"
Value = bool | int | float | str | list[str]


@dataclass(frozen=True)
class Argument:
    """One argument of a graph; every value is text, as in ``ros2 launch``."""

    name: str
    default: str
    help: str


@dataclass(frozen=True)
class NodeSpec:
    """One node. When an ``essential`` node ends, the whole graph ends with its exit code."""

    executable: str
    name: str
    namespace: str = ""
    package: str = PACKAGE
    parameters: Mapping[str, Value] = field(default_factory=dict)
    params_file: str = ""
    remappings: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    essential: bool = False
    lifecycle: bool = True

    @property
    def full_name(self) -> str:
        """``/namespace/name``"""
        return "/" + "/".join(part.strip("/") for part in (self.namespace, self.name) if part.strip("/"))


@dataclass(frozen=True)
class Include:
    """A launch file of another package that is started with the graph: a robot's driver."""

    package: str
    launch_file: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    essential: bool = True

    @property
    def name(self) -> str:
        return self.package


@dataclass(frozen=True)
class Notice:
    """What whoever starts the graph should know, one sentence; the graph starts all the same."""

    text: str


Part = NodeSpec | Include | Notice


@dataclass(frozen=True)
class Graph:
    """The nodes of one graph, ready to start, and the launch files that are started with them."""

    name: str
    nodes: tuple[NodeSpec, ...]
    includes: tuple[Include, ...] = ()
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class GraphDescription:
    """A graph before its arguments have values."""

    name: str
    summary: str
    arguments: tuple[Argument, ...]
    _parts: Callable[[dict[str, str]], list[Part]]

    def build(self, values: Mapping[str, str]) -> Graph:
        """Fill the arguments in.

        Raises:
            World2ActError: an unknown argument, or a value that means nothing.
        """
        known = {argument.name: argument.default for argument in self.arguments}
        unknown = [name for name in values if name not in known]
        if unknown:
            raise World2ActError(f"{self.name} has no argument {unknown[0]!r}; it has {', '.join(known)}")
        filled = {**known, **values}
        namespace, params_file = checked_namespace(filled["namespace"]), checked_params_file(filled["params_file"])
        env = dds_environment()
        parts = self._parts(filled)
        nodes = tuple(
            replace(part, namespace=namespace, params_file=params_file, env=env)
            for part in parts
            if isinstance(part, NodeSpec)
        )
        includes = tuple(part for part in parts if isinstance(part, Include))
        return Graph(self.name, nodes, includes, tuple(part.text for part in parts if isinstance(part, Notice)))


def dds_environment() -> dict[str, str]:
    """Shared memory for images: without this profile most 640x480 frames are lost between processes.

    The profile is the one beside the launch files; a profile that the user has chosen wins.
    """
    profile = next((path for path in _profile_places() if path.is_file()), None)
    if profile is None:
        return {}
    names = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
    return {**dict.fromkeys(names, str(profile)), "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp"}


def _profile_places() -> list[Path]:
    from world2act_core.runtime.prefixes import ament_prefixes

    name = "fastdds_shm.xml"
    installed = [prefix / "share" / PACKAGE / "launch" / name for prefix in ament_prefixes()]
    return [Path(__file__).resolve().parents[3] / "launch" / name, *installed]
