"""Whatever happens to a bag, what lies in front of the damage stays usable and the error says where it is."""

from __future__ import annotations

import random
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from tests.episodes.example import assert_equal, log, logged, random_episode, small_embodiment, write
from world2act_core.embodiment import load_embodiment
from world2act_core.episodes import BagWriter, describe_bag, iterate_episodes, messages, read_bag
from world2act_core.episodes.storage import bag_messages
from world2act_core.errors import ContractError, DamagedBagError, World2ActError

EMBODIMENT = small_embodiment()
EPISODES = [random_episode(EMBODIMENT, 4, seed) for seed in range(4)]


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "zstd"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The MCAP file of four episodes."""
    folder = tmp_path_factory.mktemp("whole") / "bag"
    with BagWriter(folder, EMBODIMENT, compress=request.param) as bag:
        for episode in EPISODES:
            bag.write_episode(episode)
    return (folder / "bag_0.mcap").read_bytes()


def test_a_bag_cut_off_anywhere_keeps_the_episodes_in_front(whole: bytes, tmp_path: Path) -> None:
    rng = random.Random(0)
    file = tmp_path / "cut.mcap"
    lengths = {0, 1, 7, 8, 9, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(150))}
    counts = []
    for length in sorted(lengths):
        file.write_bytes(whole[:length])
        contents = read_bag(file, EMBODIMENT)
        for read, expected in zip(contents.episodes, EPISODES, strict=False):
            assert_equal(read, expected)
        assert contents.damage is not None
        (offset,) = re.findall(r"cut.mcap is damaged at byte (\d+)", str(contents.damage))
        assert int(offset) <= length
        counts.append(len(contents.episodes))
    assert counts == sorted(counts) and counts[0] == 0 and counts[-1] == 4


def test_an_episode_is_on_disk_when_it_was_written(tmp_path: Path) -> None:
    bag = tmp_path / "bag"
    sizes = []
    with BagWriter(bag, EMBODIMENT) as writer:
        for count, episode in enumerate(EPISODES, 1):
            writer.write_episode(episode)
            copy = tmp_path / f"after-{count}.mcap"
            shutil.copy(bag / "bag_0.mcap", copy)
            sizes.append(copy.stat().st_size)
            assert len(read_bag(copy, EMBODIMENT).episodes) == count
    assert sizes == sorted(set(sizes))


def test_a_bag_that_grows_while_it_is_read_ends_where_it_ended_before(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag", EMBODIMENT) as writer:
        writer.write_episode(random_episode(EMBODIMENT, 8, 0))
        reading = iter(bag_messages(tmp_path / "bag"))
        next(reading)
        writer.write_episode(random_episode(EMBODIMENT, 8, 1))
        with pytest.raises(DamagedBagError, match="cut off|too short"):
            list(reading)


def test_a_truncated_chunk_gives_its_whole_messages(whole: bytes, tmp_path: Path) -> None:
    file = tmp_path / "cut.mcap"
    file.write_bytes(whole)
    total = len(list(bag_messages(file)))
    file.write_bytes(whole[: len(whole) // 8])  # inside the first chunk
    found = []
    with pytest.raises(DamagedBagError):
        for message in bag_messages(file):
            found.append(message)
    assert 0 < len(found) < total


def test_flipped_bits_never_give_a_wrong_episode(whole: bytes, tmp_path: Path) -> None:
    rng = random.Random(1)
    file = tmp_path / "flipped.mcap"
    reported = 0
    for _ in range(150):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        file.write_bytes(data)
        contents = read_bag(file, EMBODIMENT)  # raises nothing: the damage is part of the answer
        complaint = contents.damage is not None or bool(contents.refused)
        assert complaint or len(contents.episodes) == 4  # an index may be damaged unnoticed, an episode may not
        reported += complaint
        for read, expected in zip(contents.episodes, EPISODES, strict=False):
            assert_equal(read, expected)
    assert reported > 50


def test_garbage_in_the_middle_keeps_the_episodes_in_front(whole: bytes, tmp_path: Path) -> None:
    rng = random.Random(2)
    file = tmp_path / "garbage.mcap"
    start = len(whole) // 2
    file.write_bytes(whole[:start] + rng.randbytes(500) + whole[start + 500 :])
    contents = read_bag(file, EMBODIMENT)
    assert 1 <= len(contents.episodes) < 4
    assert contents.damage is not None and "garbage.mcap is damaged at byte" in str(contents.damage)


def test_without_a_report_the_damage_is_raised_behind_the_whole_episodes(whole: bytes, tmp_path: Path) -> None:
    file = tmp_path / "cut.mcap"
    file.write_bytes(whole[: len(whole) // 2])
    episodes = iterate_episodes(file, EMBODIMENT)
    assert_equal(next(episodes), EPISODES[0])
    with pytest.raises(DamagedBagError, match=r"cut.mcap is damaged at byte \d+"):
        list(episodes)


@pytest.mark.parametrize("content", [b"", b"not a bag at all", b"\x89PNG\r\n\x1a\n" * 10])
def test_a_foreign_file_is_refused_with_name_and_offset(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "photo.mcap"
    file.write_bytes(content)
    contents = read_bag(file, EMBODIMENT)
    assert contents.episodes == []
    assert "photo.mcap is damaged at byte 0: it does not begin as an MCAP file does" in str(contents.damage)


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    assert "neither .mcap files nor a metadata.yaml" in str(read_bag(tmp_path, EMBODIMENT).damage)


def test_no_bag_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(World2ActError, match="there is no bag at"):
        read_bag(tmp_path / "nothing", EMBODIMENT)


def test_another_type_on_a_topic_of_ours_is_foreign(tmp_path: Path) -> None:
    entries = logged(EMBODIMENT, EPISODES[0], tmp_path / "template")
    foreign = [("joint_states" if topic == "eef_pose" else topic, message) for topic, message in entries]
    damage = read_bag(log(tmp_path / "bag", EMBODIMENT, foreign), EMBODIMENT).damage
    assert re.search(r"bag_0.mcap: /joint_states at byte \d+: type geometry_msgs/msg/PoseStamped", str(damage))


def test_another_version_of_a_message_is_not_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(messages, "type_hash", lambda name: "RIHS01_" + "0" * 64)
        bag = write(tmp_path / "bag", EMBODIMENT, EPISODES[0])
    assert "EpisodeEvent is another version" in str(read_bag(bag, EMBODIMENT).damage)


def test_another_embodiment_is_refused(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", EMBODIMENT, EPISODES[0])
    with pytest.raises(ContractError, match="recorded with embodiment 'libero_panda', not 'franka_fr3'"):
        read_bag(bag, load_embodiment("franka_fr3"))


def test_an_unknown_camera_is_refused(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", EMBODIMENT, EPISODES[0])
    with pytest.raises(ContractError, match="no camera 'front', only agentview, wrist"):
        read_bag(bag, EMBODIMENT, cameras=["front"])


def test_a_bag_without_metadata_is_read(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", EMBODIMENT, *EPISODES)
    (bag / "metadata.yaml").unlink()
    contents = read_bag(bag, EMBODIMENT)
    assert contents.damage is None and len(contents.episodes) == 4


def test_a_bag_split_into_files_is_read_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "split"
    folder.mkdir()
    for number, episode in enumerate(EPISODES):
        part = write(tmp_path / f"part{number}", EMBODIMENT, episode)
        shutil.copy(next(part.glob("*.mcap")), folder / f"split_{number + 8}.mcap")  # 8, 9, 10, 11
    found = [episode.episode_id for episode in read_bag(folder, EMBODIMENT).episodes]
    assert found == [episode.episode_id for episode in EPISODES]


def test_a_bag_that_lacks_one_of_its_files_says_so(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", EMBODIMENT, EPISODES[0])
    text = (bag / "metadata.yaml").read_text()
    (bag / "metadata.yaml").write_text(text.replace("- bag_0.mcap", "- bag_0.mcap\n  - bag_1.mcap", 1))
    assert "lacks bag_1.mcap" in str(read_bag(bag, EMBODIMENT).damage)


def test_a_namespaced_robot_is_found(tmp_path: Path) -> None:
    entries = logged(EMBODIMENT, EPISODES[0], tmp_path / "template")
    bag = log(tmp_path / "bag", EMBODIMENT, [(f"left_arm/{topic}", message) for topic, message in entries])
    assert read_bag(bag, EMBODIMENT).episodes == []
    (read,) = read_bag(bag, EMBODIMENT, namespace="left_arm").episodes
    assert_equal(read, EPISODES[0])


def sqlite3_bag(folder: Path) -> Path:
    source = write(folder / "mcap", EMBODIMENT, *EPISODES)
    with Writer(folder / "sqlite3", version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        connections = {}
        for raw in bag_messages(source):
            if raw.topic not in connections:
                connections[raw.topic] = writer.add_connection(raw.topic, raw.type_name, typestore=messages.typestore())
            writer.write(connections[raw.topic], raw.log_time_ns, bytes(raw.data))
    return folder / "sqlite3"


def test_a_sqlite3_bag_is_read_too(tmp_path: Path) -> None:
    for read, expected in zip(read_bag(sqlite3_bag(tmp_path), EMBODIMENT).episodes, EPISODES, strict=True):
        assert_equal(read, expected)


def test_a_damaged_sqlite3_bag_is_reported(tmp_path: Path) -> None:
    bag = sqlite3_bag(tmp_path)
    (database,) = bag.glob("*.db3")
    database.write_bytes(database.read_bytes()[:3000])
    assert "sqlite3 is damaged or foreign behind message" in str(read_bag(bag, EMBODIMENT).damage)


WRITER = """
import resource, sys
from pathlib import Path
from tests.episodes.example import random_episode, small_embodiment
from world2act_core.episodes import BagWriter
from world2act_core.errors import World2ActError
path, limit = Path(sys.argv[1]), int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
embodiment = small_embodiment()
try:
    with BagWriter(path, embodiment) as bag:
        for seed in range(100000):
            bag.write_episode(random_episode(embodiment, 4, seed % 4))
            print(seed + 1, flush=True)
except World2ActError as error:
    print("refused:", error, flush=True)
"""


def start_writer(path: Path, limit: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), str(limit)]
    root = Path(__file__).parents[2]
    return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)


def test_a_killed_writer_loses_at_most_the_episode_in_progress(tmp_path: Path) -> None:
    process = start_writer(tmp_path / "bag")
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= 20:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    said = [20, *map(int, process.stdout.read().split())][-1]
    process.stdout.close()
    contents = read_bag(tmp_path / "bag", EMBODIMENT)
    assert len(contents.episodes) in (said, said + 1)
    assert "damaged at byte" in str(contents.damage)
    for number, read in enumerate(contents.episodes):
        assert_equal(read, EPISODES[number % 4])


def test_a_full_disk_is_reported_and_keeps_what_was_written(tmp_path: Path) -> None:
    process = start_writer(tmp_path / "bag", limit=100_000)
    output, _ = process.communicate(timeout=60)
    *counts, last = output.splitlines()
    assert last.startswith("refused:") and "what was written before stays readable" in last
    contents = read_bag(tmp_path / "bag", EMBODIMENT)
    assert len(counts) >= 5
    assert len(contents.episodes) == len(counts)
    for number, read in enumerate(contents.episodes):
        assert_equal(read, EPISODES[number % 4])


def test_description_counts_what_is_there(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", EMBODIMENT, *EPISODES[:2])
    summary = describe_bag(bag)
    assert summary.damage is None and summary.cameras == ["/agentview/image_raw", "/wrist/image_raw"]
    assert summary.topics["/joint_states"] == ("sensor_msgs/msg/JointState", 10)
    first, second = summary.episodes
    assert (first.episode_id, first.outcome, second.outcome) == ("episode-0", "failure", "success")
    assert (first.steps, first.source, first.embodiment) == (4, "demonstrator", "libero_panda")
    assert first.images == {"/agentview/image_raw": 2, "/wrist/image_raw": 2}
    assert first.seconds == pytest.approx(0.2, abs=0.002)


def test_description_of_a_cut_bag_says_so(tmp_path: Path) -> None:
    file = next(write(tmp_path / "bag", EMBODIMENT, *EPISODES).glob("*.mcap"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    summary = describe_bag(tmp_path / "bag")
    assert "damaged at byte" in str(summary.damage)
    assert summary.episodes[0].outcome == "failure" and summary.episodes[-1].outcome == "cut off"
