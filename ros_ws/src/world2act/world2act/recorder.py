"""Node ``recorder``: everything an episode consists of → a rosbag2/MCAP bag, as serialised on the wire.

Messages are written in the order in which they were published (their source time), because topics overtake each other
on the way; the log time is that time. On a disk with too little space no recording begins, and one in progress is ended
while its bag can still be finished. That and any failure to write are logged and shown in the diagnostics, what was
written stays readable, no further task begins (``~/ready``), and the process ends with exit code 1.
"""

from __future__ import annotations

import functools
import heapq
import sys
import time
from typing import Any

from rclpy.serialization import deserialize_message

from world2act.node import ERROR, OK, RECORD, RECORD_LATCHED, RECORD_SENSOR, World2ActNode, message_class
from world2act.running import run_node
from world2act.topics import recorded_topics, state_topics
from world2act_core.episodes.messages import EPISODE_EVENT_TOPIC, SKILL_PROMPT_TOPIC
from world2act_core.episodes.writer import BagWriter, require_space
from world2act_core.errors import World2ActError
from world2act_interfaces.msg import EpisodeEvent

REORDER_S = 0.3  # a topic may lag this much behind the others
KEPT = (EPISODE_EVENT_TOPIC, SKILL_PROMPT_TOPIC)  # their writers keep them for whoever comes late
# What was kept from so long before this recording belongs to another; the clocks of two machines differ by less.
OLD_S = 5.0


class RecorderNode(World2ActNode):
    """Records while active; each activation needs a folder that does not exist yet."""

    def __init__(self) -> None:
        super().__init__("recorder")
        self._embodiment = self.embodiment_parameter()
        self._folder = self.parameter("folder", "", "rosbag2 folder to make; must not exist")
        self._compress = self.parameter("compress", False, "zstd: smaller and slower")
        self._split_mb = self.parameter(
            "split_mb", 4096, "a file of this size is followed by another; 0: never", 0, 10**6
        )
        self._min_free_mb = self.parameter("min_free_mb", 500, "space that a recording leaves free", 0, 10**7)
        self._optional = self.parameter("optional_topics", [], "topics that nobody needs to publish; all are recorded")
        self._writer: BagWriter | None = None
        self._heap: list[tuple[int, int, float, str, str, bytes]] = []
        self._count, self._last_ns, self._since_ns = 0, 0, 0
        self._begun: set[str] = set()  # episodes without an END
        self._ending_since = 0.0

    def activate(self) -> None:
        if not self._folder:
            raise World2ActError("recorder has no folder: set the parameter folder, or the launch argument record")
        require_space(self._folder, self._min_free_mb)
        writer = BagWriter(self._folder, self._embodiment, compress=self._compress, split_mb=self._split_mb)
        self._writer = writer.__enter__()
        self._since_ns = time.time_ns() - round(OLD_S * 1e9)
        cameras = {camera.topic for camera in self._embodiment.cameras.values()}
        optional = {*cameras, *self._optional}
        sensors = {*state_topics(self._embodiment), *cameras}
        for topic, kind in recorded_topics(self._embodiment).items():
            callback = functools.partial(self._on_message, topic, kind)
            qos = RECORD_SENSOR if topic in sensors else RECORD_LATCHED if topic in KEPT else RECORD
            self.listen_raw(message_class(kind), topic, callback, qos, needed=topic not in optional)
        self.every(0.1, self._write_settled)

    def wind_up(self) -> bool:
        """What has been published is still to be read, and Ctrl-C reaches whoever marks the episodes as well: the END
        that it then sends belongs into the bag.
        """
        self._ending_since = self._ending_since or time.monotonic()
        if time.monotonic() - self._ending_since < REORDER_S:
            return False
        return not self._begun or not self.count_publishers(EPISODE_EVENT_TOPIC)

    def deactivate(self) -> None:
        self._begun.clear()
        self._ending_since = 0.0
        self.cleanup()

    def cleanup(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                self._write(writer, until=float("inf"))
            finally:
                writer.close()

    def _on_message(self, topic: str, kind: str, data: bytes, info: dict[str, Any]) -> None:
        self._count += 1
        source_ns = int(info["source_timestamp"])
        if topic in KEPT and source_ns < self._since_ns:
            return
        heapq.heappush(self._heap, (source_ns, self._count, time.monotonic(), topic, kind, bytes(data)))
        if topic == EPISODE_EVENT_TOPIC:
            self._note(deserialize_message(data, EpisodeEvent))

    def _note(self, event: EpisodeEvent) -> None:
        if event.event == EpisodeEvent.START:
            self._begun.add(event.episode_id)
        elif event.event == EpisodeEvent.END:
            self._begun.discard(event.episode_id)

    def _write_settled(self) -> None:
        if self._writer is None:
            return
        try:
            self._write(self._writer, until=time.monotonic() - REORDER_S)
        except World2ActError as error:
            self._end(f"recording failed: {error}")
            return
        try:
            require_space(self._folder, self._min_free_mb)
        except World2ActError as low:
            try:
                self.cleanup()
                self._end(f"recording ended, its bag is whole: {low}")
            except World2ActError as error:
                self._end(f"recording failed: {error}")
            return
        self.report(OK, "recording", messages=self._count, folder=self._folder)

    def _end(self, why: str) -> None:
        """Nothing more is recorded; an operator must see to it."""
        self._writer, self.exit_code = None, 1
        self._quiet()
        self._heap.clear()
        self._begun.clear()
        self.report(ERROR, why)

    def _write(self, writer: BagWriter, until: float) -> None:
        """Write what was received before ``until`` (monotonic seconds), in source order."""
        while self._heap and self._heap[0][2] <= until:
            source_ns, _, _, topic, kind, data = heapq.heappop(self._heap)
            self._last_ns = max(self._last_ns, source_ns)  # the machine's clock may be set back
            writer.write_raw(topic, kind, data, self._last_ns)


def main() -> None:
    sys.exit(run_node(RecorderNode))
