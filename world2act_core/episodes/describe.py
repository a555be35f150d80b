"""What a bag holds, without an embodiment contract and without decoding images."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from world2act_core.episodes import fields, messages
from world2act_core.episodes.compose import END, START
from world2act_core.episodes.fields import ns_to_seconds, stamp_ns
from world2act_core.episodes.storage import bag_messages, decode
from world2act_core.errors import DamagedBagError

_OUTCOMES = {0: "unknown", 1: "success", 2: "failure"}


@dataclass
class EpisodeSummary:
    """One episode as its START, its END and the messages between say.

    Attributes:
        steps: commands that track, those that hold not counted.
        chunks: action chunks, those said again not counted; 0 for a demonstration.
        images: topic → number of images.
        skills: prompt, first and last control step of each, as END says; empty when cut off.
        outcome: ``success``, ``failure``, ``unknown``, or ``cut off`` without an END.
        seconds: from START to END on the robot's clock, 0 when cut off.
    """

    episode_id: str
    task: str
    embodiment: str
    source: str
    start_id: str
    steps: int = 0
    chunks: int = 0
    images: dict[str, int] = field(default_factory=dict)
    outcome: str = "cut off"
    reason: str = ""
    seconds: float = 0.0
    skills: list[tuple[str, int, int]] = field(default_factory=list)


@dataclass
class BagSummary:
    """A whole bag.

    Attributes:
        topics: topic → (message type, number of messages).
        damage: what is wrong with the bag; what lies in front of it is counted here. None if it is whole.
    """

    path: Path
    bytes: int
    topics: dict[str, tuple[str, int]] = field(default_factory=dict)
    episodes: list[EpisodeSummary] = field(default_factory=list)
    damage: DamagedBagError | None = None

    @property
    def cameras(self) -> list[str]:
        """Topics with images."""
        return sorted(topic for topic, (type_name, _) in self.topics.items() if type_name == messages.IMAGE)


def describe_bag(path: str | Path) -> BagSummary:
    """Count what a bag holds, up to its first damage.

    Raises:
        World2ActError: there is no bag at ``path``.
    """
    path = Path(path)
    files = [path] if path.is_file() else sorted(path.glob("*"))
    summary = BagSummary(path, sum(file.stat().st_size for file in files if file.is_file()))
    try:
        _count(summary)
    except DamagedBagError as damage:
        summary.damage = damage
    return summary


def _count(summary: BagSummary) -> None:
    current: EpisodeSummary | None = None
    began = sequence = 0
    for raw in bag_messages(summary.path):
        _, count = summary.topics.get(raw.topic, (raw.type_name, 0))
        summary.topics[raw.topic] = (raw.type_name, count + 1)
        if raw.type_name == messages.EPISODE_EVENT:
            event = decode(raw)
            if event.event == START:
                current = EpisodeSummary(event.episode_id, event.task, event.embodiment, event.source, event.start_id)
                summary.episodes.append(current)
                began, sequence = stamp_ns(event.header.stamp), 0
            elif event.event == END and current is not None and event.episode_id == current.episode_id:
                current.outcome, current.reason = _OUTCOMES.get(event.outcome, "unknown"), event.reason
                current.seconds = ns_to_seconds(stamp_ns(event.header.stamp) - began)
                current.skills = _skills(event.skills_json)
                current = None
        elif current is not None and raw.type_name == messages.ARM_COMMAND:
            current.steps += decode(raw).mode == fields.TRACK
        elif current is not None and raw.type_name == messages.ACTION_CHUNK:
            said = decode(raw).sequence
            current.chunks, sequence = current.chunks + (said != sequence), said
        elif current is not None and raw.type_name == messages.IMAGE:
            current.images[raw.topic] = current.images.get(raw.topic, 0) + 1


def _skills(text: str) -> list[tuple[str, int, int]]:
    try:
        return [(str(prompt), int(start), int(end)) for prompt, start, end in json.loads(text or "[]")]
    except (ValueError, TypeError):
        return []  # reading the episode says what is wrong; here it is only counted
