"""The guardrail: on without being asked for, before anything is imagined and before anything is shown."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from tests.world_model.cosmos_scene import NO_CLOCK, SMALL, Lenient, frames, small_model
from tests.world_model.tiny_cosmos import tiny_parts
from world2act_core.errors import MissingExtraError, World2ActError
from world2act_core.types import Array
from world2act_core.world_model.cosmos.guardrail import UnsafeContentError
from world2act_core.world_model.cosmos.model import CosmosWorldModel
from world2act_core.world_model.cosmos.parts import CosmosParts


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> CosmosParts:
    return tiny_parts(tmp_path_factory.mktemp("cosmos"))


class Strict(Lenient):
    """Refuses knives, and every video that shows white."""

    def check_text_safety(self, prompt: str) -> bool:
        return super().check_text_safety(prompt) and "knife" not in prompt

    def check_video_safety(self, frames: Array) -> Array | None:
        return None if frames.max() == 255 else super().check_video_safety(frames)


class Blurring(Lenient):
    """Hides the upper left corner, as NVIDIA's checker hides faces."""

    def check_video_safety(self, frames: Array) -> Array | None:
        hidden = frames.copy()
        hidden[:, :4, :4] = 0
        return hidden


def installed(monkeypatch: pytest.MonkeyPatch, checker: type) -> None:
    """As if the guardrail's package were installed, with this checker."""
    package = ModuleType("cosmos_guardrail")
    package.CosmosSafetyChecker = checker  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cosmos_guardrail", package)


def test_every_prompt_is_checked_although_only_latents_are_asked_for(parts: CosmosParts) -> None:
    checker = Lenient()
    small_model(parts, checker=checker).imagine(frames(1, batch=2), ["put the cup", "open the drawer"], NO_CLOCK, 1)
    assert checker.prompts == ["put the cup", "open the drawer"]
    assert checker.videos == []


def test_an_unsafe_prompt_is_refused_before_anything_is_imagined(parts: CosmosParts) -> None:
    model, denoised = small_model(parts, checker=Strict()), list[str]()
    hook = parts.transformer.register_forward_hook(lambda *_: denoised.append("once"))
    try:
        for ask in (
            lambda prompts: model.imagine(frames(1, batch=2), prompts, NO_CLOCK, 1),
            lambda prompts: model.one_step_x0(frames(5, batch=2), prompts, 1.0, torch.Generator()),
        ):
            with pytest.raises(UnsafeContentError, match=r"refuses the prompt 'throw the knife'.*NVIDIA Open Model"):
                ask(["pick the cup", "throw the knife"])
    finally:
        hook.remove()
    assert denoised == []


def test_every_decoded_video_is_checked(parts: CosmosParts) -> None:
    checker = Lenient()
    model = small_model(parts, checker=checker)
    model.decode(model.encode(frames(5, batch=2)))
    assert checker.videos == [(5, 32, 48, 3)] * 2
    assert checker.devices[-1] == "cpu"  # it does not keep the GPU's memory


def test_what_is_decoded_is_what_the_checker_lets_be_seen(parts: CosmosParts) -> None:
    latents = small_model(parts).encode(frames(5))
    open_, hidden = (small_model(parts, checker=checker()).decode(latents).numpy() for checker in (Lenient, Blurring))
    assert open_[:, :, :4, :4].any() and not hidden[:, :, :4, :4].any()
    assert np.array_equal(open_[:, :, 4:], hidden[:, :, 4:])


def test_a_video_that_may_not_be_seen_is_refused(parts: CosmosParts, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model(parts, checker=Strict())
    white = torch.full((1, 1, 32, 48, 3), 255, dtype=torch.uint8)
    monkeypatch.setattr("world2act_core.world_model.cosmos.model.decode_latents", lambda *_: white)
    with pytest.raises(UnsafeContentError, match="refuses a video"):
        model.decode(torch.zeros(1, 16, 1, 4, 6))


def test_nvidia_s_guardrail_is_on_without_being_asked_for(parts: CosmosParts, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, Strict)
    model = CosmosWorldModel(parts, SMALL)
    with pytest.raises(UnsafeContentError):
        model.imagine(frames(1), ["throw the knife"], NO_CLOCK, 1)


def test_without_the_package_nothing_runs(parts: CosmosParts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cosmos_guardrail", None)
    with pytest.raises(MissingExtraError, match=r"NVIDIA Open Model License.*pip install cosmos_guardrail") as refusal:
        CosmosWorldModel(parts, SMALL)
    assert "\n" not in str(refusal.value)


def test_a_guardrail_without_its_weights_is_answered_with_what_fetches_them(
    parts: CosmosParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    class WithoutWeights:
        def __init__(self) -> None:
            raise FileNotFoundError("no snapshot\nand no network")

    installed(monkeypatch, WithoutWeights)
    with pytest.raises(World2ActError, match="hf download nvidia/Cosmos-1.0-Guardrail") as refusal:
        CosmosWorldModel(parts, SMALL)
    assert "\n" not in str(refusal.value)
