"""Which transports of Fast DDS a process uses."""

from __future__ import annotations

import os
from pathlib import Path

OURS = "fastdds_shm.xml"
PROFILES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")


def without_shared_memory() -> None:
    """UDP alone for this process; to be called before ``rclpy.init``.

    Fast DDS 2.14 can block a writer for ever in the shared memory of a reader that was killed or hangs
    (eProsima/Fast-DDS issues 5469 and 6484; seen here in ``SharedMemManager::Port::regenerate_port``). What must go on
    when others die, and has no images to send, is better off without it. A profile that the user has chosen wins.
    """
    chosen = {os.environ.get(name, OURS) for name in PROFILES}
    if all(Path(file).name == OURS for file in chosen):
        for name in PROFILES:
            os.environ.pop(name, None)
        os.environ.setdefault("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4")
