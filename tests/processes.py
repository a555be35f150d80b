"""Waiting for other processes: for a condition, never for luck."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path


def until(condition: Callable[[], object], within_s: float = 60) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"{condition} did not come true within {within_s:g} s"
        time.sleep(0.02)


def running(pid: int) -> bool:
    """Whether a process does, or could still do, anything: a zombie cannot."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def all_gone(pids: Iterable[int], within_s: float = 30) -> bool:
    """Whether all of them end in time."""
    deadline = time.monotonic() + within_s
    while any(running(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def children(pid: int) -> list[int]:
    """Processes that a process has started."""
    threads = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for thread in threads for child in thread.read_text().split()]


def servers_of(pid: int) -> list[int]:
    """Processes of simulators that a process has started."""
    return [
        child for child in children(pid) if b"simulators.remote.server" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]
