"""What a bag can be asked, and how answers are compared with those recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.ros.support import make_episode
from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.episodes import BagWriter, compose, fields, messages
from world2act_core.episodes.stamps import ChunkStamps
from world2act_core.errors import World2ActError
from world2act_core.evaluation.replay import Comparison, Question, bag_embodiment, compare, questions
from world2act_core.types import ActionChunk, Array

SKILL = "pick up the bowl"


@pytest.fixture(scope="module")
def panda() -> Embodiment:
    return load_embodiment("libero_panda")


def write(writer: BagWriter, topic: str, message: object, log_ns: int) -> None:
    kind = message.__msgtype__  # type: ignore[attr-defined]
    writer.write_raw(topic, kind, messages.serialise(message), log_ns)


def image(embodiment: Embodiment, camera: str, shade: int, stamp: int) -> object:
    shape = (embodiment.cameras[camera].height, embodiment.cameras[camera].width, 3)
    return compose.image_message(np.full(shape, shade, np.uint8), embodiment.cameras[camera], stamp)


def a_wall_clock_bag(path: Path, embodiment: Embodiment, first: int = 1_700_000_000 * fields.NS) -> Array:
    """States at 100 Hz, images at 30 Hz, one chunk that answers an older image; returns its actions."""
    actions = np.arange(4 * embodiment.action.size, dtype=np.float32).reshape(4, -1) / 100
    timeline: list[tuple[int, str, object]] = []
    for tick in range(100):
        stamp = first + tick * 10_000_000
        state = {name: np.full(stream.size, tick / 100, np.float32) for name, stream in embodiment.state.items()}
        timeline += [(stamp, topic, m) for topic, m in compose.state_messages(embodiment, state, stamp)]
    frames = [first + k * 33_333_333 for k in range(30)]
    for number, stamp in enumerate(frames):
        arrives = stamp + 15_000_000
        for name in embodiment.cameras:
            timeline.append((arrives, embodiment.cameras[name].topic, image(embodiment, name, number, stamp)))
    used, observation = frames[10], first + 33 * 10_000_000
    done = used + 60_000_000  # two more images have come by the time the chunk is published
    images = dict.fromkeys(embodiment.cameras, (used, used + 15000000))
    stamps = ChunkStamps(observation, images, used + 15_000_000, used + 16_000_000, used + 16_000_000, done, done)
    chunk = compose.action_chunk(ActionChunk(actions, 0.0, SKILL), stamps, 1, "e1", embodiment.name)
    timeline += [(done, messages.ACTION_CHUNK_TOPIC, chunk), (done + 1, messages.ACTION_CHUNK_TOPIC, chunk)]
    with BagWriter(path, embodiment) as writer:
        for log_ns, topic, message in sorted(timeline, key=lambda entry: entry[0]):
            write(writer, topic, message, log_ns)
    return actions


def test_a_chunk_s_question_is_what_it_was_computed_from(panda: Embodiment, tmp_path: Path) -> None:
    actions = a_wall_clock_bag(tmp_path / "bag", panda)
    (question,) = questions(tmp_path / "bag", panda)  # said twice, asked once
    assert (question.episode_id, question.skill, question.unknown) == ("e1", SKILL, "")
    np.testing.assert_array_equal(question.answer, actions)
    for camera in panda.cameras.values():
        kind, data = question.shown[camera.topic]
        shown = fields.decode_image(messages.deserialise(data, kind), camera)
        assert shown.max() == 10, "not the image that the chunk names"
    joints = panda.state["joint_positions"]
    kind, data = question.shown[joints.topic]
    assert fields.state_value(messages.deserialise(data, kind), joints)[0] == pytest.approx(0.33)


def test_an_image_that_the_recorder_lost_makes_the_chunk_unanswerable(panda: Embodiment, tmp_path: Path) -> None:
    a_wall_clock_bag(tmp_path / "whole", panda)
    topic = panda.cameras["wrist"].topic
    from world2act_core.episodes.storage import bag_messages

    with BagWriter(tmp_path / "bag", panda) as writer:
        for raw in bag_messages(tmp_path / "whole"):
            if raw.topic.strip("/") != topic:
                writer.write_raw(raw.topic.strip("/"), raw.type_name, bytes(raw.data), raw.log_time_ns)
    (question,) = questions(tmp_path / "bag", panda)
    assert "camera wrist on wrist/image_raw: the image that was used is not in the bag" in question.unknown
    comparison = compare(iter([question]), lambda _: (question.answer, ""), panda)
    assert (comparison.compared, len(comparison.missing)) == (0, 1) and not comparison.within(1e9)


def test_a_demonstration_is_asked_every_m_actions(panda: Embodiment, tmp_path: Path) -> None:
    episode = make_episode(panda, steps=16)
    with BagWriter(tmp_path / "bag", panda) as writer:
        writer.write_episode(episode)
    asked = list(questions(tmp_path / "bag", panda))
    assert episode.actions is not None and bag_embodiment(tmp_path / "bag") == panda.name
    np.testing.assert_array_equal(np.concatenate([question.answer for question in asked]), episode.actions)
    assert [question.stamp_ns for question in asked] == [k * 200_000_000 for k in range(4)]
    assert all(set(q.shown) >= {camera.topic for camera in panda.cameras.values()} for q in asked)


def test_a_bag_without_chunks_and_actions_is_refused(panda: Embodiment, tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag", panda) as writer:
        writer.write_episode(replace(make_episode(panda), actions=None))
    with pytest.raises(World2ActError, match="neither action chunks nor actions"):
        list(questions(tmp_path / "bag", panda))


def some(count: int, episode: str = "e") -> Iterator[Question]:
    for index in range(count):
        yield Question(episode, "task", SKILL, index, {}, np.full((4, 2), float(index), np.float32))


def test_differences_are_told_by_dimension() -> None:
    comparison = Comparison(("x", "gripper"), ("m", "1"))
    for question in some(2):
        comparison.add(question, question.answer[:2] + np.array([0.5, 0.0], np.float32) * question.stamp_ns)
    assert comparison.maximum.tolist() == [0.5, 0.0] and comparison.mean.tolist() == [0.25, 0.0]
    assert comparison.within(0.5) and not comparison.within(0.49)
    table = comparison.table(0.1)
    assert "2 chunks compared (4 steps), 0 chunks missing" in table and "NOT within the tolerance of 0.1" in table
    assert "furthest apart, by 0.5: episode e, stamp 0.000 s" in table


def test_nan_is_no_small_difference() -> None:
    comparison = Comparison(("x", "y"), ("m", "m"))
    (question,) = some(1)
    comparison.add(question, np.full((4, 2), np.nan, np.float32))
    assert not comparison.within(1e9)


def test_answers_of_another_width_and_none_at_all_are_missing(panda: Embodiment) -> None:
    asked: list[int] = []

    def ask(question: Question) -> tuple[Array | None, str]:
        asked.append(question.stamp_ns)
        return (np.zeros((4, 3), np.float32), "") if question.stamp_ns == 0 else (None, "the recording is over")

    comparison = compare(some(10), ask, panda)
    assert asked == [0, 1, 2, 3], "a policy that is silent three times in a row is not asked on"
    reasons = [why for _, why in comparison.missing]
    assert (
        reasons[0] == "its actions have 3 values, the recorded ones 2" and reasons[1:4] == ["the recording is over"] * 3
    )
    assert len(reasons) == 10 and not comparison.within(1e9)
