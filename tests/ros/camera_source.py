"""Publishes 640x480 images on several topics at a rate, for ``test_transport``: RATE_HZ SECONDS TOPIC..."""

from __future__ import annotations

import array
import sys
import time

import rclpy
from sensor_msgs.msg import Image

from world2act.node import IMAGE
from world2act_core.runtime.deadline import Deadlines


def main() -> None:
    rate_hz, seconds, topics = float(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
    rclpy.init()
    node = rclpy.create_node("camera_source")
    publishers = [node.create_publisher(Image, topic, IMAGE) for topic in topics]
    give_up = time.monotonic() + 20
    while not all(publisher.get_subscription_count() for publisher in publishers):
        assert time.monotonic() < give_up, "nobody listens"
        time.sleep(0.01)
    data = array.array("B", bytes(640 * 480 * 3))
    deadlines = Deadlines(1 / rate_hz, time.monotonic())
    for _ in range(round(rate_hz * seconds)):
        time.sleep(deadlines.remaining(time.monotonic()))
        deadlines.reached(time.monotonic())
        for publisher in publishers:
            message = Image(height=480, width=640, encoding="rgb8", step=640 * 3)
            message.header.stamp = node.get_clock().now().to_msg()
            message.data = data
            publisher.publish(message)
    time.sleep(0.5)  # shared memory goes with this process; let the reader finish
    rclpy.shutdown()


if __name__ == "__main__":
    main()
