"""Skill clips as the network reads them, computed once: VAE latents and text embeddings in safetensors shards.

A shard holds some clips' latents, the embeddings of the prompts that are new in it, and in its header what these are.
It appears under its name when it is complete: a build that is killed loses the shard it was filling, and goes on behind
the others when it is started again. ``index.json`` is written last; a folder without it is unfinished.

A clip's key is the hash of its episode, its bounds, its prompt, its pixels and the identity of the encoders, so two
files that name their episodes alike, or a recording that was made anew, are not taken for one another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.nn import functional as F

from world2act_core.errors import RunError, World2ActError
from world2act_core.runs.stage import write_json
from world2act_core.types import Array, Episode
from world2act_core.world_model.cosmos.finetune.clips import Clip, clip_frames, skill_clips
from world2act_core.world_model.store import open_shard, write_shard

INDEX = "index.json"
CLIPS_PER_SHARD = 64
"""At 480 x 832 pixels and 93 frames a clip is 4.8 MB, a shard 300 MB."""
_MEND = "delete it and build the cache again"
STORED = torch.float16
"""Of normalised latents and embeddings: values around 1, so it is closer than bfloat16 at the same size."""


class Encoder(Protocol):
    """Turns pixels and prompts into what the transformer reads."""

    identity: dict[str, Any]
    """What the result depends on besides pixels and prompts, JSON values."""
    text_length: int
    """Tokens to which the pipeline pads every prompt."""

    def tile(self, episode: Episode, rows: Array) -> torch.Tensor:
        """Some frames of an episode as the model sees them, uint8 ``(F, H, W, 3)``."""

    def latents(self, frames: torch.Tensor) -> torch.Tensor:
        """uint8 ``(F, H, W, 3)`` → normalised latents ``(C, T, h, w)``."""

    def text(self, prompt: str) -> torch.Tensor:
        """A prompt's embedding ``(text_length, E)``, zeros behind its last token."""


@dataclass(frozen=True)
class CachedClip:
    """A clip and the shard that holds its latents under ``key``."""

    key: str
    clip: Clip
    shard: str


class LatentCache:
    """A finished cache, read lazily: opening it reads the index, a clip is read when it is asked for.

    Attributes:
        clips: in the order of their keys, whatever order they were built in.
        identity: of the encoders that made it, see `Encoder`.
        digest: hash of all keys: equal for equal contents.

    Raises:
        RunError: there is no cache, it is unfinished, or a shard is missing.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / INDEX).is_file():
            raise RunError(
                f"{folder} has no {INDEX}: build the cache with 'world2act wm cache'; a build that was killed "
                "goes on when it is started again"
            )
        raw = json.loads((folder / INDEX).read_text())
        self.folder = folder
        self.identity: dict[str, Any] = raw["identity"]
        self.clips = [CachedClip(key, Clip(**entry["clip"]), entry["shard"]) for key, entry in raw["clips"].items()]
        self._prompts: dict[str, str] = raw["prompts"]
        self._text_length: int = raw["text_length"]
        for shard in sorted({cached.shard for cached in self.clips} | set(self._prompts.values())):
            if not (folder / shard).is_file():
                raise RunError(f"{folder / shard} is missing although {INDEX} lists it: build the cache again")
        self.digest = hashlib.sha256("".join(cached.key for cached in self.clips).encode()).hexdigest()
        self._open: dict[str, Any] = {}

    def latents(self, cached: CachedClip) -> torch.Tensor:
        """``(C, T, h, w)`` float32."""
        return self._tensor(cached.shard, cached.key).float()

    def text(self, prompt: str) -> torch.Tensor:
        """``(text_length, E)`` float32 of a clip's prompt, or of the empty one, which is always there."""
        name = _text_name(prompt)
        tokens = self._tensor(self._prompts[name], name).float()
        return F.pad(tokens, (0, 0, 0, self._text_length - len(tokens)))

    def _tensor(self, shard: str, name: str) -> torch.Tensor:
        if shard not in self._open:
            self._open[shard], _ = open_shard(self.folder / shard, _MEND)
        return self._open[shard].get_tensor(name)


@dataclass
class Built:
    """What a build has done, in clips."""

    encoded: int = 0
    found: int = 0
    prompts: int = 0
    without_clips: int = 0  # episodes that are too short for any


def build_cache(folder: Path, episodes: Iterable[Episode], encoder: Encoder) -> Built:
    """Encode the skill clips of some episodes; what the folder has already is not encoded again.

    Args:
        folder: of the cache, made if there is none.
        episodes: with a frame at every control step; only one is in memory.

    Raises:
        RunError: the folder was made with other encoders, or a shard in it is damaged.
        ContractError: an episode lacks frames.
        World2ActError: the episodes hold no clip at all.
    """
    shards = _Shards(folder, encoder)
    built = Built(found=len(shards.clips))
    for episode in episodes:
        clips = skill_clips(episode)
        built.without_clips += not clips
        for clip in clips:
            frames = encoder.tile(episode, clip_frames(episode, clip))
            key = _key(clip, frames, encoder.identity)
            if key not in shards.clips:
                shards.add(key, clip, encoder.latents(frames))
                built.encoded += 1
    if not shards.clips:
        raise World2ActError(f"no skill clip for {folder}: the episodes hold none, or none that is one chunk long")
    shards.finish()
    built.prompts = len(shards.prompts)
    return built


def _key(clip: Clip, frames: torch.Tensor, identity: dict[str, Any]) -> str:
    words = json.dumps([asdict(clip), identity], sort_keys=True).encode()
    return hashlib.sha256(words + frames.numpy().tobytes()).hexdigest()[:32]


def _text_name(prompt: str) -> str:
    return f"text-{hashlib.sha256(prompt.encode()).hexdigest()[:32]}"


class _Shards:
    """The shards of a folder while a build adds to them."""

    def __init__(self, folder: Path, encoder: Encoder) -> None:
        self.folder, self.encoder = folder, encoder
        self.clips: dict[str, dict[str, Any]] = {}  # key → clip and shard
        self.prompts: dict[str, str] = {}  # name of the embedding → shard
        self._filling: dict[str, torch.Tensor] = {}
        self._filling_clips: dict[str, Clip] = {}
        self._number = 0
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(folder.glob("clips-*.safetensors")):
            self._take(path)

    def _take(self, path: Path) -> None:
        """Count a shard of an earlier build."""
        shard, header = open_shard(path, _MEND)
        names = set(shard.keys())
        if json.loads(header["identity"]) != self.encoder.identity:
            raise RunError(f"{self.folder} was made with other encoders, views or sizes: name another folder")
        self.clips |= {key: {"clip": clip, "shard": path.name} for key, clip in json.loads(header["clips"]).items()}
        self.prompts |= dict.fromkeys(names - set(self.clips), path.name)
        self._number = int(path.stem.split("-")[1]) + 1

    def add(self, key: str, clip: Clip, latents: torch.Tensor) -> None:
        for prompt in (clip.prompt, ""):
            if _text_name(prompt) not in self.prompts and _text_name(prompt) not in self._filling:
                self._filling[_text_name(prompt)] = _stored(_without_zeros(self.encoder.text(prompt)), repr(prompt))
        self._filling[key] = _stored(latents, f"episode {clip.episode_id}")
        self._filling_clips[key] = clip
        self.clips[key] = {}  # its place is known when the shard is written
        if len(self._filling_clips) == CLIPS_PER_SHARD:
            self._write()

    def _write(self) -> None:
        path = self.folder / f"clips-{self._number:05d}.safetensors"
        clips = {key: asdict(clip) for key, clip in self._filling_clips.items()}
        header = {"identity": json.dumps(self.encoder.identity), "clips": json.dumps(clips)}
        write_shard(path, self._filling, header)
        self.clips |= {key: {"clip": clip, "shard": path.name} for key, clip in clips.items()}
        self.prompts |= dict.fromkeys(set(self._filling) - set(clips), path.name)
        self._filling, self._filling_clips = {}, {}
        self._number += 1

    def finish(self) -> None:
        if self._filling_clips:
            self._write()
        index = {
            "identity": self.encoder.identity,
            "text_length": self.encoder.text_length,
            "clips": self.clips,
            "prompts": self.prompts,
        }
        write_json(self.folder / INDEX, index)


def _stored(tensor: torch.Tensor, what: str) -> torch.Tensor:
    small = tensor.to("cpu", STORED).contiguous()
    if not bool(torch.isfinite(small).all()):
        raise World2ActError(f"the encoders gave values that are no numbers for {what}: run them in another precision")
    return small


def _without_zeros(embedding: torch.Tensor) -> torch.Tensor:
    """The tokens of a prompt, ``(L, E)`` → ``(n, E)``: most of the L rows are the padding."""
    tokens = embedding.abs().sum(1).nonzero()
    return embedding[: int(tokens.max()) + 1] if len(tokens) else embedding[:1]
