"""Skills imagined one after another by Cosmos: a clip starts with the frames that end the one before."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from tests.world_model.cosmos_scene import SMALL, Lenient, frames
from tests.world_model.tiny_cosmos import tiny_parts
from world2act_core.world_model.composition import Planned, imagine_skills
from world2act_core.world_model.cosmos.model import CosmosWorldModel
from world2act_core.world_model.cosmos.parts import CosmosParts

PICK, PLACE = "pick the bowl", "place the bowl on the plate"


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> CosmosParts:
    return tiny_parts(tmp_path_factory.mktemp("cosmos"))


class Noting(CosmosWorldModel):
    """Notes what it was shown, asked, and imagined."""

    def __init__(self, parts: CosmosParts) -> None:
        super().__init__(parts, SMALL, safety_checker=Lenient())
        self.shown: list[torch.Tensor] = []
        self.asked: list[list[str]] = []
        self.clips: list[torch.Tensor] = []

    def imagine(self, context: torch.Tensor, prompts: Sequence[str], clock: torch.Tensor, chunks: int) -> torch.Tensor:
        self.shown.append(context.clone())
        self.asked.append(list(prompts))
        self.clips.append(super().imagine(context, prompts, clock, chunks))
        return self.clips[-1]


@pytest.mark.parametrize("given", [1, 5])
@pytest.mark.parametrize("chunks", [1, 3])
def test_the_last_frames_of_a_clip_start_the_next(parts: CosmosParts, given: int, chunks: int) -> None:
    """They are the last frames of the decoded clip, not its last latents decoded as if they were its first."""
    model = Noting(parts)
    latents, mask = imagine_skills(model, frames(given), [[Planned(PICK, chunks), Planned(PLACE, 2)]])
    assert model.asked == [[PICK], [PLACE]]
    assert torch.equal(model.shown[1], model.decode(model.clips[0])[:, -given:])
    assert latents.shape == (1, 16, chunks + 3, 4, 6) and mask.all()
    assert torch.equal(latents, torch.cat([model.clips[0], model.clips[1][:, :, 1:]], 2))


def test_plans_of_a_batch_may_differ(parts: CosmosParts) -> None:
    model = Noting(parts)
    plans = [[Planned(PICK, 1), Planned(PLACE, 2)], [Planned(PLACE, 2)]]
    latents, mask = imagine_skills(model, frames(1, batch=2), plans)
    assert model.asked == [[PICK, PLACE], [PLACE]]
    assert latents.shape == (2, 16, 4, 4, 6)
    assert mask.tolist() == [[True, True, True], [True, True, False]]
    assert torch.equal(model.shown[1], model.decode(model.clips[0][:1, :, :2])[:, -1:])
