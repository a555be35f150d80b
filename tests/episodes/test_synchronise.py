"""Streams are put onto control steps by stamp, with a bounded skew, and nothing is ever filled in."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.episodes.example import Logged, assert_equal, log, logged, random_episode, restamp, small_embodiment
from world2act_core.episodes import NotSynchronised, Samples, compose, fields, latest_synchronised, read_bag
from world2act_core.episodes.fields import NS, seconds_to_ns
from world2act_core.types import Observation

EMBODIMENT = small_embodiment()
EPISODE = random_episode(EMBODIMENT, 8, seed=1)


@pytest.fixture
def entries(tmp_path: Path) -> list[Logged]:
    return logged(EMBODIMENT, EPISODE, tmp_path / "template")


def of(entries: list[Logged], topic: str) -> list[Any]:
    return [message for name, message in entries if name == topic]


def refusal(tmp_path: Path, entries: list[Logged]) -> str:
    """The reason why the only episode of a bag of these messages is refused."""
    contents = read_bag(log(tmp_path / "bag", EMBODIMENT, entries), EMBODIMENT)
    assert contents.episodes == [] and contents.damage is None
    (refused,) = contents.refused
    assert refused.episode_id == EPISODE.episode_id
    return refused.reason


def test_joints_in_another_order_change_nothing(tmp_path: Path, entries: list[Logged]) -> None:
    for message in of(entries, "joint_states"):
        order = np.random.default_rng(0).permutation(len(message.name))
        message.name = [message.name[i] for i in order]
        message.position = message.position[order]
    (read,) = read_bag(log(tmp_path / "bag", EMBODIMENT, entries), EMBODIMENT).episodes
    assert_equal(read, EPISODE)


def test_a_second_publisher_of_joint_states_is_told_apart(tmp_path: Path, entries: list[Logged]) -> None:
    """A gripper driver with its own joint states on the same topic must not look like missing joints."""
    split: list[Logged] = []
    for topic, message in entries:
        if topic != "joint_states":
            split.append((topic, message))
            continue
        for part in (slice(0, 7), slice(7, 9)):
            one = copy.deepcopy(message)
            one.name, one.position = message.name[part], message.position[part].copy()
            split.append((topic, one))
    (read,) = read_bag(log(tmp_path / "bag", EMBODIMENT, split), EMBODIMENT).episodes
    assert_equal(read, EPISODE)


def test_a_missing_joint_refuses_the_episode(tmp_path: Path, entries: list[Logged]) -> None:
    message = of(entries, "joint_states")[3]
    message.name = ["other" if name == "panda_joint4" else name for name in message.name]
    assert "joint_positions on joint_states at stamp 0.15" in (reason := refusal(tmp_path, entries))
    assert "joint panda_joint4 is not in the joint state" in reason


def test_nan_refuses_the_episode(tmp_path: Path, entries: list[Logged]) -> None:
    message = of(entries, "joint_states")[2]
    message.position = np.where(np.arange(9) == 7, np.nan, message.position)
    assert "joint panda_finger_joint1 is nan" in refusal(tmp_path, entries)


@pytest.mark.parametrize("topic", ["joint_states", "eef_pose"])
def test_a_missing_state_topic_refuses_the_episode(tmp_path: Path, entries: list[Logged], topic: str) -> None:
    assert f"on {topic}: no message" in refusal(tmp_path, [entry for entry in entries if entry[0] != topic])


def test_a_missing_camera_refuses_where_it_was_asked_for(tmp_path: Path, entries: list[Logged]) -> None:
    bag = log(tmp_path / "bag", EMBODIMENT, [entry for entry in entries if entry[0] != "wrist/image_raw"])
    contents = read_bag(bag, EMBODIMENT, cameras=["agentview", "wrist"])
    assert contents.episodes == []
    assert "wrist on wrist/image_raw: no message" in contents.refused[0].reason


def test_a_state_lost_in_between_names_stream_stamp_and_skew(tmp_path: Path, entries: list[Logged]) -> None:
    entries.remove(("eef_pose", of(entries, "eef_pose")[4]))
    assert "eef_position on eef_pose: the sample nearest to stamp 0.20" in (reason := refusal(tmp_path, entries))
    assert "allows 0.02 s" in reason


def test_a_stream_within_the_skew_is_taken(tmp_path: Path, entries: list[Logged]) -> None:
    for message in of(entries, "eef_pose"):
        restamp(message, 0.015)
    (read,) = read_bag(log(tmp_path / "bag", EMBODIMENT, entries), EMBODIMENT).episodes
    assert_equal(read, EPISODE)


def test_a_stream_beyond_the_skew_refuses(tmp_path: Path, entries: list[Logged]) -> None:
    for message in of(entries, "eef_pose"):
        restamp(message, 0.023)
    assert "eef_position on eef_pose" in refusal(tmp_path, entries)


def test_a_late_image_leaves_its_step_without_a_frame(tmp_path: Path, entries: list[Logged]) -> None:
    restamp(of(entries, "wrist/image_raw")[1], 0.024)
    (read,) = read_bag(log(tmp_path / "bag", EMBODIMENT, entries), EMBODIMENT).episodes
    images = {name: pixels[[0, 2]] for name, pixels in EPISODE.images.items()}
    assert_equal(read, replace(EPISODE, frame_steps=np.array([0, 8]), images=images))


def test_a_camera_whose_clock_is_off_refuses(tmp_path: Path, entries: list[Logged]) -> None:
    for message in of(entries, "wrist/image_raw"):
        restamp(message, 0.025)
    reason = refusal(tmp_path, entries)
    assert "wrist on wrist/image_raw: no control step has an image of every camera" in reason
    assert "at most 0.02 s" in reason


def test_a_lost_command_refuses(tmp_path: Path, entries: list[Logged]) -> None:
    entries.remove(("arm_command", of(entries, "arm_command")[3]))
    assert "commands on arm_command: a command was lost" in refusal(tmp_path, entries)


def test_two_commands_for_one_state_refuse(tmp_path: Path, entries: list[Logged]) -> None:
    late = copy.deepcopy(of(entries, "arm_command")[3])
    restamp(late, 0.01)
    entries.insert(entries.index(("arm_command", of(entries, "arm_command")[3])) + 1, ("arm_command", late))
    assert "answer the same state" in refusal(tmp_path, entries)


def test_a_hold_beside_a_command_is_no_action(tmp_path: Path, entries: list[Logged]) -> None:
    track = of(entries, "arm_command")[4]
    hold = compose.hold_command("no chunk yet", fields.stamp_ns(track.header.stamp))
    entries.insert(entries.index(("arm_command", track)), ("arm_command", hold))
    (read,) = read_bag(log(tmp_path / "bag", EMBODIMENT, entries), EMBODIMENT).episodes
    assert_equal(read, EPISODE)


def test_while_the_arm_holds_there_are_no_steps(tmp_path: Path, entries: list[Logged]) -> None:
    """On a robot time passes between two chunks while the policy thinks; the steps on both sides stay usable."""
    for step in (4, 5):
        track = of(entries, "arm_command")[step]
        hold = compose.hold_command("waiting", fields.stamp_ns(track.header.stamp))
        track.mode, track.reason, track.values = hold.mode, hold.reason, hold.values
    (read,) = read_bag(log(tmp_path / "bag", EMBODIMENT, entries), EMBODIMENT).episodes
    kept = [0, 1, 2, 3, 6, 7, 8]
    assert EPISODE.actions is not None and read.actions is not None
    assert np.array_equal(read.stamps, EPISODE.stamps[kept])
    assert np.array_equal(read.actions, EPISODE.actions[kept[:-1]])
    assert np.array_equal(read.state["eef_position"], EPISODE.state["eef_position"][kept])


def test_holds_at_both_ends_are_cut_off(tmp_path: Path, entries: list[Logged]) -> None:
    for step in (0, 1, 7):
        track = of(entries, "arm_command")[step]
        hold = compose.hold_command("waiting", fields.stamp_ns(track.header.stamp))
        track.mode, track.reason, track.values = hold.mode, hold.reason, hold.values
    (read,) = read_bag(log(tmp_path / "bag", EMBODIMENT, entries), EMBODIMENT).episodes
    assert np.array_equal(read.stamps, EPISODE.stamps[2:8])
    assert EPISODE.actions is not None and read.actions is not None
    assert np.array_equal(read.actions, EPISODE.actions[2:7])


def test_an_action_whose_outcome_was_not_recorded_is_cut_off(tmp_path: Path, entries: list[Logged]) -> None:
    for topic in ("joint_states", "eef_pose"):
        entries.remove((topic, of(entries, topic)[-1]))
    (read,) = read_bag(log(tmp_path / "bag", EMBODIMENT, entries), EMBODIMENT, cameras=[]).episodes
    assert EPISODE.actions is not None and read.actions is not None
    assert np.array_equal(read.actions, EPISODE.actions[:7])
    assert np.array_equal(read.stamps, EPISODE.stamps[:8])


def test_a_state_that_came_too_late_is_no_outcome(tmp_path: Path, entries: list[Logged]) -> None:
    for topic in ("joint_states", "eef_pose", "episode_event"):
        restamp(of(entries, topic)[-1], 0.025)
    (read,) = read_bag(log(tmp_path / "bag", EMBODIMENT, entries), EMBODIMENT, cameras=[]).episodes
    assert np.array_equal(read.stamps, EPISODE.stamps[:8])


def test_a_command_long_after_the_last_state_refuses(tmp_path: Path, entries: list[Logged]) -> None:
    entries.remove(("joint_states", of(entries, "joint_states")[4]))
    reason = refusal(tmp_path, entries)
    assert "joint_positions on joint_states: no sample in the 0.02 s before the command at stamp 0.20" in reason


def faster(entries: list[Logged], per_step: int) -> list[Logged]:
    """The same episode from a robot whose joint states come ``per_step`` times as often."""
    more: list[Logged] = []
    for topic, message in entries:
        more.append((topic, message))
        if topic == "joint_states" and message is not of(entries, "joint_states")[-1]:
            for k in range(1, per_step):
                between = copy.deepcopy(message)
                restamp(between, k * EMBODIMENT.step_s / per_step)
                between.position = between.position + 100
                more.append((topic, between))
    return more


def test_states_faster_than_control_are_taken_at_the_commands(tmp_path: Path, entries: list[Logged]) -> None:
    (read,) = read_bag(log(tmp_path / "bag", EMBODIMENT, faster(entries, 5)), EMBODIMENT).episodes
    assert_equal(read, EPISODE)


def test_without_actions_fast_states_are_thinned_to_the_control_rate(tmp_path: Path, entries: list[Logged]) -> None:
    bag = log(tmp_path / "bag", EMBODIMENT, faster(entries, 5))
    (read,) = read_bag(bag, EMBODIMENT, with_actions=False).episodes
    assert_equal(read, EPISODE.without_actions())


def test_topics_that_overtake_start_and_end_still_count(tmp_path: Path, entries: list[Logged]) -> None:
    """Seen live: DDS keeps the order within a topic only, so a state can reach the recorder before START."""
    events = [entry for entry in entries if entry[0] == "episode_event"]
    others = [entry for entry in entries if entry[0] != "episode_event"]
    shuffled = [*others[:3], events[0], *others[3:-4], events[1], *others[-4:]]
    (read,) = read_bag(log(tmp_path / "bag", EMBODIMENT, shuffled), EMBODIMENT).episodes
    assert_equal(read, EPISODE)


def test_leftovers_of_the_episode_before_do_not_leak(tmp_path: Path, entries: list[Logged]) -> None:
    """Simulated time starts anew: the last state of one episode arrives after END, or even after the next START."""
    second = random_episode(EMBODIMENT, 8, seed=2)
    next_entries = logged(EMBODIMENT, second, tmp_path / "second")
    late = [entry for entry in entries if entry[0] == "joint_states"][-1]
    before = [entry for entry in entries if entry is not late]
    for name, mixed in {
        "before": [*before, late, *next_entries],
        "after": [*before, next_entries[0], late, *next_entries[1:]],
    }.items():
        contents = read_bag(log(tmp_path / name, EMBODIMENT, mixed), EMBODIMENT)
        assert_equal(contents.episodes[-1], second)
        if name == "before":
            assert_equal(contents.episodes[0], EPISODE)


def test_an_episode_without_end_is_reported(tmp_path: Path, entries: list[Logged]) -> None:
    assert "no END" in refusal(tmp_path, entries[:-1])


def test_an_end_without_start_is_reported(tmp_path: Path, entries: list[Logged]) -> None:
    assert "END without a START" in refusal(tmp_path, entries[1:])


def test_a_clock_that_jumps_back_refuses(tmp_path: Path, entries: list[Logged]) -> None:
    restamp(of(entries, "joint_states")[5], -0.1)
    assert "stamps go back" in refusal(tmp_path, entries)


def test_skills_of_end_must_be_readable(tmp_path: Path, entries: list[Logged]) -> None:
    of(entries, "episode_event")[1].skills_json = "pick bowl"
    assert "skills_json" in refusal(tmp_path, entries)


def streams(late_wrist_s: float = 0.0) -> tuple[dict[str, Samples], dict[str, Samples]]:
    """What a live node has received: EPISODE's streams, the wrist camera late."""
    stamps = [seconds_to_ns(stamp) for stamp in EPISODE.stamps]
    states = {
        name: Samples(name, stream.topic, list(stamps), list(EPISODE.state[name]))
        for name, stream in EMBODIMENT.state.items()
    }
    images = {}
    for name, camera in EMBODIMENT.cameras.items():
        late = round(late_wrist_s * NS) if name == "wrist" else 0
        images[name] = Samples(
            name, camera.topic, [stamps[t] + late for t in EPISODE.frame_steps], list(EPISODE.images[name])
        )
    return states, images


def test_live_observation_equals_the_frame_read_from_the_bag() -> None:
    observation = latest_synchronised(EMBODIMENT, *streams(late_wrist_s=0.01))
    assert isinstance(observation, Observation)
    assert observation.stamp == EPISODE.stamps[8]
    for name, rows in EPISODE.state.items():
        assert np.array_equal(observation.state[name], rows[8])
    for name, pixels in EPISODE.images.items():
        assert np.array_equal(observation.images[name], pixels[-1])


def test_live_observation_waits_for_the_slowest_camera() -> None:
    states, images = streams()
    del images["wrist"].stamps[-1], images["wrist"].values[-1]
    observation = latest_synchronised(EMBODIMENT, states, images)
    assert isinstance(observation, Observation) and observation.stamp == EPISODE.stamps[4]
    again = latest_synchronised(EMBODIMENT, states, images, after=observation.stamp)
    assert isinstance(again, NotSynchronised) and "nothing newer than stamp 0.20" in again.reason


def test_live_observation_says_what_is_too_far_apart() -> None:
    states, images = streams()
    for name in ("eef_position", "eef_orientation"):
        del states[name].stamps[-1], states[name].values[-1]
    answer = latest_synchronised(EMBODIMENT, states, images)
    assert isinstance(answer, NotSynchronised)
    assert "eef_position on eef_pose: the sample nearest to stamp 0.40" in answer.reason


def test_live_observation_names_a_stream_that_never_came() -> None:
    states, images = streams()
    images["wrist"].clear()
    answer = latest_synchronised(EMBODIMENT, states, images)
    assert answer == NotSynchronised("wrist on wrist/image_raw: nothing received yet")
