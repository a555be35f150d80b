"""Running a few lines of Python in a process of their own, so that a hang or a crash there is only an answer here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from world2act_core.runtime.prefixes import ros_environment

MARK = "world2act-probe:"
TIME_LIMIT_S = 60.0


class ProbeError(Exception):
    """The probe failed; the message is its last word."""


class NotInstalledError(ProbeError):
    """The probe could not import a module because it is not installed."""


def probe(code: str, python: str | Path = sys.executable, extra: Mapping[str, str] | None = None,
          time_limit_s: float = TIME_LIMIT_S) -> Any:  # fmt: skip
    """Run ``code`` and return what it passed to ``answer(...)``, which is sent as JSON.

    The process gets no terminal, the ROS 2 paths of this checkout, and ``extra`` environment variables.

    Raises:
        NotInstalledError: a module is not installed.
        ProbeError: it crashed, took longer than ``time_limit_s`` or did not answer.
    """
    own_python = str(python) == sys.executable
    environment = ros_environment() if own_python else _clean_environment()
    environment.update(extra or {})
    program = f"import json\ndef answer(value): print({MARK!r} + json.dumps(value), flush=True)\n{code}"
    began = time.monotonic()
    try:
        done = subprocess.run(
            [str(python), "-c", program],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=time_limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ProbeError(f"no answer within {time_limit_s:g} s") from error
    except OSError as error:
        raise ProbeError(f"cannot be started: {error}") from error
    for line in reversed(done.stdout.splitlines()):
        if line.startswith(MARK):
            return json.loads(line[len(MARK) :])
    last = (done.stderr.strip().splitlines() or [f"ended with {_ending(done.returncode)}"])[-1]
    if last.startswith("ModuleNotFoundError"):
        raise NotInstalledError(last.partition(": ")[2])
    raise ProbeError(f"{last} (after {time.monotonic() - began:.1f} s)")


def _clean_environment() -> dict[str, str]:
    """For another environment's Python: without what belongs to ours (the ROS wheels re-execute Python once)."""
    ours = ("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if name not in ours}


def _ending(returncode: int) -> str:
    return f"signal {-returncode}" if returncode < 0 else f"exit code {returncode}"
