"""The head of every benchmark's output: on what it ran."""

from __future__ import annotations

import os
import platform
from importlib import metadata

from world2act_core.runs.machine import cores, processor

PACKAGES = ("numpy", "mujoco", "robosuite", "torch")


def version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def machine() -> str:
    """Machine, processor and versions, two lines."""
    versions = [f"python {platform.python_version()}", *(f"{name} {version(name)}" for name in PACKAGES)]
    rendering = os.environ.get("MUJOCO_GL", "chosen automatically")
    return (
        f"machine: {platform.system()} {platform.machine()}, {cores()} cores of {processor()}, "
        f"load {os.getloadavg()[0]:.1f}, MUJOCO_GL {rendering}\n"
        f"versions: {', '.join(versions)}"
    )
