"""A policy asked the questions that a bag holds the answers to: what to show it, and how its answers differ.

A *question* is one observation with a skill; the recorded answer is the ActionChunk that the recorded policy gave, or,
in a bag without chunks (a demonstration), the next ``M`` actions. An observation is made of the bag's own messages: the
images that the recorded chunk says it was computed from, and of every state topic the sample that was nearest then, by
the rule that the live graph goes by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from world2act_core.embodiment import Embodiment
from world2act_core.episodes import compose, fields, messages
from world2act_core.episodes.compose import START
from world2act_core.episodes.mcap_file import RawMessage
from world2act_core.episodes.reader import iterate_episodes
from world2act_core.episodes.stamps import chunk_stamps, two_clocks
from world2act_core.episodes.storage import bag_messages, decode
from world2act_core.episodes.synchronise import Samples
from world2act_core.errors import World2ActError
from world2act_core.types import Array, Episode

KEPT_NS = 10 * fields.NS  # a chunk answers images that are at most so old


@dataclass(frozen=True)
class Question:
    """One observation to show a policy, and what was answered when it was recorded.

    Attributes:
        stamp_ns: of the observation, on the robot's clock.
        shown: topic → type and serialised message; one of every state topic and camera.
        answer: ``(H, A)`` as recorded.
        unknown: why the observation cannot be shown, or "".
    """

    episode_id: str
    task: str
    skill: str
    stamp_ns: int
    shown: dict[str, tuple[str, bytes]]
    answer: Array
    unknown: str = ""


def questions(path: str | Path, embodiment: Embodiment, namespace: str = "") -> Iterator[Question]:
    """Everything that a bag can be asked, in the order of its recording.

    Args:
        path: rosbag2 folder or .mcap file.
        namespace: of the robot in the bag.

    Raises:
        World2ActError: there is no bag, it is damaged, or there is neither a chunk nor an action in it.
    """
    asked = 0
    for question in _of_chunks(Path(path), embodiment, namespace):
        asked += 1
        yield question
    if asked:
        return
    for episode in iterate_episodes(path, embodiment, namespace=namespace, frame_every=embodiment.chunk_length):
        for question in _of_episode(episode, embodiment):
            asked += 1
            yield question
    if not asked:
        raise World2ActError(f"{path} has neither action chunks nor actions: there is nothing to compare with")


def bag_embodiment(path: str | Path) -> str:
    """The embodiment that a bag's first episode names.

    Raises:
        World2ActError: there is no bag, or no episode in it.
    """
    for raw in bag_messages(path):
        if raw.type_name == messages.EPISODE_EVENT and (event := decode(raw)).event == START:
            return str(event.embodiment)
    raise World2ActError(f"{path} has no episode that names its robot: say which with robot:=CONTRACT")


class _Streams:
    """The recent messages of every topic that an observation is made of, to be read again when they are needed."""

    def __init__(self, embodiment: Embodiment) -> None:
        self._skew = fields.seconds_to_ns(embodiment.max_skew_s)
        self._reference = embodiment.state["joint_positions"].topic
        self._states = {stream.topic: Samples(name, stream.topic) for name, stream in embodiment.state.items()}
        self.cameras = {name: Samples(f"camera {name}", c.topic) for name, c in embodiment.cameras.items()}
        self._of_topic = {**self._states, **{samples.topic: samples for samples in self.cameras.values()}}

    def take(self, topic: str, raw: RawMessage) -> bool:
        """Keep a message; False if it belongs to no stream."""
        samples = self._of_topic.get(topic)
        if samples is None:
            return False
        stamp = fields.header_stamp_ns(raw.data)
        if samples.stamps and stamp < samples.stamps[-1]:
            samples.clear()  # a simulator began anew
        samples.add(stamp, (raw.log_time_ns, raw.type_name, raw.keep()))
        while samples.stamps[-1] - samples.stamps[0] > KEPT_NS:
            del samples.stamps[0], samples.values[0]
        return True

    def shown(self, stamp: int, images: dict[str, int], until: int) -> tuple[dict[str, tuple[str, bytes]], str]:
        """The messages of the observation at ``stamp``, of those that had arrived ``until``; and what is missing.

        Args:
            images: camera → stamp, as far as it is known.
            until: nanoseconds of the log's clock.
        """
        found: dict[str, tuple[str, bytes]] = {}
        for samples in self._states.values():
            value = _nearest(samples, stamp, 0 if samples.topic == self._reference else self._skew, until)
            if value is None:
                return {}, f"{samples.label}: the sample that was used is not in the bag"
            found[samples.topic] = value
        for name, samples in self.cameras.items():
            value = _nearest(samples, images.get(name, stamp), 0 if name in images else self._skew, until)
            if value is not None:
                found[samples.topic] = value
            elif name in images:
                return {}, f"{samples.label}: the image that was used is not in the bag"
        return found, ""


def _nearest(samples: Samples, stamp: int, skew: int, until: int) -> tuple[str, bytes] | None:
    """Type and bytes of the sample nearest to ``stamp`` of those logged ``until``; None if none is near enough."""
    logged = [i for i, (log_time, _, _) in enumerate(samples.values) if log_time <= until]
    index = min(logged, key=lambda i: abs(samples.stamps[i] - stamp), default=None)
    # Stamps travel through seconds in float64 on their way: a microsecond is the same stamp.
    if index is None or abs(samples.stamps[index] - stamp) > max(skew, 1000):
        return None
    _, kind, data = samples.values[index]
    return kind, data()


def _of_chunks(path: Path, embodiment: Embodiment, namespace: str) -> Iterator[Question]:
    """A question for every chunk that was published, said again or not."""
    prefix = f"{namespace.strip('/')}/" if namespace.strip("/") else ""
    streams, tasks = _Streams(embodiment), dict[str, str]()
    last: tuple[str, int] | None = None
    for raw in bag_messages(path):
        topic = raw.topic.strip("/")
        if not topic.startswith(prefix) or streams.take(topic.removeprefix(prefix), raw):
            continue
        name = topic.removeprefix(prefix)
        if name == messages.EPISODE_EVENT_TOPIC:
            event = decode(raw)
            tasks[event.episode_id] = event.task
        elif name == messages.ACTION_CHUNK_TOPIC:
            chunk = decode(raw)
            if chunk.embodiment != embodiment.name:
                raise World2ActError(f"{path}: its chunks are for {chunk.embodiment!r}, not {embodiment.name!r}")
            if last != (said := (chunk.episode_id, chunk.sequence)):
                last = said
                yield _question(chunk, streams, tasks, raw.log_time_ns)


def _question(chunk: Any, streams: _Streams, tasks: dict[str, str], logged: int) -> Question:
    stamp, stamps = fields.stamp_ns(chunk.header.stamp), chunk_stamps(chunk)
    images = {name: acquired for name, (acquired, _) in stamps.images.items()}
    until = logged if two_clocks(stamps.assembled, logged) else min(logged, stamps.assembled)
    shown, unknown = streams.shown(stamp, images, until)
    answer = np.array(chunk.data, np.float32).reshape(chunk.horizon, chunk.action_dim)
    task = tasks.get(chunk.episode_id, chunk.skill)
    return Question(chunk.episode_id, task, chunk.skill, stamp, shown, answer, unknown)


def _of_episode(episode: Episode, embodiment: Embodiment) -> Iterator[Question]:
    """A question for every ``M`` actions of a demonstration, as a policy is asked that acts in its place."""
    length = embodiment.chunk_length
    frames = {int(step): index for index, step in enumerate(episode.frame_steps)}
    for step in range(0, episode.steps - length + 1, length):
        if episode.actions is None or (episode.images and step not in frames):
            continue
        stamp = fields.seconds_to_ns(float(episode.stamps[step]))
        said = compose.state_messages(embodiment, {name: rows[step] for name, rows in episode.state.items()}, stamp)
        for name, images in episode.images.items():
            camera = embodiment.cameras[name]
            said.append((camera.topic, compose.image_message(images[frames[step]], camera, stamp)))
        shown = {topic: (message.__msgtype__, messages.serialise(message)) for topic, message in said}
        skill = next((s.prompt for s in episode.skills if s.start <= step < s.end), episode.task)
        answer = episode.actions[step : step + length]
        yield Question(episode.episode_id, episode.task, skill, stamp, shown, answer)


class Comparison:
    """How far a policy's chunks are from those recorded, dimension by dimension.

    Args:
        names: of the action's dimensions.
        units: of each.
    """

    def __init__(self, names: tuple[str, ...], units: tuple[str, ...]) -> None:
        self._names, self._units = names, units
        self.compared = self.steps = 0
        self.missing: list[tuple[Question, str]] = []
        self._worst: tuple[float, Question] | None = None
        self._maximum, self._sum = np.zeros(len(names)), np.zeros(len(names))

    def add(self, question: Question, given: Array) -> None:
        """Compare an answer ``(H', A)`` over the steps that both have; one of another width counts as missing."""
        if given.shape[1:] != question.answer.shape[1:]:
            had, has = question.answer.shape[1], given.shape[1]
            self.miss(question, f"its actions have {has} values, the recorded ones {had}")
            return
        steps = min(len(given), len(question.answer))
        apart = np.abs(given[:steps].astype(np.float64) - question.answer[:steps])
        apart = np.where(np.isnan(apart), np.inf, apart)
        self.compared, self.steps = self.compared + 1, self.steps + steps
        self._maximum, self._sum = np.maximum(self._maximum, apart.max(axis=0)), self._sum + apart.sum(axis=0)
        if self._worst is None or apart.max() > self._worst[0]:
            self._worst = (float(apart.max()), question)

    def miss(self, question: Question, why: str) -> None:
        """The policy gave no answer that could be compared."""
        self.missing.append((question, why))

    @property
    def maximum(self) -> Array:
        """``(A,)`` largest absolute difference of each dimension."""
        return self._maximum

    @property
    def mean(self) -> Array:
        """``(A,)`` mean absolute difference of each dimension."""
        return self._sum / max(1, self.steps)

    def within(self, tolerance: float) -> bool:
        """Whether every chunk was answered and no value is further apart than ``tolerance``, in the action's units."""
        return bool(self.compared and not self.missing and self._maximum.max() <= tolerance)

    def table(self, tolerance: float) -> str:
        """Aligned text: a dimension a line, what was compared, what was missing, the verdict; no trailing newline."""
        width = max(len("action"), *map(len, self._names))
        lines = [f"{'action':{width}}  {'max abs diff':>12}  {'mean abs diff':>13}  unit"]
        for name, unit, most, mean in zip(self._names, self._units, self._maximum, self.mean, strict=True):
            lines.append(f"{name:{width}}  {most:12.6g}  {mean:13.6g}  {unit}")
        lines.append(f"{self.compared} chunks compared ({self.steps} steps), {len(self.missing)} chunks missing")
        for why, count in _counted(why for _, why in self.missing):
            lines.append(f"missing {count}: {why}")
        if self._worst and self._worst[0] > 0:
            furthest, question = self._worst
            at = f"episode {question.episode_id}, stamp {fields.ns_to_seconds(question.stamp_ns):.3f} s"
            lines.append(f"furthest apart, by {furthest:.6g}: {at}, {question.skill!r}")
        verdict = "within" if self.within(tolerance) else "NOT within"
        return "\n".join([*lines, f"{verdict} the tolerance of {tolerance:g}"])

    def as_json(self, tolerance: float) -> dict[str, Any]:
        """The same for programs."""
        return {
            "dimensions": list(self._names),
            "max_abs_difference": [float(v) for v in self._maximum],
            "mean_abs_difference": [float(v) for v in self.mean],
            "chunks_compared": self.compared,
            "steps_compared": self.steps,
            "chunks_missing": [{"stamp_ns": q.stamp_ns, "episode": q.episode_id, "why": w} for q, w in self.missing],
            "tolerance": tolerance,
            "within": self.within(tolerance),
        }


def _counted(reasons: Iterator[str]) -> list[tuple[str, int]]:
    counts: dict[str, int] = {}
    for reason in reasons:
        counts[reason] = counts.get(reason, 0) + 1
    return sorted(counts.items(), key=lambda entry: -entry[1])


Ask = Callable[[Question], tuple[Array | None, str]]
"""Puts a question to a policy: its answer ``(H, A)``, or None and why there is none."""

GIVE_UP_AFTER = 3
"""Questions of one episode without an answer, one after the other, before the rest of it is not asked any more."""


def compare(asked: Iterator[Question], ask: Ask, embodiment: Embodiment) -> Comparison:
    """Put every question and compare the answers."""
    comparison = Comparison(embodiment.action.names, embodiment.action.units)
    given_up, silent = "", 0
    for question in asked:
        if question.unknown:
            comparison.miss(question, question.unknown)
            continue
        if question.episode_id == given_up:
            comparison.miss(question, f"not asked: {GIVE_UP_AFTER} in a row were not answered")
            continue
        answer, why = ask(question)
        if answer is None:
            comparison.miss(question, why)
            silent += 1
            given_up = question.episode_id if silent == GIVE_UP_AFTER else ""
        else:
            comparison.add(question, answer)
            silent = 0
        if given_up:
            silent = 0
    return comparison
