"""Thumbnails show the frames at the ends of each clip, under names that any file system takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from world2act_core.errors import ContractError
from world2act_core.skills.journal import Record
from world2act_core.skills.thumbnails import MOST_KEPT, OF_A_DISCARD, OF_A_TASK, clip_thumbnails, wants_thumbnails
from world2act_core.types import Array, Episode, Skill


def grey_episode(
    episode_id: str = "demo", every: int = 4, steps: int = 40, size: tuple[int, int] = (64, 64)
) -> Episode:
    """Frames every few steps, each of the grey value of its step; those of ``wrist`` are black."""
    frames = np.arange(0, steps + 1, every)
    images = np.broadcast_to(frames[:, None, None, None], (len(frames), *size, 3)).astype(np.uint8)
    return Episode(
        episode_id=episode_id,
        task="put the bowl on the plate",
        embodiment="libero_panda",
        stamps=np.arange(steps + 1) * 0.05,
        state={},
        actions=None,
        frame_steps=frames,
        images={"agentview": images, "wrist": np.zeros_like(images)},
    )


def pixels(path: Path) -> Array:
    return np.asarray(Image.open(path))


def shades(folder: Path, names: tuple[str, ...]) -> list[int]:
    return [round(float(pixels(folder / name).mean())) for name in names]


CLIPS = (Skill("pick up the bowl", 0, 18), Skill("place the bowl on the plate", 18, 40))


def test_each_clip_gives_the_latest_frame_not_after_its_first_and_last_step(tmp_path: Path) -> None:
    names = clip_thumbnails(grey_episode(), CLIPS, tmp_path)
    assert shades(tmp_path, names) == [0, 16, 16, 40]
    assert [Path(name).stem[-8:] for name in names] == ["01-first", "-01-last", "02-first", "-02-last"]


def test_an_episode_without_clips_gives_its_own_ends(tmp_path: Path) -> None:
    assert shades(tmp_path, clip_thumbnails(grey_episode(), (), tmp_path)) == [0, 40]


def test_a_clip_before_the_first_frame_shows_the_first_frame(tmp_path: Path) -> None:
    episode = grey_episode()
    late = replace(episode, frame_steps=episode.frame_steps[2:], images={"a": episode.images["agentview"][2:]})
    assert shades(tmp_path, clip_thumbnails(late, (Skill("push the plate", 0, 5),), tmp_path)) == [8, 8]


def test_the_camera_can_be_chosen(tmp_path: Path) -> None:
    assert shades(tmp_path, clip_thumbnails(grey_episode(), CLIPS, tmp_path, camera="wrist")) == [0, 0, 0, 0]
    with pytest.raises(ContractError, match="no camera 'left': take one of agentview, wrist"):
        clip_thumbnails(grey_episode(), CLIPS, tmp_path, camera="left")


def test_an_episode_without_images_gives_no_thumbnails(tmp_path: Path) -> None:
    assert clip_thumbnails(replace(grey_episode(), images={}), CLIPS, tmp_path) == ()
    assert list(tmp_path.iterdir()) == []


def test_large_frames_shrink_and_keep_their_shape_and_small_ones_stay(tmp_path: Path) -> None:
    large = clip_thumbnails(grey_episode("large", size=(240, 320)), (), tmp_path)
    small = clip_thumbnails(grey_episode("small", size=(84, 84)), (), tmp_path)
    assert pixels(tmp_path / large[0]).shape == (84, 112, 3)
    assert pixels(tmp_path / small[0]).shape == (84, 84, 3)


@pytest.mark.parametrize(
    "episode_id", ["../../etc/passwd", "/root/x", "茶碗を皿に置く", "a" * 5000, "", "a\0b\nc", "CON", "\ud800"]
)
def test_any_episode_id_makes_a_file_within_the_folder(episode_id: str, tmp_path: Path) -> None:
    names = clip_thumbnails(grey_episode(episode_id), CLIPS, tmp_path)
    assert sorted(tmp_path.rglob("*.jpg")) == sorted(tmp_path / name for name in names)
    assert len(set(names)) == 4
    for name in names:
        assert Path(name).parent == Path("thumbnails")
        assert len(Path(name).name) < 120 and Path(name).name.isascii()


def test_ids_that_read_alike_keep_files_of_their_own(tmp_path: Path) -> None:
    ids = ["a/b", "a-b", "A-b", "x" * 100, "x" * 101, "碗", "皿"]
    names = [name for i in ids for name in clip_thumbnails(grey_episode(i), CLIPS, tmp_path)]
    assert len({name.lower() for name in names}) == 4 * len(ids)


def test_episodes_of_one_id_from_two_sources_do_not_overwrite_each_other(tmp_path: Path) -> None:
    mine, other = grey_episode(every=4), grey_episode(every=5)
    before = clip_thumbnails(mine, CLIPS, tmp_path)
    clip_thumbnails(other, CLIPS, tmp_path)
    assert shades(tmp_path, before) == [0, 16, 16, 40]


def test_thumbnails_written_again_are_the_same_files(tmp_path: Path) -> None:
    first = clip_thumbnails(grey_episode(), CLIPS, tmp_path)
    assert clip_thumbnails(grey_episode(), CLIPS, tmp_path) == first
    assert len(list(tmp_path.rglob("*.jpg"))) == 4


def record(name: str, task: str = "", discard: str = "") -> Record:
    return Record("bags", name, task, 40, 0.05, skills=() if discard else CLIPS, discard=discard)


def chosen(records: list[Record]) -> list[str]:
    return [r.episode_id for i, r in enumerate(records) if wants_thumbnails(r, records[:i])]


def test_the_first_of_each_task_and_of_each_cause_of_discard_are_chosen() -> None:
    kept = [record(f"{task}{i}", task) for i in range(OF_A_TASK + 3) for task in "ab"]
    lost = [record(f"{why}{i}", "a", why) for i in range(OF_A_DISCARD + 3) for why in ("few", "many")]
    names = chosen([*kept, *lost])
    assert names == [f"{task}{i}" for i in range(OF_A_TASK) for task in "ab"] + [
        f"{why}{i}" for i in range(OF_A_DISCARD) for why in ("few", "many")
    ]


def test_a_dataset_of_thousands_of_instructions_gets_a_bounded_number() -> None:
    shown = [replace(record(f"{i}", f"task {i}"), thumbnails=("a.jpg", "b.jpg")) for i in range(MOST_KEPT)]
    assert wants_thumbnails(record("new", "another task"), shown[:-1])
    assert not wants_thumbnails(record("new", "another task"), shown)
    assert wants_thumbnails(record("new", "another task", "few"), shown)


def test_a_resumed_build_chooses_the_same_episodes() -> None:
    """A kill can lose the kept episodes of an unfinished file, while those discarded since stay in the journal."""
    records = [record(f"{i}", "ab"[i % 2], "few" if i % 3 == 0 else "") for i in range(30)]
    whole = chosen(records)
    for finished in range(30):
        left = [r for i, r in enumerate(records) if i < finished or not r.kept]
        done = {r.episode_id for r in left}
        again = [r for r in records if r.episode_id not in done]
        found = [r.episode_id for i, r in enumerate(again) if wants_thumbnails(r, left + again[:i])]
        assert found == [name for name in whole if name not in done]
