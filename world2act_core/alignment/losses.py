"""Contrastive losses of both stages (World2Act, section 3.2: bidirectional InfoNCE over sequences)."""

from __future__ import annotations

import torch
from torch.nn import functional as F

MATCHINGS = ("chunks", "marginal", "global")
"""How two sequences are compared: the paper's way, and those that it tries instead."""
DIRECTIONS = ("both", "video", "action")
"""Which side the anchors of the contrast are on."""


def sequence_similarity(
    video: torch.Tensor, action: torch.Tensor, mask: torch.Tensor, matching: str = "chunks"
) -> torch.Tensor:
    """Similarity of every video sequence with every action sequence.

    ``chunks``: ``sim(i, j)`` is the mean over chunks t of ``cos(z^v_{i,t}, z^a_{j,t})``, over the chunks that are valid
    in both. The ablations: ``marginal`` takes the mean over all pairs of chunks (t, t'), so that which chunk belongs to
    which no longer counts (our reading of the paper's word, whose formula we have not seen); ``global`` pools
    each sequence first and compares the means.

    Args:
        video, action: ``(B, L, D)``.
        mask: ``(B, L)`` bool, False where a chunk is padding.
        matching: one of ``MATCHINGS``.

    Returns:
        ``(B, B)``, rows are videos, columns actions.
    """
    if matching == "global":
        return F.normalize(_mean(video, mask), dim=-1) @ F.normalize(_mean(action, mask), dim=-1).T
    unit_video, unit_action = F.normalize(video, dim=-1), F.normalize(action, dim=-1)
    if matching == "marginal":
        return _mean(unit_video, mask) @ _mean(unit_action, mask).T
    cosines = torch.einsum("ild,jld->ijl", unit_video, unit_action)
    valid = (mask[:, None] & mask[None]).to(cosines.dtype)
    return (cosines * valid).sum(-1) / valid.sum(-1).clamp_min(1.0)


def _mean(sequences: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """``(B, L, D)`` → ``(B, D)``, the mean over the valid chunks."""
    valid = mask[..., None].to(sequences.dtype)
    return (sequences * valid).sum(1) / valid.sum(1).clamp_min(1.0)


def info_nce(
    similarity: torch.Tensor,
    temperature: float,
    allowed: torch.Tensor | None = None,
    directions: str = "both",
    anchors: int | None = None,
) -> torch.Tensor:
    """InfoNCE from video to action and from action to video, averaged.

    Args:
        similarity: ``(B, B)``; the diagonal holds the positives.
        allowed: ``(B, B)`` bool, False for pairs that must not count as negatives; the diagonal always counts.
        directions: one of ``DIRECTIONS``; ``video`` and ``action`` take only the anchors of that side (an ablation).
        anchors: only so many of the first rows and columns are anchors, the others are nothing but negatives.
    """
    logits = similarity / temperature
    if allowed is not None:
        own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
        logits = logits.masked_fill(~(allowed | own), float("-inf"))
    video, action = logits[:anchors], logits.T[:anchors]
    positives = torch.arange(len(video), device=logits.device)
    if directions != "both":
        return F.cross_entropy(video if directions == "video" else action, positives)
    return 0.5 * (F.cross_entropy(video, positives) + F.cross_entropy(action, positives))
