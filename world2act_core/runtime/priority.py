"""Real-time priority for a process with deadlines, as ros2_control's controller manager asks for it."""

from __future__ import annotations

import os


def run_in_real_time(priority: int) -> str:
    """Put every thread of this process under SCHED_FIFO; threads that they start inherit it.

    Every thread, not only the one with the deadline: the interpreter's lock may be held by any of them, and one that
    waits for a processor while it holds the lock keeps the deadline waiting too.

    Args:
        priority: 1..99.

    Returns:
        Why it could not be done, or "".
    """
    if not hasattr(os, "sched_setscheduler"):
        return "this system has no SCHED_FIFO"
    try:
        for thread in os.listdir("/proc/self/task"):
            os.sched_setscheduler(int(thread), os.SCHED_FIFO, os.sched_param(priority))
    except OSError as error:
        return f"SCHED_FIFO is not permitted ({error.strerror}): give the user an rtprio limit, as for ros2_control"
    return ""
