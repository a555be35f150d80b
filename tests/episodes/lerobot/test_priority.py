"""What an encoder does to the process that it runs in."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from world2act_core.episodes.lerobot.video import CODECS, VideoWriter


def test_writing_leaves_the_thread_its_priority(tmp_path: Path) -> None:
    """libsvtav1 takes SCHED_FIFO where it may, and a process started afterwards inherited it."""
    before = os.sched_getscheduler(0), os.sched_getparam(0).sched_priority
    writer = VideoWriter(tmp_path / "v.mp4", CODECS["av1"], 20, 64, 64)
    opened = os.sched_getscheduler(0), os.sched_getparam(0).sched_priority
    writer.write(np.zeros((1, 64, 64, 3), np.uint8), np.zeros(4, np.int64))
    writer.close()
    assert (opened, os.sched_getscheduler(0), os.sched_getparam(0).sched_priority) == (before, *before)
