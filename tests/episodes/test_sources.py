"""Anything that holds episodes is found and opened as what it is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.episodes import example
from tests.episodes.hdf5_examples import libero_example, libero_file, robocasa_example, robocasa_file
from world2act_core.embodiment import load_embodiment
from world2act_core.episodes import BagReport
from world2act_core.episodes.lerobot import LeRobotWriter
from world2act_core.episodes.sources import SourceKind, find_sources, iterate_source, source_kind
from world2act_core.errors import DamagedBagError, World2ActError

EMBODIMENT = example.small_embodiment()


def bag(path: Path, seed: int = 0) -> Path:
    return example.write(path, EMBODIMENT, example.random_episode(EMBODIMENT, seed=seed))


def dataset(folder: Path, seed: int = 0) -> Path:
    """A LeRobot data set."""
    with LeRobotWriter(folder, EMBODIMENT, codec="lossless") as writer:
        writer.write_episode(example.random_episode(EMBODIMENT, seed=seed))
    return folder


def libero(path: Path) -> Path:
    return libero_file(path, libero_example(rows=9))


def ids(path: Path, **asked: Any) -> list[str]:
    return [episode.episode_id for episode in iterate_source(path, EMBODIMENT, **asked)]


# Opening


def test_a_bag_folder_and_the_file_in_it_give_the_same_episodes(tmp_path: Path) -> None:
    folder = bag(tmp_path / "a", seed=3)
    assert ids(folder) == ids(folder / "a_0.mcap") == ["episode-3"]


def test_hdf5_files_are_told_apart_by_their_contents(tmp_path: Path) -> None:
    robocasa = robocasa_file(tmp_path / "two.hdf5", robocasa_example())
    assert ids(libero(tmp_path / "one.hdf5")) == ["one/demo_0"]
    omron = load_embodiment("panda_omron")
    assert [episode.embodiment for episode in iterate_source(robocasa, omron)] == ["panda_omron"]


def test_contents_count_more_than_names(tmp_path: Path) -> None:
    recorded = bag(tmp_path / "a") / "a_0.mcap"
    shutil.copyfile(recorded, tmp_path / "renamed.hdf5")
    libero_file(tmp_path / "download", libero_example())
    assert ids(tmp_path / "renamed.hdf5") == ["episode-0"]
    assert ids(tmp_path / "download") == ["download/demo_0"]


def test_a_lerobot_data_set_is_opened(tmp_path: Path) -> None:
    assert ids(dataset(tmp_path / "set", seed=5)) == ["episode-5"]


@pytest.mark.parametrize("make", [bag, dataset, libero], ids=["bag", "lerobot", "hdf5"])
def test_cameras_and_frames_are_passed_on(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    (episode,) = iterate_source(make(tmp_path / "a"), EMBODIMENT, ["wrist"], frame_every=8)
    assert (list(episode.images), episode.frame_steps.tolist()) == (["wrist"], [0, 8])


def test_a_report_takes_what_is_refused_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = libero_file(tmp_path / "a.hdf5", libero_example().without("actions"), libero_example())
    report = BagReport()
    assert ids(path, report=report) == ["a/demo_1"]
    assert [refused.episode_id for refused in report.refused] == ["a/demo_0"]


@pytest.mark.parametrize("name", ["cut.mcap", "cut.hdf5"])
def test_a_damaged_file_is_reported_as_what_its_name_says_it_was(tmp_path: Path, name: str) -> None:
    """Nothing of the contents is left to tell by."""
    path = tmp_path / name
    path.touch()
    report = BagReport()
    assert not list(iterate_source(path, EMBODIMENT, report=report))
    assert name in str(report.damage)
    with pytest.raises(DamagedBagError, match=name):
        list(iterate_source(path, EMBODIMENT))


def test_what_cannot_be_opened_says_what_can(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(World2ActError, match=r"notes\.txt cannot be opened: give an \.mcap file .* \.hdf5 .* LeRobot"):
        list(iterate_source(tmp_path / "notes.txt", EMBODIMENT))
    with pytest.raises(World2ActError, match="there is nothing at .*gone"):
        list(iterate_source(tmp_path / "gone", EMBODIMENT))


# Finding


def test_a_folder_gives_its_sources_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for n in (10, 9, 1):
        bag(tmp_path / f"bag_{n}")
    (tmp_path / "suite").mkdir()
    libero_file(tmp_path / "suite" / "b.hdf5", libero_example())
    dataset(tmp_path / "set")
    (tmp_path / "README.md").write_text("about")
    assert find_sources([tmp_path]) == [
        tmp_path / "bag_1",
        tmp_path / "bag_9",
        tmp_path / "bag_10",
        tmp_path / "set",
        tmp_path / "suite" / "b.hdf5",
    ]


def test_the_parts_of_a_bag_are_one_source(tmp_path: Path) -> None:
    """Also without metadata.yaml, which a recorder that was killed has not written."""
    whole, killed = bag(tmp_path / "whole"), bag(tmp_path / "killed")
    (killed / "metadata.yaml").unlink()
    shutil.copyfile(killed / "killed_0.mcap", killed / "killed_1.mcap")
    assert find_sources([tmp_path]) == [killed, whole]
    assert {source_kind(path) for path in (whole, killed)} == {SourceKind.BAG}


def test_files_of_many_bags_in_one_folder_are_a_source_each(tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    for n in range(2):
        shutil.copyfile(bag(tmp_path / f"{n}", seed=n) / f"{n}_0.mcap", folder / f"robot-{n}.mcap")
    assert find_sources([folder]) == [folder / "robot-0.mcap", folder / "robot-1.mcap"]


def test_hidden_things_are_left_out(tmp_path: Path) -> None:
    bag(tmp_path / ".being_written")
    libero_file(tmp_path / "._a.hdf5", libero_example())
    kept = libero_file(tmp_path / "a.hdf5", libero_example())
    assert find_sources([tmp_path]) == [kept]


def test_damaged_files_are_found_so_that_they_are_reported(tmp_path: Path) -> None:
    (tmp_path / "cut.hdf5").touch()
    assert find_sources([tmp_path]) == [tmp_path / "cut.hdf5"]


def test_paths_keep_their_order_and_a_source_named_twice_comes_once(tmp_path: Path) -> None:
    b, a = bag(tmp_path / "b"), bag(tmp_path / "a")
    assert find_sources([b, tmp_path]) == [b, a]


def test_a_link_to_a_folder_above_does_not_go_round_for_ever(tmp_path: Path) -> None:
    found = bag(tmp_path / "a")
    (tmp_path / "z").symlink_to(tmp_path)
    assert find_sources([tmp_path]) == [found]


def test_an_input_that_gives_nothing_is_an_error(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(World2ActError, match=r"empty holds nothing that can be opened: give an \.mcap file"):
        find_sources([empty])
    (empty / "notes.txt").write_text("hello")
    with pytest.raises(World2ActError, match=r"notes\.txt is nothing that can be opened"):
        find_sources([empty / "notes.txt"])
    with pytest.raises(World2ActError, match="there is nothing at .*gone"):
        find_sources([tmp_path / "gone"])
