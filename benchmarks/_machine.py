"""The head of every benchmark's output: on what it ran."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

PACKAGES = ("numpy", "mujoco", "robosuite", "torch")


def cpu() -> str:
    """The processor's name as the kernel gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def machine() -> str:
    """Machine, processor and versions, two lines."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = [f"python {platform.python_version()}", *(f"{name} {version(name)}" for name in PACKAGES)]
    rendering = os.environ.get("MUJOCO_GL", "chosen automatically")
    return (
        f"machine: {platform.system()} {platform.machine()}, {cores} cores of {cpu()}, "
        f"load {os.getloadavg()[0]:.1f}, MUJOCO_GL {rendering}\n"
        f"versions: {', '.join(versions)}"
    )
