"""Reading episodes from bags, one at a time, with whatever lies in front of a damage."""

from __future__ import annotations

import json
import struct
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from world2act_core.embodiment import Embodiment
from world2act_core.episodes import fields, messages
from world2act_core.episodes.compose import END, START
from world2act_core.episodes.fields import NS, ns_to_seconds, seconds_to_ns, stamp_ns
from world2act_core.episodes.mcap_file import RawMessage
from world2act_core.episodes.storage import bag_messages
from world2act_core.episodes.synchronise import Samples, synchronise
from world2act_core.errors import ContractError, DamagedBagError, World2ActError
from world2act_core.types import Array, Episode, Skill

# Topics of one publisher can reach a recorder in another order than they were sent. A message this much (log time)
# before START or after END still counts if its stamp says that it belongs to the episode.
LATE_NS = NS // 2
_SUCCESS = {0: None, 1: True, 2: False}


@dataclass(frozen=True)
class Refused:
    """An episode that cannot be used, and why."""

    episode_id: str
    reason: str


@dataclass
class BagReport:
    """What `iterate_episodes` could not give: filled in while it runs."""

    refused: list[Refused] = field(default_factory=list)
    damage: DamagedBagError | None = None


@dataclass(frozen=True)
class BagContents:
    """All that a bag holds; see `Refused` and `BagReport`."""

    episodes: list[Episode]
    refused: list[Refused]
    damage: DamagedBagError | None


def read_bag(
    path: str | Path,
    embodiment: Embodiment,
    cameras: Sequence[str] | None = None,
    with_actions: bool = True,
    namespace: str = "",
    frame_every: int = 1,
) -> BagContents:
    """Read every usable episode into memory; arguments as in `iterate_episodes`.

    Raises:
        World2ActError: there is no bag at ``path``.
        ContractError: it was recorded with another embodiment.
    """
    report = BagReport()
    episodes = list(iterate_episodes(path, embodiment, cameras, with_actions, namespace, frame_every, report))
    return BagContents(episodes, report.refused, report.damage)


def iterate_episodes(
    path: str | Path,
    embodiment: Embodiment,
    cameras: Sequence[str] | None = None,
    with_actions: bool = True,
    namespace: str = "",
    frame_every: int = 1,
    report: BagReport | None = None,
) -> Iterator[Episode]:
    """Yield the episodes of a bag one at a time; only one is in memory.

    Args:
        path: rosbag2 folder or .mcap file, also one that was cut off.
        cameras: which to decode; each must have images in every episode. None: those that the episode has.
        with_actions: False gives action-free videos; the action topic is then not even decoded.
        namespace: of the robot in the bag, e.g. ``left_arm`` where its topics are ``/left_arm/joint_states`` ...
        frame_every: take frames only at steps that are multiples of this, e.g. ``embodiment.chunk_length`` for a bag of
            cameras that run at 30 Hz.
        report: takes refused episodes and the damage. Without it the first of them is raised, after the episodes in
            front of it.

    Raises:
        World2ActError: there is no bag at ``path``.
        DamagedBagError: only without ``report``; names file and byte offset.
        ContractError: another embodiment; an unknown camera; without ``report`` also an episode that is refused.
    """
    for name in cameras or ():
        if name not in embodiment.cameras:
            raise ContractError(f"{embodiment.name} has no camera {name!r}, only {', '.join(embodiment.cameras)}")
    topics = _Topics(Path(path), embodiment, cameras, with_actions, namespace, frame_every)
    splitter = _Splitter(topics, report)
    try:
        for message in bag_messages(path):
            yield from splitter.take(message)
    except DamagedBagError as damage:
        if report is not None or splitter.has_end:
            yield from splitter.finish()
        if report is None:
            raise
        report.damage = damage
    else:
        yield from splitter.finish()


class _Topics:
    """Which topics matter, and how a message becomes samples of which streams."""

    def __init__(
        self,
        path: Path,
        embodiment: Embodiment,
        cameras: Sequence[str] | None,
        with_actions: bool,
        namespace: str,
        frame_every: int,
    ) -> None:
        self.path, self.embodiment, self.asked, self.frame_every = path, embodiment, cameras, frame_every
        self._prefix = f"{namespace.strip('/')}/" if namespace.strip("/") else ""
        self.state_topics: dict[str, list[str]] = {}
        for name, stream in embodiment.state.items():
            self.state_topics.setdefault(stream.topic, []).append(name)
        chosen = embodiment.cameras if cameras is None else cameras
        self.camera_of = {embodiment.cameras[name].topic: name for name in chosen}
        self.action_topic = embodiment.action.topic if with_actions else None

    def relative(self, topic: str) -> str | None:
        """The contract's name of a topic, None if it does not matter."""
        name = topic.strip("/")
        if not name.startswith(self._prefix):
            return None
        name = name[len(self._prefix) :]
        known = name in self.state_topics or name in self.camera_of or name == self.action_topic
        return name if known or name == messages.EPISODE_EVENT_TOPIC else None

    def expected_type(self, topic: str) -> str:
        if topic in self.camera_of:
            return messages.IMAGE
        if topic in self.state_topics:
            joints = self.embodiment.state[self.state_topics[topic][0]].joints
            return messages.JOINT_STATE if joints else messages.POSE_STAMPED
        return messages.ARM_COMMAND if topic == self.action_topic else messages.EPISODE_EVENT

    def stamp(self, topic: str, raw: RawMessage) -> int:
        """Header stamp in nanoseconds; DamagedBagError if the message is of another type than the topic's."""
        self._check_type(topic, raw)
        try:
            return fields.header_stamp_ns(raw.data)
        except (struct.error, IndexError) as error:
            raise DamagedBagError(f"{self._where(raw)}: the message is too short to have a header") from error

    def decode(self, topic: str, raw: RawMessage, data: bytes | memoryview) -> Any:
        """The message, of the topic's type; DamagedBagError if it is another type or garbage."""
        self._check_type(topic, raw)
        try:
            return messages.deserialise(data, raw.type_name)
        except ValueError as error:
            raise DamagedBagError(f"{self._where(raw)}: the message cannot be read ({error})") from error

    def _check_type(self, topic: str, raw: RawMessage) -> None:
        expected = self.expected_type(topic)
        if raw.type_name != expected:
            raise DamagedBagError(f"{self._where(raw)}: type {raw.type_name}, expected {expected}: a foreign bag")
        if raw.type_hash and raw.type_hash != messages.type_hash(expected):
            raise DamagedBagError(f"{self._where(raw)}: {expected} is another version than the one installed here")

    def _where(self, raw: RawMessage) -> str:
        return f"{raw.file or self.path}: {raw.topic} at byte {raw.offset}"


class _Recording:
    """Samples of the episode in progress."""

    def __init__(self, start: Any, topics: _Topics) -> None:
        self.start = start
        self.end: Any = None
        self.topics, embodiment = topics, topics.embodiment
        self.fault: str = ""
        self.skew = seconds_to_ns(embodiment.max_skew_s)
        self.first = stamp_ns(start.header.stamp) - self.skew
        self.states = {name: Samples(name, stream.topic) for name, stream in embodiment.state.items()}
        self.images = {name: Samples(name, topic) for topic, name in topics.camera_of.items()}
        self.commands = Samples("commands", embodiment.action.topic)
        self.holds: list[int] = []
        self.commanded = False

    def add(self, topic: str, raw: RawMessage) -> None:
        """Take a message; what contradicts the contract is kept until the episode ends and then refuses it."""
        stamp = self.topics.stamp(topic, raw)
        if self.fault or stamp < self.first:
            return  # older than the episode: the tail of whatever came before
        try:
            for samples, value in self._values(topic, raw):
                if samples.stamps and stamp < samples.stamps[-1] and stamp <= self.first + 2 * self.skew:
                    samples.clear()  # the clock starts anew with the episode: what came before was the last one's
                samples.add(stamp, value)
        except ContractError as error:
            self.fault = str(error)

    def _values(self, topic: str, raw: RawMessage) -> Iterator[tuple[Samples, Any]]:
        embodiment = self.topics.embodiment
        if topic in self.topics.camera_of:
            name = self.topics.camera_of[topic]
            # Most images of a real camera fall between two frames that are wanted: decode only those that are taken.
            yield self.images[name], partial(self._image, raw.keep(), replace(raw, data=memoryview(b"")), topic, name)
            return
        message = self.topics.decode(topic, raw, raw.data)
        if topic == self.topics.action_topic:
            self.commanded = True
            if message.mode == fields.TRACK:
                yield self.commands, fields.command_values(message, embodiment.action)
            else:
                self.holds.append(stamp_ns(message.header.stamp))
        for name in self.topics.state_topics.get(topic, ()):
            if fields.carries(message, embodiment.state[name]):
                yield self.states[name], fields.state_value(message, embodiment.state[name])

    def _image(self, data: Callable[[], bytes], raw: RawMessage, topic: str, name: str) -> Array:
        return fields.decode_image(self.topics.decode(topic, raw, data()), self.topics.embodiment.cameras[name])

    def reaches(self, topic: str, stamp: int) -> bool:
        """Whether a message logged after END still belongs to the episode."""
        if stamp > stamp_ns(self.end.header.stamp) + self.skew:
            return False
        if topic in self.topics.camera_of:
            taken = self.images[self.topics.camera_of[topic]].stamps
        elif topic == self.topics.action_topic:
            taken = self.commands.stamps
        else:
            taken = self.states[self.topics.state_topics[topic][0]].stamps
        return stamp >= (taken[-1] if taken else self.first)

    def episode(self) -> Episode:
        """Synchronise; ContractError says why the episode is refused."""
        if self.fault:
            raise ContractError(self.fault)
        last = stamp_ns(self.end.header.stamp) + self.skew
        for samples in (*self.states.values(), *self.images.values(), self.commands):
            keep = int(np.searchsorted(np.array(samples.stamps, np.int64), last, side="right"))
            del samples.stamps[keep:], samples.values[keep:]
        asked = self.topics.asked
        images = {name: taken for name, taken in self.images.items() if asked is not None or taken.stamps}
        commands = self.commands if self.commanded else None
        aligned = synchronise(
            self.topics.embodiment, self.states, commands, images, self.holds, self.topics.frame_every
        )
        return Episode(
            episode_id=self.start.episode_id,
            task=self.start.task,
            embodiment=self.start.embodiment,
            stamps=np.array([ns_to_seconds(stamp) for stamp in aligned.stamps], np.float64),
            state=aligned.state,
            actions=aligned.actions,
            frame_steps=aligned.frame_steps,
            images=aligned.images,
            success=_SUCCESS.get(self.end.outcome),
            start_id=self.start.start_id,
            source=self.start.source,
            skills=_skills(self.end.skills_json, len(aligned.stamps) - 1),
        )


class _Splitter:
    """Cuts the stream of messages into episodes by START and END, log order and stamps."""

    def __init__(self, topics: _Topics, report: BagReport | None) -> None:
        self.path, self.topics, self.report = topics.path, topics, report
        self.recording: _Recording | None = None
        self.ended_at = 0
        self.early: deque[tuple[str, RawMessage]] = deque()

    @property
    def has_end(self) -> bool:
        return self.recording is not None and self.recording.end is not None

    def take(self, raw: RawMessage) -> Iterator[Episode]:
        topic = self.topics.relative(raw.topic)
        if topic is None:
            return
        if self.recording and self.recording.end and raw.log_time_ns > self.ended_at + LATE_NS:
            yield from self.finish()
        if topic == messages.EPISODE_EVENT_TOPIC:
            event = self.topics.decode(topic, raw, raw.data)
            if event.event == START:
                yield from self.finish()
                self._start(event, raw.log_time_ns)
            elif event.event == END:
                self._end(event, raw.log_time_ns)
        elif self.recording and not self.recording.end:
            self.recording.add(topic, raw)
        else:
            self._between(raw, topic)

    def finish(self) -> Iterator[Episode]:
        """Close the episode in progress: yield it, or refuse it."""
        recording, self.recording = self.recording, None
        if recording is None:
            return
        episode_id = recording.start.episode_id
        if recording.end is None:
            self._refuse(episode_id, "it has no END: the recording was cut off")
            return
        try:
            episode = recording.episode()
        except (World2ActError, ValueError) as error:
            self._refuse(episode_id, str(error))
            return
        yield episode

    def _start(self, event: Any, log_time: int) -> None:
        name = self.topics.embodiment.name
        if event.embodiment != name:
            raise ContractError(
                f"{self.path}: episode {event.episode_id} was recorded with embodiment {event.embodiment!r}, "
                f"not {name!r}: read it with that contract"
            )
        self.recording = _Recording(event, self.topics)
        early, self.early = self.early, deque()
        for topic, raw in early:
            if raw.log_time_ns >= log_time - LATE_NS:
                self.recording.add(topic, raw)

    def _end(self, event: Any, log_time: int) -> None:
        recording = self.recording
        if recording is None or recording.end or recording.start.episode_id != event.episode_id:
            self._refuse(event.episode_id, "it has an END without a START: the recording began too late")
            return
        recording.end, self.ended_at = event, log_time

    def _between(self, raw: RawMessage, topic: str) -> None:
        """A message outside START and END: late for the last episode, or early for the next."""
        if self.recording is not None and self.recording.reaches(topic, self.topics.stamp(topic, raw)):
            self.recording.add(topic, raw)
            return
        self.early.append((topic, raw))
        while self.early[0][1].log_time_ns < raw.log_time_ns - LATE_NS:
            self.early.popleft()

    def _refuse(self, episode_id: str, reason: str) -> None:
        if self.report is None:
            raise ContractError(f"{self.path}: episode {episode_id} cannot be used: {reason}")
        self.report.refused.append(Refused(episode_id, reason))


def _skills(text: str, steps: int) -> tuple[Skill, ...]:
    if not text:
        return ()
    try:
        skills = tuple(Skill(str(prompt), int(start), int(end)) for prompt, start, end in json.loads(text))
    except (ValueError, TypeError) as error:
        raise ContractError(f"skills_json of END is not [[prompt, start, end], ...]: {error}") from error
    for skill in skills:
        if not 0 <= skill.start <= skill.end:
            raise ContractError(f"skill {skill.prompt!r} covers steps {skill.start} to {skill.end} of {steps}")
    return skills
