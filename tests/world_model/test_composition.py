"""Imagining skill after skill: each clip starts with what the last one ended with."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from world2act_core.world_model.composition import Planned, imagine_skills
from world2act_core.world_model.protocol import frames_of


class Counting:
    """A world whose scene is one number, which a skill called "+n" raises by n a chunk; it notes what it was asked."""

    latent_shape = (1, 1, 1)

    def __init__(self, frames_per_latent: int = 1) -> None:
        self.frames_per_latent = frames_per_latent
        self.asked: list[tuple[list[float], list[str], list[int], int]] = []

    def encode(self, video: torch.Tensor) -> torch.Tensor:
        return video[:, :: self.frames_per_latent, :1, :1, :1].float().permute(0, 4, 1, 2, 3)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        frames = frames_of(latents.shape[2], self.frames_per_latent)
        index = -(-torch.arange(frames) // self.frames_per_latent)
        return latents[:, :, index].permute(0, 2, 3, 4, 1).expand(-1, -1, -1, -1, 3).to(torch.uint8)

    def imagine(self, context: torch.Tensor, prompts: Sequence[str], clock: torch.Tensor, chunks: int) -> torch.Tensor:
        now = self.encode(context)[:, :, -1]
        self.asked.append((now.flatten().tolist(), list(prompts), clock.tolist(), context.shape[1]))
        speed = torch.tensor([float(prompt) for prompt in prompts]).view(-1, 1, 1, 1)
        return torch.stack([now + speed * chunk for chunk in range(chunks + 1)], 2)


def scenes(*values: int, frames: int = 1) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.uint8).view(-1, 1, 1, 1, 1).expand(-1, frames, 1, 1, 3)


def test_a_clip_starts_with_the_end_of_the_one_before() -> None:
    latents, mask = imagine_skills(Counting(), scenes(10), [[Planned("+1", 2), Planned("+5", 2)]])
    assert latents.flatten().tolist() == [10, 11, 12, 17, 22]
    assert mask.all()


def test_each_skill_has_a_clock_of_its_own() -> None:
    world = Counting()
    imagine_skills(world, scenes(0), [[Planned("+1", 3), Planned("+2", 1)]], elapsed=[4])
    assert [(prompts, clock) for _, prompts, clock, _ in world.asked] == [(["+1"], [4]), (["+2"], [0])]


def test_plans_of_a_batch_may_differ_in_length_and_number() -> None:
    plans = [[Planned("+1", 1), Planned("+10", 2)], [Planned("+2", 2)]]
    latents, mask = imagine_skills(Counting(), scenes(0, 100), plans)
    assert latents[0].flatten().tolist() == [0, 1, 11, 21]
    assert latents[1].flatten().tolist() == [100, 102, 104, 104]
    assert mask.tolist() == [[True] * 3, [True, True, False]]


@pytest.mark.parametrize("frames_per_latent", [1, 4])
def test_a_context_that_shows_motion_is_passed_on_as_one_that_does(frames_per_latent: int) -> None:
    world = Counting(frames_per_latent)
    context = scenes(3, frames=frames_per_latent + 1)
    imagine_skills(world, context, [[Planned("+1", 3), Planned("+1", 1), Planned("+1", 1)]])
    assert [frames for *_, frames in world.asked] == [frames_per_latent + 1] * 3


def test_a_single_frame_is_followed_by_single_frames() -> None:
    world = Counting(4)
    imagine_skills(world, scenes(3), [[Planned("+1", 3), Planned("+1", 1)]])
    assert [(now, frames) for now, _, _, frames in world.asked] == [([3], 1), ([6], 1)]


@pytest.mark.parametrize("plans", [[], [[]], [[Planned("+1", 0)]]])
def test_a_plan_without_chunks_is_refused(plans: list[list[Planned]]) -> None:
    with pytest.raises(ValueError, match="plan"):
        imagine_skills(Counting(), scenes(1), plans)
