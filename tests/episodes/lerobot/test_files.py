"""The files themselves, looked at with pyarrow and PyAV only: what a reader that is not ours finds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.episodes.example import random_episode
from tests.episodes.lerobot.sets import EMBODIMENT, decoded, records_of, rows_of, write_set
from world2act_core.episodes.lerobot import FileLimits
from world2act_core.types import Episode, Skill

EPISODES = [
    random_episode(EMBODIMENT, 10, seed, task=f"task {seed % 2}", skills=(Skill("pick", 1, 4), Skill("place", 6, 10)))
    for seed in range(3)
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three episodes of 11 rows in two files."""
    return write_set(tmp_path_factory.mktemp("sets") / "set", *EPISODES, limits=FileLimits(seconds=1))


@pytest.fixture(scope="module")
def info(path: Path) -> Any:
    return json.loads((path / "meta/info.json").read_text())


def column(path: Path, name: str) -> list[Any]:
    return list(rows_of(path)[name].to_pylist())


def test_every_step_and_the_state_behind_the_last_is_a_row(path: Path) -> None:
    states = np.array(column(path, "observation.state"), np.float32)
    expected = [np.concatenate([e.state[name] for name in EMBODIMENT.state], axis=1) for e in EPISODES]
    np.testing.assert_array_equal(states, np.concatenate(expected))


def test_counters_count_within_the_episode_and_over_the_set(path: Path) -> None:
    assert column(path, "index") == list(range(33))
    assert column(path, "frame_index") == [*range(11)] * 3
    assert column(path, "episode_index") == [0] * 11 + [1] * 11 + [2] * 11


def test_timestamps_are_frames_over_fps_and_stamps_are_kept_beside_them(path: Path) -> None:
    np.testing.assert_allclose(column(path, "timestamp"), [*(np.arange(11) / 20)] * 3, atol=1e-7)
    assert column(path, "stamp") == [stamp for episode in EPISODES for stamp in episode.stamps]


def test_the_last_row_is_done_and_its_action_stays_there(path: Path) -> None:
    """A delta of zero, with the gripper as the last action left it; the other rows have the episode's actions."""
    assert column(path, "next.done") == ([False] * 10 + [True]) * 3
    actions = np.array(column(path, "action"), np.float32).reshape(3, 11, 7)
    for written, episode in zip(actions, EPISODES, strict=True):
        assert episode.actions is not None
        np.testing.assert_array_equal(written[:10], episode.actions)
        np.testing.assert_array_equal(written[10], [0, 0, 0, 0, 0, 0, episode.actions[9, 6]])


def test_subtasks_change_exactly_at_the_boundaries(path: Path) -> None:
    """[1, 4) and [6, 10): the row behind the last action still belongs to the skill that ended there."""
    texts = pq.read_table(path / "meta/subtasks.parquet").to_pydict()
    assert texts == {"subtask_index": [0, 1, 2], "subtask": ["", "pick", "place"]}
    assert column(path, "subtask_index")[:11] == [0, 1, 1, 1, 0, 0, 2, 2, 2, 2, 2]


def test_tasks_are_the_index_of_a_pandas_frame(path: Path) -> None:
    """LeRobot takes ``tasks.iloc[task_index].name``; pandas reads its index from this note."""
    table = pq.read_table(path / "meta/tasks.parquet")
    assert table.to_pydict() == {"task_index": [0, 1], "task": ["task 0", "task 1"]}
    assert json.loads(table.schema.metadata[b"pandas"])["index_columns"] == ["task"]
    assert column(path, "task_index") == [0] * 11 + [1] * 11 + [0] * 11


def test_columns_have_the_types_that_info_states(path: Path, info: Any) -> None:
    schema = rows_of(path).schema
    stored = {name: feature for name, feature in info["features"].items() if feature["dtype"] != "video"}
    assert set(schema.names) == set(stored)
    for name, feature in stored.items():
        kind = schema.field(name).type
        if feature["shape"] != [1]:
            assert kind.list_size == feature["shape"][0] == len(feature["names"])
            kind = kind.value_type
        assert str(kind) == {"float32": "float", "float64": "double"}.get(feature["dtype"], feature["dtype"])


def test_info_counts_what_is_there(path: Path, info: Any) -> None:
    assert info["codebase_version"] == "v3.0" and info["fps"] == 20 and info["robot_type"] == "libero_panda"
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (3, 33, 2)
    assert info["splits"] == {"train": "0:3"}


def test_records_say_where_rows_and_frames_lie(path: Path) -> None:
    first, second, third = records_of(path)
    assert [r["data/file_index"] for r in (first, second, third)] == [0, 0, 1]
    assert [(r["dataset_from_index"], r["dataset_to_index"]) for r in (first, second, third)] == [
        (0, 11), (11, 22), (22, 33),
    ]  # fmt: skip
    video = "videos/observation.images.wrist"
    assert [r[f"{video}/from_timestamp"] for r in (first, second, third)] == [0.0, 0.55, 0.0]
    assert [r[f"{video}/to_timestamp"] for r in (first, second, third)] == [0.55, 1.1, 0.55]
    assert [r["tasks"] for r in (first, second, third)] == [["task 0"], ["task 1"], ["task 0"]]


@pytest.mark.parametrize("camera", ["agentview", "wrist"])
def test_every_row_has_a_frame_and_shows_the_latest_image(path: Path, info: Any, camera: str) -> None:
    """Frames were taken at steps 0, 4 and 8; in between the last one is held, and its age is a column."""
    rows = rows_of(path).to_pydict()
    records = records_of(path)
    for number, episode in enumerate(EPISODES):
        feature, record = f"observation.images.{camera}", records[number]
        place = {key: record[f"videos/{feature}/{key}"] for key in ("chunk_index", "file_index")}
        seconds, images = decoded(path / info["video_path"].format(video_key=feature, **place))
        assert len(images) == (22 if number < 2 else 11)
        for t in range(11):
            row = 11 * number + t
            assert rows["frame_age"][row] == t % 4
            second = record[f"videos/{feature}/from_timestamp"] + rows["timestamp"][row]
            shown = int(np.argmin(np.abs(seconds - second)))
            assert abs(seconds[shown] - second) < 1e-4  # LeRobot's tolerance
            np.testing.assert_array_equal(images[shown], episode.images[camera][t // 4])


def test_each_episode_is_one_row_group(path: Path) -> None:
    groups = [pq.ParquetFile(file).num_row_groups for file in sorted(path.glob("data/*/*.parquet"))]
    assert groups == [2, 1]


def test_statistics_of_vectors_are_those_of_the_rows(path: Path) -> None:
    stats = json.loads((path / "meta/stats.json").read_text())["action"]
    rows = np.array(column(path, "action"), np.float64)
    for key, value in {"mean": rows.mean(0), "std": rows.std(0), "min": rows.min(0), "max": rows.max(0)}.items():
        np.testing.assert_allclose(stats[key], value, atol=1e-9)
    assert stats["count"] == [33]
    first = records_of(path)[0]
    np.testing.assert_allclose(first["stats/action/q10"], np.quantile(rows[:11], 0.1, axis=0), atol=1e-9)


def test_statistics_of_images_are_those_of_the_frames_shown(path: Path) -> None:
    shown = np.concatenate([e.images["wrist"][np.arange(11) // 4] for e in EPISODES]) / 255.0
    stats = json.loads((path / "meta/stats.json").read_text())["observation.images.wrist"]
    for key, value in {"mean": shown.mean((0, 1, 2)), "std": shown.std((0, 1, 2)), "max": shown.max((0, 1, 2))}.items():
        assert np.shape(stats[key]) == (3, 1, 1)
        np.testing.assert_allclose(np.ravel(stats[key]), value, atol=1e-9)
    first = shown[:11].reshape(-1, 3)
    got = np.ravel(records_of(path)[0]["stats/observation.images.wrist/q90"])
    np.testing.assert_allclose(got, np.quantile(first, 0.9, axis=0, method="inverted_cdf"), atol=1e-9)


def test_every_numeric_feature_has_statistics(path: Path, info: Any) -> None:
    stats = json.loads((path / "meta/stats.json").read_text())
    assert set(stats) == set(info["features"])
    assert {frozenset(values) for values in stats.values()} == {
        frozenset(("min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"))
    }


@pytest.mark.parametrize(
    ("codec", "expected"),
    [("av1", ("av1", "yuv420p", 30)), ("h264", ("h264", "yuv420p", 18)), ("lossless", ("h264", "gbrp", None))],
)
def test_info_states_the_codec_that_the_videos_have(tmp_path: Path, codec: str, expected: tuple[Any, ...]) -> None:
    path = write_set(tmp_path / "set", EPISODES[0], codec=codec)
    stated = json.loads((path / "meta/info.json").read_text())["features"]["observation.images.wrist"]["info"]
    assert (stated["video.codec"], stated["video.pix_fmt"], stated.get("video.crf")) == expected
    with av.open(str(path / "videos/observation.images.wrist/chunk-000/file-000.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec.canonical_name, stream.pix_fmt) == expected[:2]
        assert (stream.height, stream.width) == (stated["video.height"], stated["video.width"])


@pytest.mark.parametrize("codec", ["av1", "h264"])
def test_new_images_are_key_frames_in_every_episode(tmp_path: Path, codec: str) -> None:
    """Episodes of 11 rows begin at odd frames of the video too, where key frames at a fixed distance would miss."""
    path = write_set(tmp_path / "set", *EPISODES, codec=codec)
    with av.open(str(path / "videos/observation.images.wrist/chunk-000/file-000.mp4")) as container:
        keys = {round(float(frame.time or 0) * 20) for frame in container.decode(video=0) if frame.key_frame}
    assert {first + step for first in (0, 11, 22) for step in (0, 4, 8)} <= keys


def test_skills_are_also_there_as_lerobot_0_6_reads_them(tmp_path: Path) -> None:
    path = write_set(tmp_path / "set", EPISODES[0], language_columns=True)
    rows = column(path, "language_persistent")
    assert all(row == rows[0] for row in rows)
    said = [(row["style"], row["content"], round(row["timestamp"] * 20)) for row in rows[0]]
    assert said == [("subtask", "pick", 1), ("subtask", "", 4), ("subtask", "place", 6)]


def test_without_actions_the_feature_is_left_out(tmp_path: Path) -> None:
    episode: Episode = EPISODES[0].without_actions()
    path = write_set(tmp_path / "set", episode)
    info = json.loads((path / "meta/info.json").read_text())
    assert "action" not in info["features"] and "action" not in rows_of(path).column_names
