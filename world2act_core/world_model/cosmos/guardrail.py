"""NVIDIA's guardrail around what goes into Cosmos and what comes out of it.

NVIDIA's Open Model License ends for whoever bypasses the guardrail that comes with the weights, so there is no switch
for it. Prompts are checked before anything is imagined (diffusers' pipeline does that itself, also when it is asked for
latents). Pixels are checked where they arise, in ``CosmosWorldModel.decode``: a pipeline that returns latents does not
decode, and so cannot check, a video. NVIDIA's checker refuses a video, or returns it with faces made unrecognisable.
"""

from __future__ import annotations

import importlib
from typing import Any, Protocol

import torch

from world2act_core.errors import MissingExtraError, World2ActError
from world2act_core.types import Array
from world2act_core.world_model.cosmos.parts import LICENCE

PACKAGE = "cosmos_guardrail"


class UnsafeContentError(World2ActError):
    """The guardrail refused a prompt or a video."""


class SafetyChecker(Protocol):
    """What diffusers' Cosmos pipelines ask of a checker; ``cosmos_guardrail.CosmosSafetyChecker`` is one."""

    def to(self, device: torch.device | str) -> Any:
        """Move the checker's networks."""

    def check_text_safety(self, prompt: str) -> bool:
        """Whether a prompt is safe."""

    def check_video_safety(self, frames: Array) -> Array | None:
        """Frames uint8 ``(F, H, W, 3)`` as they may be shown, None if they may not."""


class Guardrail:
    """A checker whose refusals are errors that say what was refused; itself a checker, for diffusers' pipeline."""

    def __init__(self, checker: SafetyChecker) -> None:
        self._checker = checker

    def to(self, device: torch.device | str) -> None:
        self._checker.to(device)

    def check_text_safety(self, prompt: str) -> bool:
        """True.

        Raises:
            UnsafeContentError: the prompt is not safe.
        """
        if not self._checker.check_text_safety(prompt):
            raise UnsafeContentError(
                f"the guardrail of Cosmos refuses the prompt {prompt!r}: word it differently (the {LICENCE} says what "
                "may be asked for)"
            )
        return True

    def check_video_safety(self, frames: Array) -> Array:
        """The frames as they may be shown.

        Raises:
            UnsafeContentError: none of them may.
        """
        shown = self._checker.check_video_safety(frames)
        if shown is None:
            raise UnsafeContentError(
                "the guardrail of Cosmos refuses a video: start from other frames, or word its prompt differently"
            )
        return shown

    def check_prompts(self, prompts: list[str], device: torch.device) -> None:
        """Raise UnsafeContentError unless all prompts are safe; the checker is on ``device`` while it works."""
        self.to(device)
        for prompt in prompts:
            self.check_text_safety(prompt)
        self.to("cpu")

    def checked(self, video: torch.Tensor, device: torch.device) -> torch.Tensor:
        """Videos uint8 ``(B, F, H, W, 3)`` as they may be shown; UnsafeContentError if one of them may not."""
        self.to(device)
        shown = [torch.from_numpy(self.check_video_safety(clip.cpu().numpy())) for clip in video]
        self.to("cpu")
        return torch.stack(shown).to(video.device)


def nvidia_guardrail() -> Guardrail:
    """The guardrail for NVIDIA's weights; the package brings its own weights at first use.

    Raises:
        MissingExtraError: the package is not installed.
        World2ActError: its weights are not here and could not be fetched.
    """
    try:
        package = importlib.import_module(PACKAGE)
    except ImportError as error:
        raise MissingExtraError(
            f"Cosmos runs with NVIDIA's guardrail, without which the {LICENCE} does not hold, and {PACKAGE} cannot be "
            f"imported ({error}): pip install {PACKAGE}"
        ) from error
    try:
        return Guardrail(package.CosmosSafetyChecker())
    except OSError as error:  # also every error of the Hugging Face hub
        raise World2ActError(
            f"the guardrail's weights cannot be read ({' '.join(str(error).split())}): accept their licence on "
            "https://huggingface.co/nvidia/Cosmos-1.0-Guardrail and download them with "
            "'hf download nvidia/Cosmos-1.0-Guardrail' and 'hf download Qwen/Qwen3Guard-Gen-0.6B'"
        ) from error
