"""Stage 2: post-training the residual against imagined latents (World2Act, section 3.3). Success is never read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from world2act_core.alignment.adapters import Alignment, cosine
from world2act_core.alignment.losses import info_nce, sequence_similarity
from world2act_core.errors import World2ActError
from world2act_core.residual.network import Residual
from world2act_core.runs import Checkpointed, fit
from world2act_core.runs.training import Losses


@dataclass(frozen=True)
class Stage2Config:
    """Training of the residual. The contrast is the paper's; what else the loss holds is ours.

    Raises:
        World2ActError: the contrast is over something unknown, or a batch would be empty.
    """

    steps: int = 400
    batch: int = 128
    learning_rate: float = 2e-3
    decode: float = 1.0  # ours: a_final should be what D_a reads from the imagined latents
    contrast: float = 0.02
    over: str = "chunks"  # what the contrast compares: single chunks (ours), or "sequences" of `length` (the paper's)
    length: int = 8
    temperature: float = 0.1
    penalty: float = 0.01  # ours: on the residual's square, no larger than it need be
    manifold: float = 0.0  # ours: a_final should be an action chunk that D_a can say

    def __post_init__(self) -> None:
        if self.over not in ("chunks", "sequences"):
            raise World2ActError(f"the contrast is over {self.over!r}, expected 'chunks' or 'sequences'")
        for name in ("batch", "length"):
            if (value := getattr(self, name)) < 1:
                raise World2ActError(f"stage2: {name} = {value}, expected at least 1")
        if self.over == "sequences" and self.batch < self.length:
            raise World2ActError(
                f"stage2: batch = {self.batch} chunks hold no sequence of length = {self.length}: make it at least "
                f"{self.length}, or the sequences shorter"
            )


@dataclass(frozen=True)
class PostTrainingSet:
    """What Stage 2 learns from: ``N`` chunks of rollouts and where the world model wants them to lead.

    Attributes:
        frames: ``(N, S, V S, 3)`` uint8 at the chunk's start, cameras tiled.
        proprio: ``(N, P)``.
        base: ``(N, M, A)`` what the frozen base does there.
        target: ``(N, D)`` z^v = B_v(imagined latents).
        episode: ``(N,)`` which rollout a chunk belongs to; a rollout's chunks stand together and in order.
        wanted: ``(N, M, A)`` what the decode term asks for; None asks for D_a(target), in range.
        times: ``(N,)`` whole numbers, how often a chunk lies in the urn that batches are drawn from, the same for all
            chunks of a rollout; None puts each there once.
    """

    frames: torch.Tensor
    proprio: torch.Tensor
    base: torch.Tensor
    target: torch.Tensor
    episode: torch.Tensor
    wanted: torch.Tensor | None = None
    times: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.base)

    def with_(self, other: PostTrainingSet) -> PostTrainingSet:
        """Both, one after the other; both or neither say what is wanted."""
        episode = torch.cat([self.episode, other.episode + self.episode.max() + 1])
        parts = {name: torch.cat([getattr(self, name), getattr(other, name)]) for name in _TENSORS}
        known = None if self.wanted is None or other.wanted is None else torch.cat([self.wanted, other.wanted])
        return PostTrainingSet(**parts, episode=episode, wanted=known, times=torch.cat([self.drawn, other.drawn]))

    @property
    def drawn(self) -> torch.Tensor:
        """``times``, ones where nothing is said."""
        return torch.ones_like(self.episode) if self.times is None else self.times

    def with_a_share_of(self, share: float, other: PostTrainingSet) -> PostTrainingSet:
        """Both, and about ``share`` of the draws fall on the other: the one that is too small for it is repeated, in
        whole numbers."""
        asked = share / (1 - share) * int(self.drawn.sum()) / int(other.drawn.sum())  # draws of each one of the other
        if asked >= 1:
            return self.with_(other._repeated(round(asked)))
        return self._repeated(round(1 / asked)).with_(other)

    def _repeated(self, times: int) -> PostTrainingSet:
        return replace(self, times=times * self.drawn)


_TENSORS = ("frames", "proprio", "base", "target")


@dataclass(frozen=True)
class EasyNegatives:
    """Labelled chunks of other tasks, which the contrast knows as nothing but negatives (ours in Stage 2).

    Attributes:
        video, action: ``(K, D)`` z^v of what really followed, and z^a of what was really done.
    """

    video: torch.Tensor
    action: torch.Tensor


class Objective:
    """The loss of Stage 2, of whatever makes the final action: the residual, or a base that is fine-tuned instead.

    Args:
        alignment: Stage 1's adapters and decoder, frozen.
        action_range: low and high of every action dimension, ``(A,)`` each.
        used: ``(A,)`` 1 for the action dimensions that may change.
        easy: negatives from other tasks, beside those from other rollouts of this one.

    Raises:
        World2ActError: negatives from other tasks where the contrast is over sequences, which they are not.
    """

    def __init__(
        self,
        alignment: Alignment,
        data: PostTrainingSet,
        action_range: tuple[torch.Tensor, torch.Tensor],
        used: torch.Tensor,
        config: Stage2Config,
        easy: EasyNegatives | None = None,
    ) -> None:
        if easy is not None and config.over != "chunks":
            raise World2ActError("negatives from other tasks are single chunks: let the contrast be over chunks")
        self.alignment = alignment.eval().requires_grad_(False)
        self.data, self.range, self.used, self.config, self.easy = data, action_range, used, config, easy
        with torch.no_grad():  # what the imagination asks the arm to do
            self.wanted = alignment.decoder(data.target).clamp(*action_range) if data.wanted is None else data.wanted
        starts = torch.cat([torch.tensor([True]), data.episode[1:] != data.episode[:-1]])
        first = torch.nonzero(starts)[:, 0]
        last = torch.cat([first[1:], torch.tensor([len(data)])]) - 1
        self._rows = torch.arange(len(data)).repeat_interleave(data.drawn)
        self._first, self._last = (ends.repeat_interleave(data.drawn[first]) for ends in (first, last))

    def draw(self, rng: np.random.Generator) -> torch.Tensor:
        """Rows of one batch ``(batch,)``; for a contrast over sequences, sequences one after the other."""
        config = self.config
        if config.over == "chunks":
            return self._rows[torch.from_numpy(rng.integers(0, len(self._rows), config.batch))]
        chosen = torch.from_numpy(rng.integers(0, len(self._first), config.batch // config.length))
        room = (self._last - self._first + 1 - config.length).clamp_min(0)[chosen]
        first = self._first[chosen] + torch.from_numpy(rng.random(len(chosen))).mul(room + 1).long()
        rows = first[:, None] + torch.arange(config.length)
        return torch.minimum(rows, self._last[chosen][:, None]).flatten()  # a short rollout repeats its last chunk

    def losses(self, rows: torch.Tensor, correction: torch.Tensor) -> Losses:
        """The terms for final actions ``base[rows] + correction``, ``(batch, M, A)``."""
        config, a_final = self.config, self.data.base[rows] + correction
        in_range = a_final.clamp(*self.range)
        z_a, z_v = self.alignment.action(in_range), self.data.target[rows]
        decode = (self.used * (a_final - self.wanted[rows]).square()).mean()
        penalty = correction.square().mean()
        contrast = self._contrast(z_v, z_a, self.data.episode[rows])
        manifold = (self.used * (self.alignment.decoder(z_a) - in_range).square()).mean()
        loss = (
            config.decode * decode + config.contrast * contrast + config.penalty * penalty + config.manifold * manifold
        )
        met = cosine(z_v, z_a).mean()
        return {"loss": loss, "decode": decode, "contrast": contrast, "penalty": penalty, "manifold": manifold,
                "cosine": met}  # fmt: skip

    def _contrast(self, z_v: torch.Tensor, z_a: torch.Tensor, episode: torch.Tensor) -> torch.Tensor:
        """Negatives come from other initial conditions: chunks of one rollout, or a row drawn twice, are alike."""
        anchors = None
        if self.config.over == "sequences":
            shape = (-1, self.config.length)
            z_v, z_a, episode = z_v.unflatten(0, shape), z_a.unflatten(0, shape), episode.unflatten(0, shape)[:, 0]
            similarity = sequence_similarity(z_v, z_a, torch.ones(z_v.shape[:2], dtype=torch.bool))
        else:
            if self.easy is not None:
                anchors = len(episode)
                z_v, z_a = torch.cat([z_v, self.easy.video]), torch.cat([z_a, self.easy.action])
                episode = F.pad(episode, (0, len(self.easy.video)), value=-1)  # of none of the rollouts
            similarity = F.normalize(z_v, dim=-1) @ F.normalize(z_a, dim=-1).T
        return info_nce(similarity, self.config.temperature, episode[:, None] != episode[None], anchors=anchors)


def train_residual(
    residual: Residual,
    alignment: Alignment,
    data: PostTrainingSet,
    action_range: tuple[torch.Tensor, torch.Tensor],
    config: Stage2Config,
    seed: int,
    checkpoint: Path,
    label: str = "stage 2",
    easy: EasyNegatives | None = None,
) -> list[dict[str, float]]:
    """Train the residual in place; resumes from ``checkpoint``. Returns the history.

    Args:
        action_range: low and high of every action dimension, ``(A,)`` each; the final action is clamped to it.
        easy: negatives from other tasks.
    """
    objective = Objective(alignment, data, action_range, residual.used, config, easy)

    def losses(rng: np.random.Generator) -> Losses:
        rows = objective.draw(rng)
        correction = residual(data.base[rows], data.proprio[rows], residual.see(data.frames[rows]))
        return objective.losses(rows, correction)

    trained = [parameter for parameter in residual.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=1e-4)
    state = Checkpointed(residual, optimizer, checkpoint)
    return fit(state, losses, steps=config.steps, seed=seed, label=label)
