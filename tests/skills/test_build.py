"""Building a skill data set: what is kept, what is discarded, what survives a kill."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.skills.logged import CLOSE, OPEN, PERIOD, TASK, carrying, contract_file, write_bag
from world2act_core.embodiment import load_embodiment
from world2act_core.episodes import read_bag
from world2act_core.episodes.lerobot import iterate_lerobot
from world2act_core.errors import RunError, World2ActError
from world2act_core.skills.build import BuildSettings, build_skills
from world2act_core.skills.grammar import GrammarDecomposer
from world2act_core.skills.journal import FAILED, UNREADABLE, Record, read_journal
from world2act_core.skills.sinks import file_name
from world2act_core.skills.synchronise import Discard
from world2act_core.types import Episode


@pytest.fixture
def settings(tmp_path: Path) -> BuildSettings:
    return BuildSettings(embodiment=contract_file(tmp_path), form="bags")


def built(folder: Path, settings: BuildSettings) -> dict[str, Episode]:
    """Episodes of a data set of bags by their ids."""
    embodiment = load_embodiment(settings.embodiment)
    bags = sorted((folder / "dataset").iterdir())
    return {episode.episode_id: episode for bag in bags for episode in read_bag(bag, embodiment).episodes}


def test_an_episode_comes_out_with_its_clips_and_otherwise_unchanged(tmp_path: Path, settings: BuildSettings) -> None:
    episode = carrying(1)
    build_skills([write_bag(tmp_path / "bag", episode)], tmp_path / "out", settings)
    found = built(tmp_path / "out", settings)["logged-1"]
    pick, place = found.skills
    assert (pick.prompt, place.prompt) == ("pick up the bowl", "place the bowl on the plate")
    assert CLOSE < pick.end <= CLOSE + 8
    assert pick.end == place.start
    assert OPEN < place.end <= PERIOD
    assert found.actions is not None and episode.actions is not None
    assert np.array_equal(found.actions, episode.actions)
    assert all((found.images[name] == episode.images[name]).all() for name in episode.images)


def test_a_lerobot_data_set_holds_the_same_clips(tmp_path: Path, settings: BuildSettings) -> None:
    bag = write_bag(tmp_path / "bag", carrying(1), carrying(2))
    build_skills([bag], tmp_path / "bags", settings)
    build_skills([bag], tmp_path / "set", replace(settings, form="lerobot"))
    embodiment = load_embodiment(settings.embodiment)
    again = {e.episode_id: e.skills for e in iterate_lerobot(tmp_path / "set" / "dataset", embodiment)}
    assert again == {name: episode.skills for name, episode in built(tmp_path / "bags", settings).items()}


def test_a_data_set_can_be_a_source_again(tmp_path: Path, settings: BuildSettings) -> None:
    build_skills([write_bag(tmp_path / "bag", carrying(1))], tmp_path / "set", replace(settings, form="lerobot"))
    summary = build_skills([tmp_path / "set" / "dataset"], tmp_path / "again", settings)
    assert summary.kept == 1


def test_what_disagrees_is_discarded_and_the_rest_goes_on(tmp_path: Path, settings: BuildSettings) -> None:
    episodes = [
        carrying(1),
        carrying(2, cycles=2),
        carrying(3, success=False),
        carrying(4, task="why is there a bowl?"),
        carrying(5),
    ]
    summary = build_skills([write_bag(tmp_path / "bag", *episodes)], tmp_path / "out", settings)
    records = {record.episode_id: record for record in read_journal(tmp_path / "out")}
    assert {name: record.discard for name, record in records.items()} == {
        "logged-1": "",
        "logged-2": Discard.TOO_MANY_EVENTS.value,
        "logged-3": FAILED,
        "logged-4": Discard.INSTRUCTION.value,
        "logged-5": "",
    }
    assert all(bool(record.reason) != record.kept for record in records.values())
    assert (summary.overall.kept, summary.overall.judged) == (2, 4)


def test_a_damaged_file_is_reported_and_the_other_sources_go_on(tmp_path: Path, settings: BuildSettings) -> None:
    damaged = write_bag(tmp_path / "bags" / "a", carrying(1), carrying(2))
    write_bag(tmp_path / "bags" / "b", carrying(3))
    file = next(damaged.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 6 // 10])
    build_skills([tmp_path / "bags"], tmp_path / "out", settings)
    records = read_journal(tmp_path / "out")
    assert [record.episode_id for record in records if record.kept] == ["logged-1", "logged-3"]
    lost = [record for record in records if record.discard == UNREADABLE]
    assert lost
    assert any(file.name in record.reason for record in lost)


def test_two_episodes_of_one_id_do_not_overwrite_each_other(tmp_path: Path, settings: BuildSettings) -> None:
    for name in ("a", "b"):
        write_bag(tmp_path / "bags" / name, carrying(1))
    build_skills([tmp_path / "bags"], tmp_path / "out", settings)
    first, second = read_journal(tmp_path / "out")
    assert first.kept
    assert (second.discard, "same id" in second.reason) == (UNREADABLE, True)


def test_a_second_build_does_nothing_anew(tmp_path: Path, settings: BuildSettings) -> None:
    bag = write_bag(tmp_path / "bag", carrying(1), carrying(2, cycles=2))
    build_skills([bag], tmp_path / "out", settings)
    journal = (tmp_path / "out" / "journal.jsonl").read_text()
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "dataset").rglob("*")}
    build_skills([bag], tmp_path / "out", settings)
    assert (tmp_path / "out" / "journal.jsonl").read_text() == journal
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "dataset").rglob("*")} == times


def test_more_sources_are_added_to_a_data_set(tmp_path: Path, settings: BuildSettings) -> None:
    build_skills([write_bag(tmp_path / "a", carrying(1))], tmp_path / "out", settings)
    write_bag(tmp_path / "b", carrying(2))
    summary = build_skills([tmp_path / "a", tmp_path / "b"], tmp_path / "out", settings)
    assert (summary.kept, len(built(tmp_path / "out", settings))) == (2, 2)


def test_other_settings_are_refused(tmp_path: Path, settings: BuildSettings) -> None:
    bag = write_bag(tmp_path / "bag", carrying(1))
    build_skills([bag], tmp_path / "out", settings)
    with pytest.raises(RunError, match=r"begun with tail_s 1.0, not 2.0"):
        build_skills([bag], tmp_path / "out", replace(settings, tail_s=2.0))


def test_a_folder_with_other_things_is_refused(tmp_path: Path, settings: BuildSettings) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("...")
    with pytest.raises(RunError, match="not a skill dataset"):
        build_skills([write_bag(tmp_path / "bag", carrying(1))], tmp_path / "out", settings)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_a_file_in_the_way_of_the_folder_is_said_and_stays(tmp_path: Path, settings: BuildSettings, out: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match=f"{out} cannot be a folder, there is a file in its way"):
        build_skills([write_bag(tmp_path / "bag", carrying(1))], tmp_path / out, settings)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("every", [0, -2])
def test_frames_at_no_step_are_refused_and_change_nothing(tmp_path: Path, settings: BuildSettings, every: int) -> None:
    with pytest.raises(World2ActError, match=f"every {every}-th step are none: --frame-every takes 1 or more"):
        build_skills([write_bag(tmp_path / "bag", carrying(1))], tmp_path / "out", replace(settings, frame_every=every))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", ["bags", "lerobot"])
@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (
            {"cameras": ("belly",)},
            "as libero_panda with camera belly, so nothing was built: libero_panda has no camera",
        ),
        ({"embodiment": "ur5e"}, "as ur5e, so nothing was built: .*libero_panda"),
    ],
)
def test_where_nothing_can_be_read_it_says_why_and_the_corrected_command_takes_the_folder(
    tmp_path: Path, settings: BuildSettings, form: str, wrong: dict[str, Any], says: str
) -> None:
    bag, settings = write_bag(tmp_path / "bag", carrying(1)), replace(settings, form=form)
    with pytest.raises(RunError, match=f"^no episode could be read {says}"):
        build_skills([bag], tmp_path / "out", replace(settings, **wrong))
    assert not (tmp_path / "out").exists()
    assert build_skills([bag], tmp_path / "out", settings).kept == 1


def test_a_codec_that_is_none_claims_no_folder(tmp_path: Path, settings: BuildSettings) -> None:
    with pytest.raises(World2ActError, match="no video codec 'mpeg1'"):
        build_skills(
            [write_bag(tmp_path / "bag", carrying(1))],
            tmp_path / "out",
            replace(settings, form="lerobot", codec="mpeg1"),
        )
    assert not (tmp_path / "out").exists()


def test_what_was_built_before_stays_where_nothing_more_can_be_read(tmp_path: Path, settings: BuildSettings) -> None:
    build_skills([write_bag(tmp_path / "a", carrying(1))], tmp_path / "out", settings)
    foreign = write_bag(tmp_path / "b", carrying(2))
    file = next(foreign.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:2000])
    summary = build_skills([foreign], tmp_path / "out", settings)
    assert summary.kept == 1 and list(built(tmp_path / "out", settings)) == ["logged-1"]


def test_what_somebody_else_put_into_the_folder_stays(tmp_path: Path, settings: BuildSettings) -> None:
    bag = write_bag(tmp_path / "bag", carrying(1))

    def failing(*_: object) -> object:
        (tmp_path / "out" / "notes.txt").write_text("mine")
        raise World2ActError("the endpoint is down")

    with pytest.MonkeyPatch.context() as patch, pytest.raises(World2ActError, match="down"):
        patch.setattr(GrammarDecomposer, "decompose", failing)
        build_skills([bag], tmp_path / "out", settings)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]


def test_an_input_that_is_not_there_changes_nothing(tmp_path: Path, settings: BuildSettings) -> None:
    with pytest.raises(World2ActError, match="nowhere"):
        build_skills([tmp_path / "nowhere"], tmp_path / "out", settings)
    assert not (tmp_path / "out").exists()


def test_a_decomposer_that_breaks_down_stops_the_build_and_loses_nothing(
    tmp_path: Path, settings: BuildSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag = write_bag(tmp_path / "bag", carrying(1), carrying(2))
    true, calls = GrammarDecomposer.decompose, []

    def failing(self: GrammarDecomposer, *args: object) -> object:
        calls.append(args)
        if len(calls) == 2:
            raise World2ActError("the endpoint is down")
        return true(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(GrammarDecomposer, "decompose", failing)
    with pytest.raises(World2ActError, match="down"):
        build_skills([bag], tmp_path / "out", settings)
    assert [record.episode_id for record in read_journal(tmp_path / "out")] == ["logged-1"]
    assert build_skills([bag], tmp_path / "out", settings).kept == 2


@pytest.mark.parametrize("form", ["bags", "lerobot"])
def test_a_build_that_is_killed_goes_on_to_the_same_end(tmp_path: Path, settings: BuildSettings, form: str) -> None:
    bags = tmp_path / "bags"
    for number in range(12):
        write_bag(bags / f"{number:02d}", carrying(number), carrying(100 + number, cycles=2))
    settings = replace(settings, form=form)
    build_skills([bags], tmp_path / "whole", settings)
    _kill_midway(bags, tmp_path / "killed", settings)
    build_skills([bags], tmp_path / "killed", settings)
    whole, killed = read_journal(tmp_path / "whole"), read_journal(tmp_path / "killed")
    assert sorted(map(_essence, killed)) == sorted(map(_essence, whole))
    if form == "bags":
        assert built(tmp_path / "killed", settings).keys() == built(tmp_path / "whole", settings).keys()
    else:
        embodiment = load_embodiment(settings.embodiment)
        sets = [iterate_lerobot(tmp_path / name / "dataset", embodiment) for name in ("whole", "killed")]
        ids = [sorted(episode.episode_id for episode in found) for found in sets]
        assert ids[0] == ids[1] == sorted(f"logged-{number}" for number in range(12))


def _essence(record: Record) -> tuple[str, str, str, str]:
    return (record.source, record.episode_id, record.discard, json.dumps([vars(skill) for skill in record.skills]))


def _kill_midway(bags: Path, out: Path, settings: BuildSettings) -> None:
    """Start the command, and kill it as soon as a few episodes are in the journal."""
    command = [sys.executable, "-m", "world2act_core.cli", "skills", "build", str(bags), "--out", str(out)]
    command += ["--form", settings.form, "--embodiment", settings.embodiment]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    journal, deadline = out / "journal.jsonl", time.monotonic() + 60
    while not (journal.exists() and journal.read_text().count("\n") >= 5):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_file_names_are_safe_and_different(tmp_path: Path) -> None:
    ids = ["a/b", "a%2Fb", "..", ".", "", "ä" * 300, "ä" * 299 + "a", "libero_goal/8/i3+2cm#7"]
    names = [file_name(name) for name in ids]
    assert len(set(names)) == len(ids)
    for name in names:
        (tmp_path / name).write_text("x")
    assert not any(name.startswith(".") for name in names)


def test_the_task_of_the_example_is_what_the_tests_say() -> None:
    plan = GrammarDecomposer().decompose(TASK, []).steps
    assert [step.prompt for step in plan] == ["pick up the bowl", "place the bowl on the plate"]
