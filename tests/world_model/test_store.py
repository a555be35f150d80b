"""A latent store gives back what was added, survives a kill, tells damage, and reads only what it is asked for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from world2act_core.errors import RunError, World2ActError
from world2act_core.world_model.store import INDEX, OPEN_SHARDS, LatentStore, LatentWriter

IDENTITY = {"model": "compact", "weights": "ab12", "settings": {"steps": 4, "views": ("front", "wrist")}}
SHAPE = (4, 3, 8, 8)
CLIP_BYTES = 4 * 3 * 8 * 8 * 4


def latents(number: int, shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(number))


def write(folder: Path, numbers: range, clips_a_shard: int = 2) -> None:
    with LatentWriter(folder, IDENTITY, shard_bytes=clips_a_shard * CLIP_BYTES) as writer:
        for number in numbers:
            if not writer.holds(f"clip {number}"):
                writer.add(f"clip {number}", latents(number), {"number": number})


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def corrupt(path: Path) -> None:
    """Change the last byte: size and header stay whole."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_clips_come_back_bit_for_bit_in_the_order_they_were_added(tmp_path: Path) -> None:
    write(tmp_path, range(5))
    store = LatentStore(tmp_path)
    assert list(store.keys()) == [f"clip {number}" for number in range(5)]
    assert (len(store), len(shards(tmp_path))) == (5, 3)
    for number in (4, 0, 3, 1, 2):
        clip = store[f"clip {number}"]
        assert (clip.key, clip.meta) == (f"clip {number}", {"number": number})
        assert torch.equal(clip.latents, latents(number))


def test_a_store_says_what_made_its_latents(tmp_path: Path) -> None:
    write(tmp_path, range(1))
    assert LatentStore(tmp_path).identity == json.loads(json.dumps(IDENTITY))


def test_clips_of_different_lengths_share_a_store(tmp_path: Path) -> None:
    with LatentWriter(tmp_path, IDENTITY) as writer:
        writer.add("short", latents(0, (4, 1, 8, 8)), {})
        writer.add("long", latents(1, (4, 9, 8, 8)), {})
    assert LatentStore(tmp_path)["long"].latents.shape == (4, 9, 8, 8)


@pytest.mark.parametrize(
    "key", ["", "a/b\\c", "../up", "__metadata__", 'quote"d', "zwölf\n\0", "机械臂", "\ud800", "0"]
)
def test_any_string_is_a_key(tmp_path: Path, key: str) -> None:
    for name, number in ((key, 0), ("plain", 1)):
        with LatentWriter(tmp_path, IDENTITY) as writer:
            writer.add(name, latents(number), {"said": key})
    clip = LatentStore(tmp_path)[key]
    assert (clip.key, clip.meta) == (key, {"said": key})
    assert torch.equal(clip.latents, latents(0))


def test_a_view_of_a_batch_in_another_precision_is_stored_as_float32(tmp_path: Path) -> None:
    batch = torch.stack([latents(0), latents(1)]).to(torch.bfloat16).transpose(3, 4)
    with LatentWriter(tmp_path, IDENTITY) as writer:
        for number in range(2):
            writer.add(str(number), batch[number], {})
        batch.zero_()
    stored = LatentStore(tmp_path)["1"].latents
    assert torch.equal(stored, latents(1).to(torch.bfloat16).float().transpose(2, 3))


def test_changing_a_clip_does_not_change_the_file(tmp_path: Path) -> None:
    write(tmp_path, range(1))
    store = LatentStore(tmp_path)
    store["clip 0"].latents.zero_()
    store["clip 0"].meta.clear()
    assert store["clip 0"].meta == {"number": 0}
    assert store.verify() == []
    assert torch.equal(LatentStore(tmp_path)["clip 0"].latents, latents(0))


def test_a_clip_outlives_its_open_shard(tmp_path: Path) -> None:
    write(tmp_path, range(OPEN_SHARDS + 2), clips_a_shard=1)
    store = LatentStore(tmp_path)
    clips = [store[key] for key in store]
    del store
    assert all(torch.equal(clip.latents, latents(number)) for number, clip in enumerate(clips))


def test_an_unknown_key_is_a_key_error(tmp_path: Path) -> None:
    write(tmp_path, range(1))
    assert "other" not in LatentStore(tmp_path)
    with pytest.raises(KeyError, match="other"):
        LatentStore(tmp_path)["other"]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_latents_that_are_not_finite_are_refused(tmp_path: Path, bad: float) -> None:
    broken = latents(0)
    broken[1, 2, 3, 4] = bad
    with LatentWriter(tmp_path, IDENTITY) as writer, pytest.raises(World2ActError, match="'bad' .* no finite numbers"):
        writer.add("bad", broken, {})
    assert len(LatentStore(tmp_path)) == 0


@pytest.mark.parametrize("shape", [(3, 3, 8, 8), (4, 3, 9, 8), (4, 3, 8, 9), (3, 8, 8), (4, 0, 8, 8)])
def test_latents_of_another_shape_are_refused_also_by_a_later_run(tmp_path: Path, shape: tuple[int, ...]) -> None:
    write(tmp_path, range(1))
    with LatentWriter(tmp_path, IDENTITY) as writer, pytest.raises(World2ActError, match="'other' has"):
        writer.add("other", latents(0, shape), {})


def test_a_key_is_refused_the_second_time(tmp_path: Path) -> None:
    with LatentWriter(tmp_path, IDENTITY) as writer:
        writer.add("twice", latents(0), {})
        with pytest.raises(World2ActError, match="holds clip 'twice' already"):
            writer.add("twice", latents(1), {})


def test_a_store_of_another_identity_is_refused(tmp_path: Path) -> None:
    write(tmp_path, range(1))
    with pytest.raises(RunError, match="made with another weights: name another folder"):
        LatentWriter(tmp_path, IDENTITY | {"weights": "cd34"})
    write(tmp_path, range(2))  # the refusal left the folder free and as it was
    assert len(LatentStore(tmp_path)) == 2


def test_two_writers_cannot_have_one_folder(tmp_path: Path) -> None:
    with LatentWriter(tmp_path, IDENTITY), pytest.raises(RunError, match="another process is writing"):
        LatentWriter(tmp_path, IDENTITY)


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.world_model.test_store import CLIP_BYTES, IDENTITY, latents
from world2act_core.world_model.store import LatentWriter

folder, moment = Path(sys.argv[1]), sys.argv[2]
rename = os.replace

def dies(now):
    if now == moment:
        os.kill(os.getpid(), signal.SIGKILL)

def renames(part, path):
    dies(f"before {Path(path).name}")
    rename(part, path)
    dies(f"after {Path(path).name}")

os.replace = renames
with LatentWriter(folder, IDENTITY, shard_bytes=2 * CLIP_BYTES) as writer:
    for number in range(5):
        writer.add(f"clip {number}", latents(number), {"number": number})
    dies("with a shard half full")
"""


@pytest.mark.parametrize(
    ("moment", "indexed", "kept"),
    [
        ("with a shard half full", 4, 4),
        ("before latents-000001.safetensors", 2, 2),
        ("after latents-000001.safetensors", 2, 4),  # whole, but not yet in the index
    ],
)
def test_a_killed_run_keeps_its_whole_shards_and_goes_on_behind_them(
    tmp_path: Path, moment: str, indexed: int, kept: int
) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path), moment]
    run = subprocess.run(command, cwd=Path(__file__).parents[2], check=False)
    assert run.returncode == -signal.SIGKILL
    whole = {path: path.read_bytes() for path in shards(tmp_path)}
    assert list(LatentStore(tmp_path)) == [f"clip {number}" for number in range(indexed)]
    with LatentWriter(tmp_path, IDENTITY) as writer:
        assert [writer.holds(f"clip {number}") for number in range(5)] == [number < kept for number in range(5)]
    write(tmp_path, range(7))
    store = LatentStore(tmp_path)
    assert list(store) == [f"clip {number}" for number in range(7)]
    assert all(torch.equal(store[f"clip {number}"].latents, latents(number)) for number in range(7))
    assert all(path.read_bytes() == content for path, content in whole.items())
    assert store.verify() == []
    assert not list(tmp_path.glob("*.part"))


def test_clips_that_were_added_before_an_exception_are_kept(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), LatentWriter(tmp_path, IDENTITY) as writer:
        writer.add("whole", latents(0), {})
        raise ZeroDivisionError
    assert list(LatentStore(tmp_path)) == ["whole"]


def test_a_changed_byte_is_found_by_verify(tmp_path: Path) -> None:
    write(tmp_path, range(6))
    assert LatentStore(tmp_path).verify() == []
    corrupt(shards(tmp_path)[1])
    (problem,) = LatentStore(tmp_path).verify()
    assert "latents-000001.safetensors is damaged (its SHA-256" in problem and "delete it and run" in problem


def test_a_changed_byte_is_found_at_the_first_read_when_asked_to_check(tmp_path: Path) -> None:
    write(tmp_path, range(4))
    corrupt(shards(tmp_path)[1])
    store = LatentStore(tmp_path, check=True)
    assert torch.equal(store["clip 1"].latents, latents(1))
    with pytest.raises(RunError, match="latents-000001.safetensors is damaged"):
        store["clip 2"]


def test_a_shard_that_was_cut_off_is_named(tmp_path: Path) -> None:
    write(tmp_path, range(4))
    store = LatentStore(tmp_path)
    os.truncate(shards(tmp_path)[1], 100)
    with pytest.raises(RunError, match=r"latents-000001.safetensors is damaged \(100 bytes instead of \d+\): delete"):
        store["clip 2"]
    with pytest.raises(RunError, match="100 bytes instead"):
        LatentStore(tmp_path)
    assert len(store.verify()) == 1


def test_a_shard_with_a_broken_header_is_named(tmp_path: Path) -> None:
    write(tmp_path, range(2))
    path = shards(tmp_path)[0]
    path.write_bytes(b"\xff" * path.stat().st_size)
    with pytest.raises(RunError, match="latents-000000.safetensors is damaged .*: delete it and run"):
        LatentStore(tmp_path)["clip 0"]


def test_deleting_a_damaged_shard_and_writing_again_makes_only_its_clips_anew(tmp_path: Path) -> None:
    write(tmp_path, range(6))
    shards(tmp_path)[1].unlink()
    with pytest.raises(RunError, match="latents-000001.safetensors is missing although index.json lists it"):
        LatentStore(tmp_path)
    with LatentWriter(tmp_path, IDENTITY) as writer:
        assert [number for number in range(6) if not writer.holds(f"clip {number}")] == [2, 3]
    write(tmp_path, range(6))
    store = LatentStore(tmp_path)
    assert all(torch.equal(store[f"clip {number}"].latents, latents(number)) for number in range(6))
    assert store.verify() == []


def test_a_folder_without_a_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="has no index.json, so it is no latent store"):
        LatentStore(tmp_path)


def test_a_damaged_index_is_named(tmp_path: Path) -> None:
    write(tmp_path, range(2))
    (tmp_path / INDEX).write_text('{"identity": {}')
    with pytest.raises(RunError, match=r"index.json is damaged"):
        LatentStore(tmp_path)
    (tmp_path / INDEX).unlink()  # what the sentence says
    write(tmp_path, range(2))
    assert len(LatentStore(tmp_path)) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_only_the_clip_that_is_used_is_read(tmp_path: Path) -> None:
    megabytes = (1, 1, 512, 512)
    with LatentWriter(tmp_path, IDENTITY, shard_bytes=8 << 20) as writer:
        for number in range(32):
            writer.add(str(number), torch.full(megabytes, float(number)), {})
    before = _resident()
    store = LatentStore(tmp_path)
    clips = [store[key] for key in store]
    opened = _resident() - before
    assert float(clips[9].latents.sum()) == 9 * 512 * 512
    used = _resident() - before
    assert opened < 4 << 20  # of 32 MB: the headers, and what the kernel maps around them
    assert used < 8 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_only_a_few_shards_are_mapped_at_a_time(tmp_path: Path) -> None:
    write(tmp_path, range(OPEN_SHARDS + 3), clips_a_shard=1)
    store = LatentStore(tmp_path)
    for key in list(store) * 2:
        float(store[key].latents.sum())
    assert Path("/proc/self/maps").read_text().count(str(tmp_path)) == OPEN_SHARDS


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
