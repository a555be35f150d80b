"""Camera images between two processes: the shared memory profile delivers what the default transport loses."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from sensor_msgs.msg import Image

from world2act.node import RECORD_SENSOR
from world2act_core.runtime.prefixes import ros_environment

RATE_HZ, SECONDS = 30, 4


def test_two_cameras_of_640x480_at_30_hz_are_delivered(probe: Any, domain: int) -> None:
    counts = {f"camera_{index}/image_raw": 0 for index in range(2)}

    def count(topic: str, message: Image) -> None:
        assert len(message.data) == 640 * 480 * 3
        counts[topic] += 1

    for topic in counts:
        # Deep reception: what is measured is the transport, not how busy this machine is.
        probe.node.create_subscription(Image, topic, lambda m, topic=topic: count(topic, m), RECORD_SENSOR)
    source = Path(__file__).with_name("camera_source.py")
    environment = {**ros_environment(), "ROS_DOMAIN_ID": str(domain)}
    assert os.environ["FASTDDS_DEFAULT_PROFILES_FILE"].endswith(".xml"), "the profile is what is tested"
    command = [sys.executable, str(source), str(RATE_HZ), str(SECONDS), *counts]
    sender = subprocess.Popen(command, env=environment)
    try:
        probe.wait(lambda: sender.poll() is not None, SECONDS + 30, "the sender's end")
    finally:
        sender.kill()
        sender.wait()
    assert sender.returncode == 0
    sent = RATE_HZ * SECONDS
    deadline = time.monotonic() + 2
    while min(counts.values()) < sent and time.monotonic() < deadline:
        probe.spin(0.05)
    print(f"delivered: {counts} of {sent} each")
    assert min(counts.values()) >= 0.99 * sent, f"delivered {counts} of {sent} each"
