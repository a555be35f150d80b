"""Ends a graph's processes when their parent is gone, however it went (SIGKILL too).

Run as a script: ``python -I -S reaper.py TIMEOUT_S``. Its standard input is a pipe that only the parent holds open and
on which the parent writes one process id a line. End of file means that the parent is dead.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time


def main() -> None:
    timeout_s = float(sys.argv[1])
    # A handle instead of a number: a process id may be given to another process, a handle never is.
    handles = []
    for line in sys.stdin:
        with contextlib.suppress(ProcessLookupError):
            handles.append(os.pidfd_open(int(line)))
    for number in (signal.SIGTERM, signal.SIGKILL):
        for handle in handles:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
        deadline = time.monotonic() + timeout_s
        while handles and (left := deadline - time.monotonic()) > 0:
            ended, _, _ = select.select(handles, [], [], left)  # a handle is readable once its process has ended
            handles = [handle for handle in handles if handle not in ended]


if __name__ == "__main__":
    main()
