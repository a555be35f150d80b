"""What a stage has taken is known after a kill too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from world2act_core.runs.stopwatch import Stopwatch

TIMED = """
import sys, time
from pathlib import Path
from world2act_core.runs.stopwatch import Stopwatch
with Stopwatch(Path(sys.argv[1]), beat=0.02):
    time.sleep(60)
"""


def test_a_killed_process_has_left_its_seconds(tmp_path: Path) -> None:
    file = tmp_path / "seconds.json"
    process = subprocess.Popen([sys.executable, "-c", TIMED, str(file)])
    try:
        deadline = time.monotonic() + 60
        while not file.exists() or Stopwatch(file).seconds < 0.1:
            assert time.monotonic() < deadline, "nothing was noted"
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=60)
        with Stopwatch(file) as resumed:
            assert resumed.seconds >= 0.1
    finally:
        process.kill()
        process.wait(timeout=60)
    assert Stopwatch(file).seconds >= 0.1
