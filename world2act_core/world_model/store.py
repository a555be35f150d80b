"""Latents of a world model on disk: written shard by shard, resumed after a kill, read lazily through mapped files.

A store is a folder of safetensors shards and ``index.json``. A shard appears under its name when it is complete and on
the disk, and says in its header which clips it holds and what made them; after each shard the index is replaced, with
the shard's size and SHA-256. So a killed run loses only the clips of the shard it was filling, and what is left is a
store of fewer clips: who needs all of them compares the keys.

Latents are kept as float32, bit for bit what the model gave: a read is then a view of the file, without a copy.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from world2act_core.errors import RunError, World2ActError
from world2act_core.runs.stage import file_digest, write_json

INDEX = "index.json"
OPEN_SHARDS = 4
"""Shards that a store keeps mapped: opening one takes under a millisecond, and what was read of it stays resident."""
_MEND = "delete it and run what wrote the store again, which makes only its clips anew"


@dataclass(frozen=True)
class StoredClip:
    """A clip's latents and what its writer said about it.

    Attributes:
        meta: JSON values.
        latents: float32 ``(C, T, H, W)``, a view of the mapped file. ``clone()`` it to change it in place: a change
            does not reach the file, but the same store's next read of the clip may see it.
    """

    key: str
    meta: dict[str, Any]
    latents: torch.Tensor


@dataclass(frozen=True)
class _Shard:
    """What the index says of a shard. The clip of ``keys[i]`` is its tensor ``str(i)``: a key may be any string."""

    file: str
    bytes: int
    sha256: str
    keys: tuple[str, ...]

    def problem(self, folder: Path, *, hashed: bool) -> str | None:
        """What is wrong with the file, by its size alone or also by its hash."""
        path = folder / self.file
        if not path.is_file():
            return f"{path} is missing although {INDEX} lists it: run what wrote the store again"
        if path.stat().st_size != self.bytes:
            return f"{path} is damaged ({path.stat().st_size} bytes instead of {self.bytes}): {_MEND}"
        if hashed and file_digest(path) != self.sha256:
            return f"{path} is damaged (its SHA-256 is not the one in {INDEX}): {_MEND}"
        return None

    def require(self, folder: Path, *, hashed: bool = False) -> None:
        if (problem := self.problem(folder, hashed=hashed)) is not None:
            raise RunError(problem)


class LatentStore(Mapping[str, StoredClip]):
    """The clips of a folder by key, in the order they were written. Opening it reads the index alone.

    Reading a clip maps its shard and touches no page of it: that happens where the latents are used. A clip stays valid
    when its shard has been closed.

    Args:
        folder: that a `LatentWriter` wrote.
        check: compare a shard's hash before its first clip is handed out. Off by default, because it reads the whole
            shard for one clip. The size is always compared: touching a mapped file that was cut off ends the process.

    Attributes:
        identity: what made the latents, see `LatentWriter`.

    Raises:
        RunError: there is no store, or a shard is missing or damaged.
    """

    def __init__(self, folder: Path, *, check: bool = False) -> None:
        self.folder = folder
        self.identity, self._shards = _read_index(folder)
        self._places = {key: (shard, i) for shard in self._shards for i, key in enumerate(shard.keys)}
        self._unchecked = {shard.file for shard in self._shards} if check else set()
        self._open: OrderedDict[str, tuple[Any, list[dict[str, Any]]]] = OrderedDict()
        for shard in self._shards:
            shard.require(folder)

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def __getitem__(self, key: str) -> StoredClip:
        shard, number = self._places[key]
        file, metas = self._opened(shard)
        return StoredClip(key, deepcopy(metas[number]), file.get_tensor(str(number)))

    def verify(self) -> list[str]:
        """Read every shard and compare its hash; one sentence for each that is missing or damaged."""
        return [problem for shard in self._shards if (problem := shard.problem(self.folder, hashed=True)) is not None]

    def _opened(self, shard: _Shard) -> tuple[Any, list[dict[str, Any]]]:
        if shard.file not in self._open:
            shard.require(self.folder, hashed=shard.file in self._unchecked)
            self._unchecked.discard(shard.file)
            while len(self._open) >= OPEN_SHARDS:
                self._open.popitem(last=False)
            file, header = open_shard(self.folder / shard.file)
            self._open[shard.file] = file, [meta for _, meta in json.loads(header["clips"])]
        self._open.move_to_end(shard.file)
        return self._open[shard.file]


class LatentWriter:
    """Adds clips to a store, which is made if there is none.

    Use it as a context manager: leaving it writes the last shard, also on an exception, for the clips in it are whole.

    Args:
        folder: of the store. Only one writer at a time may have it.
        identity: what made the latents (model, digest of its weights, settings), JSON values. One store, one identity.
        shard_bytes: a shard is written when its latents are this large; that much is in memory.

    Raises:
        RunError: the folder's latents have another identity, a shard is damaged, or another process is writing.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], *, shard_bytes: int = 64 << 20) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._identity: dict[str, Any] = json.loads(json.dumps(identity))  # as it will be read: tuples are lists
        self._shard_bytes = shard_bytes
        self._filling: dict[str, tuple[torch.Tensor, Any]] = {}
        self._lock = _locked(folder)
        try:
            self._shards = self._resumed()
        except BaseException:
            self._lock.close()
            raise
        self._keys = {key for shard in self._shards for key in shard.keys}
        self._shape = self._first_shape()

    def __enter__(self) -> LatentWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._write()
        finally:
            self._lock.close()

    def holds(self, key: str) -> bool:
        """Whether this run or an earlier one added the clip."""
        return key in self._keys or key in self._filling

    def add(self, key: str, latents: torch.Tensor, meta: dict[str, Any]) -> None:
        """Copy a clip into the store.

        Args:
            key: any string that the store does not hold.
            latents: ``(C, T, H, W)``; all clips of a store have the same C, H and W.
            meta: JSON values, given back with the clip.

        Raises:
            World2ActError: the store holds the key, or the latents are not finite or of another shape.
        """
        if self.holds(key):
            raise World2ActError(f"{self.folder} holds clip {key!r} already: ask holds() before making it")
        if latents.dim() != 4 or latents.numel() == 0:
            raise World2ActError(f"clip {key!r} has latents of shape {tuple(latents.shape)}, expected (C, T, H, W)")
        if self._shape is not None and _image_shape(latents) != self._shape:
            raise World2ActError(
                f"clip {key!r} has C, H, W = {_image_shape(latents)}, those in {self.folder} have {self._shape}: "
                "put clips of another size into another folder"
            )
        # Copied: the caller may go on with its tensor, and safetensors refuses views of one storage.
        own = latents.detach().to("cpu", torch.float32, memory_format=torch.contiguous_format, copy=True)
        if not bool(torch.isfinite(own).all()):
            raise World2ActError(f"clip {key!r} has latents that are no finite numbers: make it in another precision")
        self._filling[key] = own, json.loads(json.dumps(meta))  # fails here, not when the shard is written
        self._shape = _image_shape(own)
        if sum(tensor.nbytes for tensor, _ in self._filling.values()) >= self._shard_bytes:
            self._write()

    def _write(self) -> None:
        if not self._filling:
            return
        number = max((int(shard.file[len("latents-") : -len(".safetensors")]) + 1 for shard in self._shards), default=0)
        path = self.folder / f"latents-{number:06d}.safetensors"
        clips = [[key, meta] for key, (_, meta) in self._filling.items()]
        tensors = {str(number): tensor for number, (tensor, _) in enumerate(self._filling.values())}
        write_shard(path, tensors, {"identity": json.dumps(self._identity), "clips": json.dumps(clips)})
        self._shards.append(_shard(path, list(self._filling)))
        self._keys |= set(self._filling)
        self._filling = {}
        self._write_index(self._shards)

    def _write_index(self, shards: list[_Shard]) -> None:
        write_json(self.folder / INDEX, {"identity": self._identity, "shards": [vars(shard) for shard in shards]})

    def _resumed(self) -> list[_Shard]:
        """The shards of earlier runs: those of the index that are there, and one that a kill kept out of it."""
        shards: list[_Shard] = []
        if (self.folder / INDEX).is_file():
            identity, shards = _read_index(self.folder)
            _same(self.folder, identity, self._identity)
        for part in self.folder.glob("latents-*.part"):
            part.unlink()
        paths = sorted(self.folder.glob("latents-*.safetensors"))
        shards = [shard for shard in shards if self.folder / shard.file in paths]
        for shard in shards:
            shard.require(self.folder)
        known = {shard.file for shard in shards}
        shards += [self._found(path) for path in paths if path.name not in known]
        self._write_index(shards)
        return shards

    def _found(self, path: Path) -> _Shard:
        _, header = open_shard(path)
        _same(self.folder, json.loads(header["identity"]), self._identity)
        return _shard(path, [key for key, _ in json.loads(header["clips"])])

    def _first_shape(self) -> tuple[int, int, int] | None:
        if not self._shards:
            return None
        file, _ = open_shard(self.folder / self._shards[0].file)
        return _image_shape(file.get_tensor("0"))


def write_shard(path: Path, tensors: dict[str, torch.Tensor], header: dict[str, str]) -> None:
    """Write a safetensors file that appears under its name only when all of it is on the disk."""
    part = path.with_suffix(".part")
    save_file(tensors, part, metadata=header)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(part, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # else a power cut could keep the index that is written next, and lose this name
    finally:
        os.close(folder)


def open_shard(path: Path, mend: str = _MEND) -> tuple[Any, dict[str, str]]:
    """Map a safetensors file; the open file and the words in its header.

    Args:
        mend: what to do about a damaged one, the end of a sentence.

    Raises:
        RunError: it is damaged.
    """
    try:
        file = safe_open(path, "pt")
        return file, file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path} is damaged ({error}): {mend}") from error


def _read_index(folder: Path) -> tuple[dict[str, Any], list[_Shard]]:
    path = folder / INDEX
    if not path.is_file():
        raise RunError(f"{folder} has no {INDEX}, so it is no latent store: name a folder that latents were written to")
    try:
        raw = json.loads(path.read_text())
        shards = [_Shard(s["file"], s["bytes"], s["sha256"], tuple(s["keys"])) for s in raw["shards"]]
        return raw["identity"], shards
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path} is damaged ({error!r}): delete it and run what wrote the store again, which reads the shards"
        ) from error


def _shard(path: Path, keys: list[str]) -> _Shard:
    return _Shard(path.name, path.stat().st_size, file_digest(path), tuple(keys))


def _image_shape(latents: torch.Tensor) -> tuple[int, int, int]:
    c, _, h, w = latents.shape
    return c, h, w


def _same(folder: Path, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    if theirs != ours:
        differ = sorted(name for name in theirs.keys() | ours.keys() if theirs.get(name) != ours.get(name))
        raise RunError(f"{folder} holds latents that were made with another {', '.join(differ)}: name another folder")


def _locked(folder: Path) -> TextIO:
    """A lock on the folder that ends with the process."""
    lock = (folder / ".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise RunError(f"another process is writing latents to {folder}: wait for it, or name another folder") from None
    return lock
