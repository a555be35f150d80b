"""The main function of every node: spin until its work is done, end in order whatever ends it."""

from __future__ import annotations

import contextlib
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType

import rclpy
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from world2act.node import ERROR, WIND_UP_S, World2ActNode, until_wound_up
from world2act_core.errors import World2ActError

FAILURES_IN_A_ROW = 100  # of the main loop; more is no message's fault


class _Signals:
    """SIGINT and SIGTERM end a node in order. rclpy's own handlers would end ROS at once, and with it whatever was on
    its way: the END of an episode, say.
    """

    def __init__(self) -> None:
        self.node: World2ActNode | None = None  # as soon as it runs
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.node is None:
            raise KeyboardInterrupt  # configuring may take minutes, and nothing is lost by giving it up
        self.node.done = True


def run_node(node_class: Callable[[], World2ActNode], executor_class: Callable[[], Executor] | None = None) -> int:
    """The main function of every node: until it is done, is shut down or gets SIGINT or SIGTERM."""
    signals = _Signals()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = node_class()
    except World2ActError as error:
        print(error, file=sys.stderr)
        rclpy.try_shutdown()
        return 1
    except KeyboardInterrupt:
        rclpy.try_shutdown()
        return 0
    executor = (executor_class or SingleThreadedExecutor)()
    executor.add_node(node)
    try:
        if not node.autostart():
            node.exit_code, node.done = 1, True
        signals.node = node
        _spin(node, executor)
    except (KeyboardInterrupt, ExternalShutdownException):
        signals.node = node
    finally:
        _end(node, executor)
    return node.exit_code


def _spin(node: World2ActNode, executor: Executor) -> None:
    """The main loop. A message that nobody thought of must not end a node: it costs itself and a traceback."""
    failures = 0
    last: Exception | None = None
    while not node.done:
        try:
            node.spin_once(executor)
            node.destroy_discarded()
            failures = 0
        except ExternalShutdownException:
            raise
        except Exception as error:
            if error is last:  # rclpy lists a callback that waits for a thread several times, and its failure as often
                continue
            failures, last = failures + 1, error
            if failures > FAILURES_IN_A_ROW or not node.context.ok():
                raise
            node.report(ERROR, f"a message or timer was given up: {traceback.format_exc()}")


def _end(node: World2ActNode, executor: Executor) -> None:
    """Free what the node holds, whatever state it is in; the context may be gone already."""
    try:
        if node.active and node.context.ok():
            for _ in until_wound_up(node, WIND_UP_S):
                node.spin_once(executor)
        if node.active:
            node._quiet()
            node.deactivate()
        node.cleanup()
    except World2ActError as error:
        print(error, file=sys.stderr)
        node.exit_code = node.exit_code or 1
    pool = getattr(executor, "_executor", None)
    if pool is not None:  # a callback that still waits for a thread would find its node destroyed: let it have its turn
        with contextlib.suppress(TimeoutError, RuntimeError):
            pool.submit(lambda: None).result(timeout=1.0)
    executor.shutdown(timeout_sec=1.0)
    node.destroy_node()
    rclpy.try_shutdown()
