"""Contracts to break: the shipped files as data, and writing changed ones."""

from __future__ import annotations

import copy
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

REMOVED = object()


def shipped(name: str = "libero_panda") -> dict[str, Any]:
    """A shipped contract as nested dictionaries."""
    file = resources.files("world2act_core.embodiment") / "files" / f"{name}.yaml"
    content: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return content


def of_poses(folder: Path) -> Path:
    """A contract whose actions say where to go, of which the state says the place but not the turn by its names."""
    return written({**changed(("action", "kind"), "eef_pose"), "name": "pose_arm"}, folder)


def leaves(content: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Paths of everything in a contract that is not itself a mapping."""
    if not isinstance(content, dict):
        return [path]
    return [leaf for key, value in content.items() for leaf in leaves(value, (*path, key))]


def changed(path: tuple[str, ...], value: Any, name: str = "libero_panda") -> dict[str, Any]:
    """The shipped contract with one value changed, added or (``REMOVED``) taken out."""
    content = copy.deepcopy(shipped(name))
    parent = content
    for key in path[:-1]:
        parent = parent[key]
    if value is REMOVED:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return content


def written(content: Any, folder: Path) -> Path:
    file = folder / "arm.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return file
