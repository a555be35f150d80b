"""A training whose loss is no number any more ends with a sentence, and nothing that it spoilt is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from world2act_core.errors import RunError
from world2act_core.runs import Checkpointed, Run, fit, training
from world2act_core.runs.stage import MANIFEST

BREAKS_AT = 7


def state_of(folder: Path) -> Checkpointed:
    torch.manual_seed(0)
    module = nn.Linear(2, 1)
    return Checkpointed(module, torch.optim.SGD(module.parameters(), lr=0.01), folder / "checkpoint.pt")


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_the_loss_that_is_not_finite_is_named_with_stage_and_step(wrong: float, tmp_path: Path) -> None:
    state = state_of(tmp_path)

    def losses(rng: np.random.Generator) -> dict[str, torch.Tensor]:
        factor = wrong if state.step == BREAKS_AT else 1.0
        return {"loss": factor * state.module(torch.ones(1, 2)).square().mean()}

    with pytest.raises(RunError, match=rf"stage 2, round 1: the loss is {wrong} at step {BREAKS_AT}: .*learning rate"):
        fit(state, losses, steps=20, seed=0, label="stage 2, round 1")
    assert all(value.isfinite().all() for value in state.module.state_dict().values())


def test_weights_that_the_last_step_would_have_spoilt_are_refused_too(tmp_path: Path) -> None:
    """A loss that is a number may have a slope that is none."""
    state = state_of(tmp_path)

    def losses(rng: np.random.Generator) -> dict[str, torch.Tensor]:
        return {"loss": (0 * state.module(torch.ones(1, 2)).sum()).sqrt()}

    with pytest.raises(RunError, match="base: the gradient of the loss is nan at step 0"):
        fit(state, losses, steps=1, seed=0, label="base")


def test_such_a_stage_is_not_sealed_and_goes_on_from_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 5)
    broken = [True]

    def work(stage) -> None:
        state = state_of(stage.scratch)

        def losses(rng: np.random.Generator) -> dict[str, torch.Tensor]:
            factor = float("nan") if broken and state.step == BREAKS_AT else 1.0
            return {"loss": factor * state.module(torch.ones(1, 2)).square().mean()}

        fit(state, losses, steps=10, seed=0, label="base")

    with Run(tmp_path / "run", announce=lambda line: None) as run:
        with pytest.raises(RunError):
            run.stage("base", work)
        assert not (tmp_path / "run" / "base" / MANIFEST).exists()
        saved = torch.load(tmp_path / "run" / "base" / "scratch" / "checkpoint.pt", weights_only=True)
        assert saved["step"] == 5
        broken.clear()
        run.stage("base", work)
    assert (tmp_path / "run" / "base" / MANIFEST).exists()
