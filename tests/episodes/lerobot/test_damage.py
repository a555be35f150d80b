"""Damaged files: what can be read is read, and the report says what cannot and why."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.episodes.example import assert_equal, random_episode
from tests.episodes.lerobot.sets import EMBODIMENT, read_set, write_set
from world2act_core.embodiment import load_embodiment
from world2act_core.episodes import BagReport
from world2act_core.episodes.lerobot import FileLimits, LeRobotWriter, iterate_lerobot
from world2act_core.errors import ContractError, DamagedBagError, World2ActError

EPISODES = [random_episode(EMBODIMENT, 9, seed) for seed in range(4)]
DATA, RECORDS = "data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet"
VIDEO = "videos/observation.images.wrist/chunk-000/file-000.mp4"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Four episodes, two in each file."""
    return write_set(tmp_path / "set", *EPISODES, limits=FileLimits(seconds=1))


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def garbage(file: Path) -> None:
    file.write_bytes(bytes(range(256)) * 8)


def empty(file: Path) -> None:
    file.write_bytes(b"")


DAMAGES: list[Callable[[Path], None]] = [truncate, garbage, empty, Path.unlink]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [DATA, VIDEO])
def test_episodes_in_a_damaged_file_are_refused_and_the_others_read(
    path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    damage(path / name)
    report = BagReport()
    read = read_set(path, report=report)
    whole = {episode.episode_id for episode in read}
    refused = {entry.episode_id for entry in report.refused}
    assert whole | refused == {f"episode-{seed}" for seed in range(4)} and not whole & refused
    assert {"episode-2", "episode-3"} <= whole and "episode-1" in refused
    assert all(Path(name).name in entry.reason for entry in report.refused) and report.damage is None
    for episode in read:
        assert_equal(episode, EPISODES[int(episode.episode_id[-1])])


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_of_records_is_the_reports_damage(path: Path, damage: Callable[[Path], None]) -> None:
    damage(path / RECORDS)
    report = BagReport()
    assert [episode.episode_id for episode in read_set(path, report=report)] == ["episode-2", "episode-3"]
    assert isinstance(report.damage, DamagedBagError) and "2 of 4 episodes are lost" in str(report.damage)


def test_without_a_report_a_refused_episode_is_raised_behind_the_good_ones(path: Path) -> None:
    garbage(path / DATA.replace("file-000", "file-001"))
    episodes = iterate_lerobot(path, EMBODIMENT)
    assert [next(episodes).episode_id, next(episodes).episode_id] == ["episode-0", "episode-1"]
    with pytest.raises(ContractError, match=r"episode episode-2 cannot be used: .*file-001.parquet"):
        next(episodes)


def test_without_a_report_lost_records_are_raised_at_the_end(path: Path) -> None:
    garbage(path / RECORDS)
    episodes = iterate_lerobot(path, EMBODIMENT)
    assert [next(episodes).episode_id, next(episodes).episode_id] == ["episode-2", "episode-3"]
    with pytest.raises(DamagedBagError, match="2 of 4 episodes are lost"):
        next(episodes)


def test_a_flipped_byte_in_the_rows_is_noticed(path: Path) -> None:
    """Pages carry checksums; without them a flipped bit would be a wrong joint angle."""
    column = pq.ParquetFile(path / DATA).metadata.row_group(1).column(0)
    data = bytearray((path / DATA).read_bytes())
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    (path / DATA).write_bytes(data)
    report = BagReport()
    assert [episode.episode_id for episode in read_set(path, report=report)] == ["episode-0", "episode-2", "episode-3"]
    assert "row group 1" in report.refused[0].reason


def test_a_video_of_too_few_frames_refuses_the_episode_that_lacks_them(path: Path) -> None:
    short = write_set(path.parent / "short", EPISODES[0])
    (path / VIDEO).write_bytes((short / VIDEO).read_bytes())
    report = BagReport()
    assert "episode-0" in {episode.episode_id for episode in read_set(path, report=report)}
    assert [entry.episode_id for entry in report.refused] == ["episode-1"]
    assert "frame 10 is missing" in report.refused[0].reason


def rewrite(file: Path, column: str, values: list[Any]) -> None:
    table = pq.read_table(file)
    place = table.column_names.index(column)
    pq.write_table(table.set_column(place, column, pa.array(values, table.schema.field(column).type)), file)


@pytest.mark.parametrize(
    ("file", "column", "values", "why"),
    [
        (DATA, "task_index", [0] * 10 + [7] * 10, "task_index 7 is none of the 1 tasks"),
        (DATA, "frame_index", [*range(10), *range(1, 11)], "do not count from 0"),
        (DATA, "stamp", [*range(10), *[1.0] * 10], "stamps must be strictly increasing"),
        (DATA, "observation.state", [[0.0] * 16] * 19 + [[float("nan")] * 16], "observation.state is not finite"),
        (RECORDS, "length", [10, 12], "do not count from 0"),
        (RECORDS, "length", [10, None], "do not count from 0"),
        (RECORDS, "data/file_index", [0, None], "cannot be filled in"),
        (RECORDS, "videos/observation.images.wrist/from_timestamp", [0.0, None], "does not say where its video"),
        (RECORDS, "videos/observation.images.wrist/from_timestamp", [0.0, 99.0], "missing or damaged"),
        (RECORDS, "world2act/skills", ["[]", "[1]"], "world2act/skills is not"),
    ],
)
def test_contradictory_values_refuse_one_episode(
    path: Path, file: str, column: str, values: list[Any], why: str
) -> None:
    rewrite(path / file, column, values)
    report = BagReport()
    read = read_set(path, report=report)
    assert [episode.episode_id for episode in read] == ["episode-0", "episode-2", "episode-3"]
    assert [entry.episode_id for entry in report.refused] == ["episode-1"]
    assert why in report.refused[0].reason


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["meta/info.json", "meta/tasks.parquet", "meta/subtasks.parquet"])
def test_damaged_meta_is_one_sentence(path: Path, name: str, damage: Callable[[Path], None]) -> None:
    damage(path / name)
    if (name, damage) == ("meta/subtasks.parquet", Path.unlink):
        assert len(read_set(path)) == 4  # ours are not read from it
        return
    with pytest.raises(World2ActError, match=Path(name).name):
        read_set(path)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"codebase_version": "v2.1"}, "version v2.1, v3.0 can be read: convert it"),
        ({"fps": None}, "fps is None"),
        ({"features": {"observation.state": 3}}, "feature observation.state has no shape"),
        ({"data_path": "data/{nothing}.parquet"}, "cannot be filled in"),
    ],
)
def test_an_info_that_makes_no_sense_is_one_sentence(path: Path, changes: dict[str, Any], why: str) -> None:
    info = json.loads((path / "meta/info.json").read_text())
    (path / "meta/info.json").write_text(json.dumps({**info, **changes}))
    with pytest.raises(World2ActError, match=why):
        read_set(path)


def test_a_folder_without_a_data_set_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(World2ActError, match="is no LeRobot data set"):
        read_set(tmp_path)


def test_a_set_of_another_robot_is_refused(path: Path) -> None:
    with pytest.raises(ContractError, match="fr3"):
        read_set(path, load_embodiment("franka_fr3"))


def test_a_damaged_set_is_not_continued(path: Path) -> None:
    (path / RECORDS).unlink()
    with (
        pytest.raises(World2ActError, match="counts 4 episodes, meta/episodes has 2"),
        LeRobotWriter(path, EMBODIMENT, codec="lossless", resume=True),
    ):
        pass
    assert len(read_set(path, report=BagReport())) == 2


def test_a_writer_that_could_not_begin_holds_nothing(path: Path) -> None:
    records = (path / RECORDS).read_bytes()
    (path / RECORDS).unlink()
    with suppress(World2ActError), LeRobotWriter(path, EMBODIMENT, codec="lossless", resume=True):
        pass
    (path / RECORDS).write_bytes(records)
    with LeRobotWriter(path, EMBODIMENT, codec="lossless", resume=True) as writer:
        assert len(writer.episode_ids) == 4


def test_random_flips_never_end_in_a_traceback(path: Path) -> None:
    """Any byte of any file may be wrong: an episode is given, refused, or the set is refused in one sentence."""
    rng = np.random.default_rng(0)
    files = [file for file in sorted(path.rglob("*")) if file.is_file()]
    for file in files:
        whole = file.read_bytes()
        for position in rng.integers(0, len(whole), 6):
            spoilt = bytearray(whole)
            spoilt[position] ^= int(rng.integers(1, 256))
            file.write_bytes(spoilt)
            with suppress(World2ActError):
                read_set(path, report=BagReport())
        file.write_bytes(whole)
    assert len(read_set(path)) == 4
