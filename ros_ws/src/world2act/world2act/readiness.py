"""How a client waits for a node that it depends on."""

from __future__ import annotations

import time
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from std_srvs.srv import Trigger


def why_not_ready(node: Node, ready: Any, within_s: float) -> str:
    """Wait until a node's ``~/ready`` says yes; returns why it does not after ``within_s``, or "".

    Args:
        node: of the client; not in an executor.
        ready: client of the service.
    """
    deadline, why = time.monotonic() + within_s, "it does not answer; is it running?"
    while time.monotonic() < deadline:
        future = ready.call_async(Trigger.Request())
        rclpy.spin_until_future_complete(node, future, timeout_sec=1.0)
        if future.done():
            if future.result().success:
                return ""
            why = future.result().message
            time.sleep(0.1)
        ready.remove_pending_request(future)
        if not node.context.ok():
            raise ExternalShutdownException
    return why
