"""A conversion that is killed and started again ends as if nothing had happened."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.episodes.example import assert_equal
from tests.episodes.lerobot import convert
from tests.episodes.lerobot.sets import EMBODIMENT, read_set
from world2act_core.episodes.lerobot import LeRobotWriter, files, layout
from world2act_core.errors import World2ActError


class Killed(BaseException):
    """Stands for SIGKILL: nothing may clean up behind it."""


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sets") / "whole"
    convert.convert(path)
    return path


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def kill_conversion(path: Path, after: int, delay: float) -> int:
    """Start a conversion and kill it ``delay`` seconds after it has written ``after`` episodes; its return code."""
    command = [sys.executable, "-m", "tests.episodes.lerobot.convert", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(after):
            process.stdout.readline()
        time.sleep(delay)
        process.kill()
        return process.wait()


def test_a_killed_conversion_ends_byte_for_byte_as_an_uninterrupted_one(tmp_path: Path, uninterrupted: Path) -> None:
    seed = random.randrange(10**6)
    print(f"random.Random({seed})")
    chance = random.Random(seed)
    path = tmp_path / "set"
    codes = [kill_conversion(path, chance.randrange(1, 9), chance.uniform(0, 0.02)) for _ in range(3)]
    assert -signal.SIGKILL in codes
    convert.convert(path)
    assert contents(path) == contents(uninterrupted)


def test_a_kill_between_any_two_renames_loses_nothing_that_was_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file that gets its name is a moment at which a kill can come; try all of the first and second closing."""
    publish = layout.publish
    convert.convert(tmp_path / "whole", episodes=7)
    for moment in range(16):  # rows, two videos, records, tasks, subtasks, statistics, info; twice
        path = tmp_path / f"{moment}"
        left = moment

        def publish_or_die(target: Path) -> None:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            publish(target)

        with monkeypatch.context() as patched:
            patched.setattr(layout, "publish", publish_or_die)
            patched.setattr(files.OpenFiles, "abandon", lambda self: None)
            with pytest.raises(Killed):
                convert.convert(path, episodes=7)
        assert loadable_episodes(path) == (0 if moment < 8 else 3)
        convert.convert(path, episodes=7)
        assert contents(path) == contents(tmp_path / "whole"), f"killed before rename {moment}"


def loadable_episodes(path: Path) -> int:
    """Episodes of a set in whatever state a kill left it: all that info.json counts can be read."""
    if not (path / layout.INFO).exists():
        return 0
    counted = json.loads((path / layout.INFO).read_text())["total_episodes"]
    read = read_set(path)
    assert len(read) == counted
    for seed, episode in enumerate(read):
        assert_equal(episode, convert.episode(seed))
    return int(counted)


def test_the_set_can_be_loaded_after_each_closed_file(tmp_path: Path) -> None:
    with LeRobotWriter(tmp_path / "set", EMBODIMENT, codec="lossless", limits=convert.LIMITS) as writer:
        loadable = []
        for seed in range(7):
            writer.write_episode(convert.episode(seed))
            loadable.append(loadable_episodes(tmp_path / "set"))
    assert loadable == [0, 0, 3, 3, 3, 6, 6]
    assert loadable_episodes(tmp_path / "set") == 7


def test_a_resumed_writer_says_what_is_there(tmp_path: Path, uninterrupted: Path) -> None:
    with LeRobotWriter(uninterrupted, EMBODIMENT, codec="lossless", resume=True) as writer:
        assert writer.episode_ids == {f"episode-{seed}" for seed in range(convert.EPISODES)}


def test_an_interruption_keeps_the_episodes_before_it(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), LeRobotWriter(tmp_path / "set", EMBODIMENT, codec="lossless") as writer:
        writer.write_episode(convert.episode(0))
        raise KeyboardInterrupt
    assert len(read_set(tmp_path / "set")) == 1


def test_an_interrupted_write_drops_the_open_files_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "set"

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt),
        LeRobotWriter(path, EMBODIMENT, codec="lossless", limits=convert.LIMITS) as writer,
    ):
        for seed in range(4):
            writer.write_episode(convert.episode(seed))
        monkeypatch.setattr(files.VideoWriter, "write", interrupted)
        writer.write_episode(convert.episode(4))
    assert loadable_episodes(path) == 3
    assert list(path.rglob("*.part")) == []
    with pytest.raises(World2ActError, match="not open"):
        writer.write_episode(convert.episode(5))
