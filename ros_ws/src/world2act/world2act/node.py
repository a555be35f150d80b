"""What every node shares: QoS by name, declared parameters, lifecycle with autostart, diagnostics, an orderly end."""

from __future__ import annotations

import importlib
import re
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.client import Client
from rclpy.executors import Executor, MultiThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher, LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSDurabilityPolicy, QoSHistoryPolicy, QoSProfile, QoSReliabilityPolicy
from rclpy.service import Service
from rclpy.subscription import Subscription
from rclpy.timer import Timer
from std_srvs.srv import Trigger

from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.episodes import compose
from world2act_core.errors import World2ActError

RCLError = rclpy_implementation.RCLError


def _qos(reliable: bool, depth: int, latched: bool = False) -> QoSProfile:
    return QoSProfile(
        reliability=QoSReliabilityPolicy.RELIABLE if reliable else QoSReliabilityPolicy.BEST_EFFORT,
        durability=QoSDurabilityPolicy.TRANSIENT_LOCAL if latched else QoSDurabilityPolicy.VOLATILE,
        history=QoSHistoryPolicy.KEEP_LAST,
        depth=depth,
    )


IMAGE = _qos(reliable=False, depth=1)  # only the newest frame is worth anything
STATE = _qos(reliable=True, depth=10)  # offered; readers ask for STATE_READER, which any robot's driver satisfies
STATE_READER = _qos(reliable=False, depth=10)
COMMAND = _qos(reliable=True, depth=1)  # never an old one
COMMAND_OFFERED = _qos(reliable=True, depth=10)  # kept until a recorder has them; an arm still takes only the newest
DIAGNOSTICS = _qos(reliable=True, depth=10)
# Kept for a reader that the writer has not found yet: each side finds the other in its own time, and without the START
# that fell in between a recorded episode is lost.
EVENT = _qos(reliable=True, depth=10, latched=True)
EMERGENCY = _qos(reliable=True, depth=10)  # a stop: none may be lost
LATCHED = _qos(reliable=True, depth=1, latched=True)  # late joiners get the current value
RECORD = _qos(reliable=True, depth=1000)  # a recorder must not drop what a reader could skip
RECORD_LATCHED = _qos(reliable=True, depth=1000, latched=True)
RECORD_SENSOR = _qos(reliable=False, depth=1000)

WIND_UP_S = 3.0  # how long a node that ends may still say and hear what belongs to its work
LONGEST_MESSAGE = 3000  # characters: a traceback, but not the megabyte that a stranger sent

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


def message_class(type_name: str) -> Any:
    """``sensor_msgs/msg/Image`` → its class (rosidl_runtime_py is not everywhere)."""
    package, kind, name = type_name.split("/")
    return getattr(importlib.import_module(f"{package}.{kind}"), name)


def without_numbers(reason: str) -> str:
    """A reason whose numbers grow is still the same reason."""
    return re.sub(r"[\d.]+", "#", reason)


make = compose.rclpy_make(message_class)
"""Builds live messages with the functions that write bags."""


class World2ActNode(LifecycleNode):
    """A lifecycle node whose subclass fills in ``configure``, ``activate``, ``deactivate`` and ``cleanup``.

    Subscriptions made with ``listen`` and timers made with ``every`` live while the node is active. A World2ActError in
    a callback is logged and shown in the diagnostics; it never becomes a guessed value. Any other error costs the
    message that caused it, and its traceback is logged. ``~/ready`` says whether the node is active and connected,
    so that nothing begins while a first message could still be lost.

    Attributes:
        exit_code: what the process ends with.
        done: set to end the process.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.exit_code, self.done, self.active = 0, False, False
        self._listening: list[tuple[Any, bool]] = []
        self._speaking: list[Any] = []
        self._ticking: list[Any] = []
        self._opened: list[Any] = []
        self._discarded: list[Any] = []
        self._quieted = True
        self._said: tuple[bytes, str] = (OK, "")
        self._status: tuple[bytes, str] = (OK, "not configured")
        self._status_values: dict[str, Any] = {}
        self._autostart = self.parameter("autostart", True, "configure and activate by itself")
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", DIAGNOSTICS)
        self.create_timer(1.0, self._publish_diagnostics)
        self.create_service(Trigger, "~/ready", self._on_ready)

    # --- to be filled in -------------------------------------------------------------------------------------------
    def configure(self) -> None:
        """Open what the node needs; raise World2ActError if it cannot."""

    def activate(self) -> None:
        """Begin to work; make subscriptions here."""

    def wind_up(self) -> bool:
        """Say and hear, while it is still possible, what belongs to the work that ends: before the node is deactivated,
        and at SIGINT and SIGTERM.

        Returns:
            True once nothing is left. Until then it is called again, for at most ``WIND_UP_S``.
        """
        return True

    def deactivate(self) -> None:
        """Stop working."""

    def cleanup(self) -> None:
        """Free what ``configure`` opened; also called at the end of the process, when nothing can be published."""

    def spin_once(self, executor: Executor) -> None:
        """One turn of the process's main loop; a signal is noticed after it."""
        executor.spin_once(timeout_sec=0.2)

    # --- parameters ------------------------------------------------------------------------------------------------
    def parameter(self, name: str, default: Any, description: str, low: float = 0.0, high: float = 0.0) -> Any:
        """Declare and read a read-only parameter; its type is the default's, a number lies in ``[low, high]``."""
        descriptor = ParameterDescriptor(description=description, read_only=True)
        if high > low and isinstance(default, int):
            descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=1)]
        elif high > low:
            descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high))]
        # rclpy takes an empty list for bytes: an empty text stands for "no entries".
        value = self.declare_parameter(name, default if default != [] else [""], descriptor).value
        return [entry for entry in value or [] if entry] if isinstance(default, list) else value

    def embodiment_parameter(self) -> Embodiment:
        """The parameter ``robot``: name or file of the embodiment contract."""
        return load_embodiment(self.parameter("robot", "libero_panda", "embodiment: shipped name or YAML file"))

    # --- messages --------------------------------------------------------------------------------------------------
    def speak(self, kind: Any, topic: str, qos: QoSProfile) -> Any:
        """A publisher that is silent while the node is not active."""
        publisher = self.create_lifecycle_publisher(kind, topic, qos)
        self._speaking.append(publisher)
        return publisher

    def publish(self, publisher: Any, message: Any) -> None:
        """Publish from a thread of one's own: at the end of the process the context may go at any moment."""
        try:
            publisher.publish(message)
        except RCLError:
            if self.context.ok():
                raise

    def listen(
        self, kind: Any, topic: str, callback: Callable[[Any], None], qos: QoSProfile, group: Any | None = None
    ) -> None:
        """Subscribe while the node is active; somebody must publish there before the node is ready."""
        made = self.create_subscription(kind, topic, self._guard(callback), qos, callback_group=group)
        self._listening.append((made, True))

    def listen_raw(self, kind: Any, topic: str, callback: Callable[..., None], qos: QoSProfile, needed: bool) -> None:
        """Subscribe to serialised messages with their information; ``needed``: the node is not ready without them."""
        if not hasattr(Subscription, "CallbackType"):  # Humble gives no information: the time of reception stands in
            with_info = callback

            def callback(data: bytes) -> None:
                with_info(data, {"source_timestamp": time.time_ns()})

        self._listening.append((self.create_subscription(kind, topic, callback, qos, raw=True), needed))

    def until_cleanup(self, entity: Any) -> Any:
        """Have a service, client or action server that ``configure`` made destroyed when the node is cleaned up."""
        self._opened.append(entity)
        return entity

    def not_ready(self) -> str:
        """Why a task must not begin yet, or ""."""
        if not self.active:
            return f"not active: {self._status[1]}"
        for subscription, needed in self._listening:
            topic = subscription.topic_name
            known = self.count_publishers(topic)
            matched = subscription.get_publisher_count() if hasattr(subscription, "get_publisher_count") else known
            if known < int(needed):
                return f"nobody publishes {topic} yet"
            if matched < known:
                return f"a publisher of {topic} is not connected yet (or offers less than this node's QoS asks for)"
        for publisher in self._speaking:
            if publisher.get_subscription_count() < self.count_subscribers(publisher.topic_name):
                return f"a reader of {publisher.topic_name} is not connected yet"
        return ""

    def _on_ready(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.message = self.not_ready()
        response.success = not response.message
        return response

    def every(self, seconds: float, callback: Callable[[], Any]) -> None:
        """Call back while the node is active."""
        guarded = self._guard(lambda _: callback())
        self._ticking.append(self.create_timer(seconds, lambda: guarded(None)))

    def _guard(self, callback: Callable[[Any], None]) -> Callable[[Any], None]:
        def guarded(message: Any) -> None:
            if self._quieted:
                return
            try:
                callback(message)
            except World2ActError as error:
                self.report(ERROR, str(error))

        return guarded

    def seconds_now(self) -> float:
        """The robot's clock: wall time, or /clock with use_sim_time."""
        return self.get_clock().now().nanoseconds / 1e9

    # --- health ----------------------------------------------------------------------------------------------------
    def report(self, level: bytes, message: str, **values: Any) -> None:
        """Say how the node is: in the diagnostics, and in the log when there is a new reason to worry."""
        message = compose.clipped(message, LONGEST_MESSAGE)
        self.note(level, message, **values)
        said = (level, without_numbers(message))
        if said != self._said:
            if level == ERROR:  # two call sites: rclpy's logger forbids one that changes its severity
                self.get_logger().error(message)
            elif level == WARN:
                self.get_logger().warning(message)
        self._said = said

    def note(self, level: bytes, message: str, **values: Any) -> None:
        """Say how the node is in the diagnostics only, as what has been logged already."""
        self._status, self._status_values = (level, message), values

    def _publish_diagnostics(self) -> None:
        if not self.context.ok():
            return
        values = [KeyValue(key=key, value=str(value)) for key, value in self._status_values.items()]
        level, message = self._status
        name = self.get_fully_qualified_name().lstrip("/")
        status = DiagnosticStatus(level=level, name=name, message=message, hardware_id="", values=values)
        array = DiagnosticArray(status=[status])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)

    # --- lifecycle -------------------------------------------------------------------------------------------------
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = self._transition(self.configure, "configured")
        if result != TransitionCallbackReturn.SUCCESS:
            self._close()
        return result

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._quieted = False
        super().on_activate(state)  # enables the lifecycle publishers
        result = self._transition(self.activate, "active")
        self.active = result == TransitionCallbackReturn.SUCCESS
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._wind_up_in_callback()
        self._quiet()
        super().on_deactivate(state)
        return self._transition(self.deactivate, "inactive")

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = self._transition(self.cleanup, "not configured")
        self._close()
        return result

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        if state.label == "active":
            self._wind_up_in_callback()
        self._quiet()
        if state.label == "active":
            self._transition(self.deactivate, "inactive")
        self.done = True
        return self._transition(self.cleanup, "shut down")

    def _wind_up_in_callback(self) -> None:
        """With one thread nothing else can happen during a callback, so there is nothing to wait for."""
        several = isinstance(self.executor, MultiThreadedExecutor)
        for _ in until_wound_up(self, WIND_UP_S if several else 0.0):
            time.sleep(0.02)

    def _quiet(self) -> None:
        self.active, self._quieted = False, True
        while self._listening:
            self._discard(self._listening.pop()[0])
        while self._ticking:
            self._discard(self._ticking.pop())

    def _close(self) -> None:
        """Undo what ``configure`` made: it may be called again."""
        for entities in (self._speaking, self._opened):
            while entities:
                self._discard(entities.pop())

    def _discard(self, entity: Any) -> None:
        """Destroy it now, or, where callbacks run beside the main loop that may be waiting for it, in that loop."""
        self._discarded.append(entity)
        if not isinstance(self.executor, MultiThreadedExecutor):
            self.destroy_discarded()

    def destroy_discarded(self) -> None:
        """Called by the main loop between two turns."""
        while self._discarded:
            entity = self._discarded.pop()
            destroy = next((f for kind, f in self._destroyers() if isinstance(entity, kind)), None)
            entity.destroy() if destroy is None else destroy(entity)

    def _destroyers(self) -> list[tuple[type, Callable[[Any], Any]]]:
        return [
            (LifecyclePublisher, self.destroy_lifecycle_publisher),
            (Subscription, self.destroy_subscription),
            (Timer, self.destroy_timer),
            (Client, self.destroy_client),
            (Service, self.destroy_service),
        ]

    def _transition(self, work: Callable[[], None], now: str) -> TransitionCallbackReturn:
        try:
            work()
        except World2ActError as error:
            self.report(ERROR, str(error))
            self._publish_diagnostics()  # whoever asked for the transition is told no more than that it failed
            return TransitionCallbackReturn.FAILURE
        except Exception:  # noqa: BLE001  (rclpy would swallow it without a word)
            self.report(ERROR, traceback.format_exc())
            self._publish_diagnostics()
            return TransitionCallbackReturn.ERROR
        self.report(OK, now)
        return TransitionCallbackReturn.SUCCESS

    def autostart(self) -> bool:
        """Configure and activate if asked to; False if that failed."""
        if not self._autostart:
            return True
        success = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == success and self.trigger_activate() == success


def until_wound_up(node: World2ActNode, seconds: float) -> Iterator[None]:
    """Yields as long as the node still has something to say or hear, for at most so long."""
    deadline = time.monotonic() + seconds
    while not node.wind_up() and time.monotonic() < deadline:
        yield
