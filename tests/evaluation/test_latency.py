"""Where the milliseconds went, from bags with known times; bags that cannot tell say why."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.episodes.example import random_episode, small_embodiment
from tests.evaluation.latency_bags import MS, PERIOD, T0, Recording, on_a_robot, stamps
from world2act_core.cli import main
from world2act_core.episodes import BagWriter, messages
from world2act_core.errors import World2ActError
from world2act_core.evaluation.latency import AGE, CHAIN, INFERENCE, WHOLE, read_latency, statistics


def test_every_segment_is_what_was_stamped(tmp_path: Path) -> None:
    report = read_latency(on_a_robot(tmp_path / "bag"))
    segments = report.segments()
    assert list(segments) == ["agentview: photon → received", "wrist: photon → received", *CHAIN, WHOLE, AGE]
    constant = {name: set(values) for name, values in segments.items() if name not in (INFERENCE, WHOLE)}
    assert constant == {
        "agentview: photon → received": {10.0},
        "wrist: photon → received": {4.0},
        "photon → received": {10.0},
        "received → assembled": {2.0},
        "assembled → inference": {1.0},
        "inference → published": {3.0},
        "published → first command": {4.0},
        AGE: {13.0, 8.0},
    }
    np.testing.assert_allclose(segments[INFERENCE], np.arange(1, 101))
    np.testing.assert_allclose(segments[WHOLE], 20 + np.arange(1, 101))
    assert len(segments[AGE]) == 200 and report.notes() == [] and report.damage is None


def test_percentiles_of_a_hundred_chunks() -> None:
    found = statistics(np.arange(1.0, 101.0))
    assert found == pytest.approx({"count": 100, "p50": 50.5, "p95": 95.05, "p99": 99.01, "max": 100.0})


def test_a_chunk_said_twice_counts_once_and_its_first_command_counts(tmp_path: Path) -> None:
    recording, times = Recording(tmp_path / "bag"), stamps(T0)
    recording.chunk(1, times)
    recording.chunk(1, times, at=times.published + 100 * MS)
    recording.hold(times.published + MS)
    recording.command(1, 2, times.published + 6 * MS)  # the steps before it were for a time that had passed
    recording.command(1, 3, times.published + 56 * MS)
    (chunk,) = read_latency(recording.write()).chunks
    assert chunk.chain()["published → first command"] == 6.0


def test_chunks_of_an_ended_episode_or_of_a_killed_policy_are_not_joined_with_later_commands(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "bag")
    recording.chunk(1, stamps(T0), "e1")
    recording.chunk(1, stamps(T0 + PERIOD), "e2")
    recording.chunk(1, stamps(T0 + 2 * PERIOD), "e2")  # the policy was restarted in mid-episode
    last = stamps(T0 + 2 * PERIOD).published + 5 * MS
    recording.command(1, 0, last)
    report = read_latency(recording.write())
    assert [chunk.commanded for chunk in report.chunks] == [None, None, last]
    assert report.notes() == ["2 of 3 chunks were not executed: no command names them"]


def test_a_dry_run_and_two_robots_are_told_apart_by_their_namespaces(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "bag")
    published = stamps(T0).published
    for name, wait in (("left", 3), ("left/inner", 8)):
        recording.chunk(1, stamps(T0), topic=f"{name}/action_chunk")
        recording.command(1, 0, published + wait * MS, topic=f"{name}/dry_run/arm_command")
    segments = read_latency(recording.write()).segments()
    assert sorted(segments["published → first command"]) == [3.0, 8.0]


def test_in_lockstep_nothing_is_timed_from_the_camera_on(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "bag")
    times = stamps(T0, observation=200 * MS)
    recording.chunk(1, times)
    recording.command(1, 0, times.published + 7 * MS, stamp=200 * MS)
    report = read_latency(recording.write())
    assert list(report.segments()) == list(CHAIN[1:])
    assert report.segments()["published → first command"].tolist() == [7.0]
    assert "simulated time (lockstep)" in report.notes()[0]


def test_clocks_that_disagree_are_said(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "bag")
    times = stamps(T0)
    recording.chunk(1, replace(times, images={"wrist": (T0 + 60 * MS, T0 + 10 * MS)}))
    recording.command(1, 0, times.published)
    assert read_latency(recording.write()).notes() == [
        "something is stamped 50.0 ms before what caused it: two machines' clocks disagree"
    ]


def test_a_demonstration_has_nothing_to_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    robot = small_embodiment()
    with BagWriter(tmp_path / "bag", robot) as writer:
        writer.write_episode(random_episode(robot))
    assert main(["latency", str(tmp_path / "bag")]) == 2
    said = capsys.readouterr().err
    assert "has no action chunks, so there is nothing to time" in said and said.count("\n") == 1


def test_chunks_of_an_older_version_are_refused_or_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        known = messages.type_hash
        older = "RIHS01_" + "0" * 64
        patched.setattr(messages, "type_hash", lambda name: older if name == messages.ACTION_CHUNK else known(name))
        old = on_a_robot(tmp_path / "old", chunks=3)
    with pytest.raises(World2ActError, match="old has 3 action chunks, but they were recorded by a version"):
        read_latency(old)
    on_a_robot(tmp_path / "new", chunks=2)
    folder = tmp_path / "both"
    folder.mkdir()
    for number, part in enumerate(("old", "new")):
        (folder / f"part_{number}.mcap").write_bytes((tmp_path / part / f"{part}_0.mcap").read_bytes())
    report = read_latency(folder)
    assert len(report.chunks) == 2 and "3 chunks are left out" in report.notes()[0]


def test_a_damaged_bag_shows_what_lies_in_front(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = next(on_a_robot(tmp_path / "bag").glob("*.mcap"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert main(["latency", str(tmp_path / "bag")]) == 1
    said = capsys.readouterr().out
    assert "damaged: " in said and "at byte" in said
    assert 10 < len(read_latency(file).chunks) < 100


def test_a_chunk_whose_stamps_do_not_fit_its_cameras_is_damage(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "bag")
    recording.chunk(1, stamps(T0))
    recording.command(1, 0, T0 + PERIOD)
    recording.chunk(2, stamps(T0 + 2 * PERIOD))
    recording.entries[-1][2].cameras.pop()
    report = read_latency(recording.write())
    assert len(report.chunks) == 1 and "a chunk's cameras and their stamps differ in number" in str(report.damage)


def test_a_bag_that_is_not_there_or_not_a_bag_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photo.mcap").write_bytes(b"not a bag")
    for name in ("gone", "photo.mcap"):
        assert main(["latency", str(tmp_path / name)]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_table_json_and_plot_of_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = on_a_robot(tmp_path / "bag", chunks=20)
    plot, figures = tmp_path / "latency.png", tmp_path / "latency.json"
    assert main(["latency", str(bag), "--plot", str(plot), "--json", str(figures)]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(WHOLE))
    assert row.split()[-5:] == ["20", "30.50", "39.05", "39.81", "40.00"]
    assert plot.read_bytes().startswith(b"\x89PNG")
    known = json.loads(figures.read_text())
    assert known["chunks"] == 20 and known["segments"][WHOLE]["max"] == 40.0
    assert main(["latency", str(bag), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == known
    assert main(["latency", str(bag), "--plot", str(tmp_path / "latency.bmp")]) == 2
    assert "a plot ends in one of .png, .svg, .pdf" in capsys.readouterr().err
