"""Contrastive losses of both stages (World2Act, section 3.2: bidirectional InfoNCE over sequences)."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def sequence_similarity(video: torch.Tensor, action: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Chunk-wise similarity of every video sequence with every action sequence.

    ``sim(i, j)`` is the mean over chunks t of ``cos(z^v_{i,t}, z^a_{j,t})``, over the chunks that are valid in both.

    Args:
        video, action: ``(B, L, D)``.
        mask: ``(B, L)`` bool, False where a chunk is padding.

    Returns:
        ``(B, B)``, rows are videos, columns actions.
    """
    unit_video, unit_action = F.normalize(video, dim=-1), F.normalize(action, dim=-1)
    cosines = torch.einsum("ild,jld->ijl", unit_video, unit_action)
    valid = (mask[:, None] & mask[None]).to(cosines.dtype)
    return (cosines * valid).sum(-1) / valid.sum(-1).clamp_min(1.0)


def bidirectional_info_nce(
    similarity: torch.Tensor, temperature: float, allowed: torch.Tensor | None = None
) -> torch.Tensor:
    """InfoNCE from video to action and from action to video, averaged.

    Args:
        similarity: ``(B, B)``; the diagonal holds the positives.
        allowed: ``(B, B)`` bool, False for pairs that must not count as negatives; the diagonal always counts.
    """
    logits = similarity / temperature
    if allowed is not None:
        own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
        logits = logits.masked_fill(~(allowed | own), float("-inf"))
    positives = torch.arange(len(logits), device=logits.device)
    return 0.5 * (F.cross_entropy(logits, positives) + F.cross_entropy(logits.T, positives))
