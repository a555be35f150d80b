"""Skill composition: one imagined clip a skill, the last frame of each being the first of the next (section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from world2act_core.world_model.protocol import WorldModel


@dataclass(frozen=True)
class Planned:
    """A skill to imagine, so many chunks long."""

    prompt: str
    chunks: int


def imagine_skills(
    model: WorldModel, context: torch.Tensor, plans: Sequence[Sequence[Planned]], elapsed: Sequence[int] | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Imagine a sequence of skills for each of B scenes.

    The next clip starts from what the last one ended with, decoded and seen again, as at the beginning: so errors
    within a clip do not reach the model's memory of how it began, and every clip is as long as those it was trained on.

    Args:
        context: uint8 ``(B, F, S, V S, 3)``, see ``WorldModel.imagine``.
        plans: B plans, which need not be equally long.
        elapsed: chunks since the first skill of each plan began; None: they begin now.

    Returns:
        latents ``(B, C, T + 1, H, W)`` with T the longest plan's chunks, entry 0 is now; behind the end of a shorter
        plan its last latent is repeated. And a mask ``(B, T)``, False for such chunks.

    Raises:
        ValueError: a plan is empty or holds a skill of no length, or there are not as many plans as scenes.
    """
    _check(context, plans)
    clips, context = [torch.zeros(0)] * len(plans), context.clone()
    for number in range(max(map(len, plans))):
        rows = [row for row, plan in enumerate(plans) if number < len(plan)]
        current = context[rows]
        skills = [plans[row][number] for row in rows]
        clock = torch.tensor([0 if number or elapsed is None else elapsed[row] for row in rows])
        longest = max(skill.chunks for skill in skills)
        imagined = model.imagine(current, [skill.prompt for skill in skills], clock, longest)
        for row, skill, clip in zip(rows, skills, imagined, strict=True):
            part = clip[:, : skill.chunks + 1]
            clips[row] = part if not number else torch.cat([clips[row], part[:, 1:]], 1)
            if number + 1 < len(plans[row]):
                context[row] = _ending(model, part, context.shape[1])
    return _padded(clips)


def _ending(model: WorldModel, clip: torch.Tensor, frames: int) -> torch.Tensor:
    """The last frames of a clip ``(C, T, H, W)``, which is decoded whole.

    A latent of a causal video autoencoder says what has changed since those before it: decoded by itself it would be
    taken for a first frame.
    """
    return model.decode(clip[None])[0, -frames:]


def _padded(clips: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(clip.shape[1] for clip in clips)
    latents = torch.stack([torch.cat([clip, clip[:, -1:].expand(-1, longest - clip.shape[1], -1, -1)], 1)
                           for clip in clips])  # fmt: skip
    mask = torch.tensor([[chunk + 1 < clip.shape[1] for chunk in range(longest - 1)] for clip in clips])
    return latents, mask


def _check(context: torch.Tensor, plans: Sequence[Sequence[Planned]]) -> None:
    if len(plans) != len(context):
        raise ValueError(f"{len(plans)} plans for {len(context)} scenes")
    for plan in plans:
        if not plan or min(skill.chunks for skill in plan) < 1:
            raise ValueError(f"a plan needs skills of at least one chunk each, not {list(plan)}")
