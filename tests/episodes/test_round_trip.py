"""What is written is read back bit for bit."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.rosbag2 import Reader

from tests.episodes.example import assert_equal, random_episode, small_embodiment, write
from world2act_core.episodes import BagWriter, fields, iterate_episodes, messages, read_bag
from world2act_core.episodes.storage import bag_messages
from world2act_core.episodes.writer import require_space
from world2act_core.errors import ContractError, World2ActError

EMBODIMENT = small_embodiment()


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_episodes_come_back_bit_for_bit(tmp_path: Path, rotation: int) -> None:
    embodiment = small_embodiment(rotation_deg=rotation)
    written = [random_episode(embodiment, 8 + seed, seed) for seed in range(3)]
    contents = read_bag(write(tmp_path / "bag", embodiment, *written), embodiment)
    assert contents.damage is None and contents.refused == []
    for read, expected in zip(contents.episodes, written, strict=True):
        assert_equal(read, expected)


@settings(max_examples=20, deadline=None)
@given(
    steps=st.integers(1, 12),
    seed=st.integers(0, 1000),
    success=st.sampled_from([None, True, False]),
    frames=st.sets(st.integers(0, 12), min_size=1),
    first_stamp=st.sampled_from([0.0, 1000.0, 1.8e9]),
)
def test_any_episode_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    steps: int,
    seed: int,
    success: bool | None,
    frames: set[int],
    first_stamp: float,
) -> None:
    whole = random_episode(EMBODIMENT, steps, seed)
    frame_steps = np.array(sorted({min(step, steps) for step in frames}))
    pixels = np.random.default_rng(seed).integers(0, 256, (len(frame_steps), 8, 12, 3), np.uint8)
    images = {name: pixels + np.uint8(k) for k, name in enumerate(EMBODIMENT.cameras)}
    stamps = whole.stamps + first_stamp
    episode = replace(whole, success=success, frame_steps=frame_steps, images=images, stamps=stamps)
    bag = write(tmp_path_factory.mktemp("bags") / "bag", EMBODIMENT, episode)
    (read,) = read_bag(bag, EMBODIMENT).episodes
    # Stamps are whole nanoseconds; a float of seconds since 1970 is coarser than that and comes back unchanged.
    exact = stamps if first_stamp == 1.8e9 else np.array([int(np.rint(s * 1e9)) / 10**9 for s in stamps])
    assert_equal(read, replace(episode, stamps=exact))


def test_compressed_bag_comes_back_bit_for_bit(tmp_path: Path) -> None:
    episode = random_episode(EMBODIMENT)
    with BagWriter(tmp_path / "bag", EMBODIMENT, compress=True) as bag:
        bag.write_episode(episode)
    (read,) = read_bag(tmp_path / "bag", EMBODIMENT).episodes
    assert_equal(read, episode)


def test_action_free_video_comes_back_without_actions(tmp_path: Path) -> None:
    episode = random_episode(EMBODIMENT).without_actions()
    (read,) = read_bag(write(tmp_path / "bag", EMBODIMENT, episode), EMBODIMENT).episodes
    assert_equal(read, episode)


def test_without_actions_the_action_topic_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    episode = random_episode(EMBODIMENT)
    bag = write(tmp_path / "bag", EMBODIMENT, episode)
    decoded: list[str] = []
    decode = messages.deserialise

    def noting(raw: bytes, name: str) -> Any:
        decoded.append(name)
        return decode(raw, name)

    monkeypatch.setattr(messages, "deserialise", noting)
    (read,) = read_bag(bag, EMBODIMENT, with_actions=False).episodes
    assert messages.JOINT_STATE in decoded
    assert messages.ARM_COMMAND not in decoded
    assert_equal(read, episode.without_actions())


def test_only_the_cameras_asked_for_are_read(tmp_path: Path) -> None:
    episode = random_episode(EMBODIMENT)
    (read,) = read_bag(write(tmp_path / "bag", EMBODIMENT, episode), EMBODIMENT, cameras=["wrist"]).episodes
    assert_equal(read, replace(episode, images={"wrist": episode.images["wrist"]}))


def test_no_cameras_gives_states_and_actions(tmp_path: Path) -> None:
    episode = random_episode(EMBODIMENT)
    (read,) = read_bag(write(tmp_path / "bag", EMBODIMENT, episode), EMBODIMENT, cameras=[]).episodes
    assert_equal(read, replace(episode, images={}, frame_steps=np.zeros(0, np.int64)))


def test_frames_can_be_thinned_to_chunk_boundaries(tmp_path: Path) -> None:
    every_step = np.arange(9)
    pixels = np.random.default_rng(0).integers(0, 256, (9, 8, 12, 3), np.uint8)
    episode = random_episode(EMBODIMENT, 8, frame_steps=every_step, images={"agentview": pixels})
    (read,) = read_bag(write(tmp_path / "bag", EMBODIMENT, episode), EMBODIMENT, frame_every=4).episodes
    assert_equal(read, replace(episode, frame_steps=every_step[::4], images={"agentview": pixels[::4]}))


def test_episodes_are_read_one_at_a_time(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", EMBODIMENT, *(random_episode(EMBODIMENT, seed=seed) for seed in range(3)))
    episodes = iterate_episodes(bag, EMBODIMENT)
    assert next(episodes).episode_id == "episode-0"
    file = bag / "bag_0.mcap"
    file.write_bytes(file.read_bytes()[:10])  # the rest is gone, yet the first episode was given before
    with pytest.raises(World2ActError):
        list(episodes)


def test_the_same_episodes_give_the_same_bytes(tmp_path: Path) -> None:
    """Hashes of bags are inputs of manifests, so no wall clock may enter a written episode."""
    episodes = [random_episode(EMBODIMENT, seed=seed) for seed in range(2)]
    one, two = (write(tmp_path / name / "bag", EMBODIMENT, *episodes) for name in ("one", "two"))
    assert (one / "bag_0.mcap").read_bytes() == (two / "bag_0.mcap").read_bytes()


def test_rosbags_own_reader_agrees_on_the_folder(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", EMBODIMENT, random_episode(EMBODIMENT, 8))
    with Reader(bag) as reader:
        counts = {connection.topic: connection.msgcount for connection in reader.connections}
        times = [time for _, time, _ in reader.messages()]
    assert counts["/joint_states"] == 9 and counts["/arm_command"] == 8 and counts["/wrist/image_raw"] == 3
    assert times == sorted(times)
    metadata = yaml.safe_load((bag / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert metadata["message_count"] == len(times) and metadata["relative_file_paths"] == ["bag_0.mcap"]


def test_a_bag_split_by_size_reads_as_one_and_each_file_alone(tmp_path: Path) -> None:
    embodiment = small_embodiment(128, 128)
    written = [random_episode(embodiment, 60, seed) for seed in range(2)]
    with BagWriter(tmp_path / "bag", embodiment, split_mb=1) as writer:
        for episode in written:
            writer.write_episode(episode)
    files = sorted(tmp_path.glob("bag/*.mcap"))
    assert len(files) > 2 and all(file.stat().st_size < 3e6 for file in files)
    for read, expected in zip(read_bag(tmp_path / "bag", embodiment).episodes, written, strict=True):
        assert_equal(read, expected)
    with Reader(tmp_path / "bag") as reader:  # another implementation, which believes metadata.yaml
        assert reader.message_count == len(list(reader.messages())) == sum(len(list(bag_messages(f))) for f in files)
    parts = yaml.safe_load((tmp_path / "bag" / "metadata.yaml").read_text())["rosbag2_bagfile_information"]["files"]
    assert [part["path"] for part in parts] == [file.name for file in files]
    for part, file in zip(parts, files, strict=True):
        times = [message.log_time_ns for message in bag_messages(file)]
        assert part["message_count"] == len(times)
        assert part["starting_time"]["nanoseconds_since_epoch"] == times[0]
        assert part["duration"]["nanoseconds"] == times[-1] - times[0]


def test_too_little_space_is_one_sentence(tmp_path: Path) -> None:
    require_space(tmp_path / "not" / "there", 0)
    with pytest.raises(World2ActError, match=f"MB are free in {tmp_path}, a recording leaves at least 1000000000 MB"):
        require_space(tmp_path / "not" / "there", 1e9)


def test_an_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(World2ActError, match="exists already"), BagWriter(tmp_path, EMBODIMENT):
        pass


def test_a_closed_bag_takes_no_more(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag", EMBODIMENT) as bag:
        pass
    with pytest.raises(World2ActError, match="not open"):
        bag.write_episode(random_episode(EMBODIMENT))


def test_log_time_must_not_go_back(tmp_path: Path) -> None:
    prompt = b"\x00\x01\x00\x00"
    with BagWriter(tmp_path / "bag", EMBODIMENT) as bag:
        bag.write_raw("skill_prompt", messages.SKILL_PROMPT, prompt, 10)
        with pytest.raises(World2ActError, match="log time 9 ns on skill_prompt"):
            bag.write_raw("skill_prompt", messages.SKILL_PROMPT, prompt, 9)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"embodiment": "franka_fr3"}, "made with franka_fr3"),
        ({"images": {}}, "frame_steps without images"),
        ({"stamps": np.arange(9) * 0.2}, "step 1 comes 0.200 s after step 0"),
        ({"actions": np.full((8, 7), np.nan, np.float32)}, "must be finite"),
        ({"actions": np.zeros((8, 6), np.float32)}, "7 dimensions"),
        ({"state": {"joint_positions": np.zeros((9, 7), np.float32)}}, "no stream 'gripper_positions'"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    with BagWriter(tmp_path / "bag", EMBODIMENT) as bag, pytest.raises(ContractError, match=why):
        bag.write_episode(replace(random_episode(EMBODIMENT, 8), **changes))
    assert read_bag(tmp_path / "bag", EMBODIMENT).refused == []


def test_memory_does_not_grow_with_the_length_of_a_bag(tmp_path: Path) -> None:
    embodiment = small_embodiment(128, 128)
    peaks = []
    for count in (2, 10):
        episodes = (random_episode(embodiment, 20, seed) for seed in range(count))
        bag = write(tmp_path / f"{count}", embodiment, *episodes)
        tracemalloc.start()
        for _ in iterate_episodes(bag, embodiment):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_images_between_frames_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A camera at 30 Hz gives far more images than a policy that looks once a chunk."""
    pixels = np.random.default_rng(0).integers(0, 256, (9, 8, 12, 3), np.uint8)
    episode = random_episode(EMBODIMENT, 8, frame_steps=np.arange(9), images={"agentview": pixels})
    bag = write(tmp_path / "bag", EMBODIMENT, episode)
    decoded = []
    decode = fields.decode_image

    def noting(message: Any, camera: Any) -> Any:
        decoded.append(fields.stamp_s(message.header.stamp))
        return decode(message, camera)

    monkeypatch.setattr(fields, "decode_image", noting)
    read_bag(bag, EMBODIMENT, frame_every=4)
    assert decoded == [episode.stamps[t] for t in (0, 4, 8)]
