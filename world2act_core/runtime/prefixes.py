"""Where ROS packages are installed, found without ROS: what ``source install/setup.bash`` would have set."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from world2act_core.errors import MissingExtraError

_ROOT = Path(__file__).resolve().parents[2]


def ament_prefixes(environment: Mapping[str, str] = os.environ) -> list[Path]:
    """Install prefixes, first wins: what was sourced, then ros_ws of this checkout, then the wheels' prefix."""
    sourced = [Path(entry) for entry in environment.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if entry]
    workspace = _ROOT / "ros_ws" / "install"
    own = sorted(entry for entry in workspace.glob("world2act*") if entry.is_dir())
    # The ROS 2 wheels make the environment's own root a prefix; apt's ROS 2 does not.
    wheels = [Path(sys.prefix)] if (Path(sys.prefix) / "share" / "ament_index").is_dir() else []
    return list(dict.fromkeys([*sourced, *own, *wheels]))


def find_executable(package: str, executable: str) -> Path:
    """``lib/<package>/<executable>`` in the first prefix that has it.

    Raises:
        MissingExtraError: the package or executable is not installed.
    """
    for prefix in ament_prefixes():
        path = prefix / "lib" / package / executable
        if path.is_file():
            return path
    raise MissingExtraError(f"{package}/{executable} is not installed; 'make setup' builds the ROS 2 workspace")


def ros_environment() -> dict[str, str]:
    """This process's environment with every prefix on the paths that ROS 2 reads."""
    environment = dict(os.environ)
    prefixes = ament_prefixes(environment)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = [p for prefix in prefixes for p in prefix.glob(f"lib/{version}/site-packages")
                if prefix != Path(sys.prefix)]  # fmt: skip
    libraries = [prefix / "lib" for prefix in prefixes if (prefix / "lib").is_dir()]
    # The nodes need the core even where it was not installed but is run from its checkout.
    extend(environment, "PYTHONPATH", [*packages, _ROOT])
    extend(environment, "LD_LIBRARY_PATH", libraries)
    environment["AMENT_PREFIX_PATH"] = os.pathsep.join(map(str, prefixes))
    return environment


def extend(environment: dict[str, str], name: str, paths: list[Path]) -> None:
    """Append what is not there yet; what was there keeps its precedence."""
    present = [entry for entry in environment.get(name, "").split(os.pathsep) if entry]
    environment[name] = os.pathsep.join(dict.fromkeys([*present, *map(str, paths)]))
