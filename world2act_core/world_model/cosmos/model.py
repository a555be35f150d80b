"""Cosmos-Predict2 as a world model: diffusers' pipeline behind the project's protocol.

One frame is one control step and a latent is four of them, so a clip of ``n`` chunks has ``1 + 4 n`` frames and
``n + 1`` latents (see ``world_model.protocol`` for the time base). The pipeline is asked for latents; pixels exist only
where somebody decodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from world2act_core.embodiment import Embodiment
from world2act_core.errors import ContractError, World2ActError
from world2act_core.world_model.cosmos.finetune.objective import Noised, estimated_clean, predicted_velocity
from world2act_core.world_model.cosmos.guardrail import Guardrail, SafetyChecker, nvidia_guardrail
from world2act_core.world_model.cosmos.latents import decode_latents, encode_video, spatial_factor, temporal_factor
from world2act_core.world_model.cosmos.parts import CosmosParts
from world2act_core.world_model.cosmos.views import HEIGHT, WIDTH
from world2act_core.world_model.protocol import frames_of

NVIDIA_FPS = 16
"""Frames a second of NVIDIA's own clips (model card of Cosmos-Predict2-2B-Video2World; the pipeline's default)."""
CONTEXT_LATENTS = (1, 2)
"""One or five given frames, as Cosmos-Predict2 was trained (github nvidia-cosmos/cosmos-predict2, Video2World)."""


@dataclass(frozen=True)
class CosmosSettings:
    """How Cosmos imagines.

    Attributes:
        height, width: of a frame in pixels, dividing by 16. World2Act (section 4) and NVIDIA's 480p models: 480 x 832.
        longest_clip: frames; Cosmos-Predict2 was trained on 93, which are 24 latents.
        steps: of denoising; the pipeline's default.
        guidance: how far beyond the prompted estimate, away from the unprompted one; the pipeline's default. Up to 1
            is none, at half the cost.
        negative_prompt: what guidance leads away from; None is NVIDIA's list of flaws, "" what fine-tuning teaches.
        fps: frames a second that the model is told; None is the embodiment's control rate, or 16 without one.
        seed: of every scene's noise. Scenes do not share a generator, so a scene has the same future in any batch;
            another seed gives it another one.
    """

    height: int = HEIGHT
    width: int = WIDTH
    longest_clip: int = 93
    steps: int = 35
    guidance: float = 7.0
    negative_prompt: str | None = None
    fps: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.height % 16 or self.width % 16:
            raise World2ActError(
                f"height = {self.height}, width = {self.width}: both must divide by 16 (8 pixels a latent, 2 a patch)"
            )


class CosmosWorldModel:
    """See ``world_model.protocol.WorldModel``; frames are ``(height, width, 3)`` with all views tiled (``views``).

    Args:
        parts: the networks, where they shall run (on the CPU if ``offload``).
        settings: how to imagine.
        embodiment: of the robot that is imagined; its chunks must be as long as a latent.
        safety_checker: in place of NVIDIA's guardrail; for weights that are not NVIDIA's and do not derive from them.
        offload: keep on the GPU only the network that is at work, the others in main memory.

    Raises:
        MissingExtraError: NVIDIA's guardrail is not installed.
        ContractError: the embodiment's chunk length is not the autoencoder's temporal factor.
        World2ActError: offloading without a GPU.
    """

    def __init__(
        self,
        parts: CosmosParts,
        settings: CosmosSettings | None = None,
        *,
        embodiment: Embodiment | None = None,
        safety_checker: SafetyChecker | None = None,
        offload: bool = False,
    ) -> None:
        self.settings = settings or CosmosSettings()
        self.frames_per_latent = temporal_factor(parts.vae)
        self._check_embodiment(embodiment)
        self.fps = self.settings.fps or (embodiment.control_rate_hz if embodiment else NVIDIA_FPS)
        space = spatial_factor(parts.vae)
        self.latent_shape = (parts.vae.config.z_dim, self.settings.height // space, self.settings.width // space)
        self.guardrail = Guardrail(safety_checker) if safety_checker is not None else nvidia_guardrail()
        self.pipeline = _pipeline(parts, self.guardrail)
        if offload:
            if not torch.cuda.is_available():
                raise World2ActError("there is no CUDA device whose memory offloading could save: leave it out")
            self.pipeline.enable_model_cpu_offload()

    def encode(self, video: torch.Tensor) -> torch.Tensor:
        """uint8 ``(B, F, H, W, 3)``, ``F = 1 + 4 k`` → normalised latents float32 ``(B, C, 1 + k, H / 8, W / 8)``."""
        self._check_frames(video)
        latents = encode_video(self.pipeline.vae, video, self._device)
        self.pipeline.maybe_free_model_hooks()
        return latents

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents ``(B, C, 1 + k, H / 8, W / 8)`` → uint8 ``(B, 1 + 4 k, H, W, 3)`` as the guardrail lets them be seen.

        Raises:
            UnsafeContentError: the guardrail refuses a video.
        """
        video = decode_latents(self.pipeline.vae, latents, self._device)
        self.pipeline.maybe_free_model_hooks()
        return self.guardrail.checked(video, self._device)

    def imagine(self, context: torch.Tensor, prompts: Sequence[str], clock: torch.Tensor, chunks: int) -> torch.Tensor:
        """Imagine one skill ``chunks`` chunks ahead, all scenes at once.

        Args:
            context: uint8 ``(B, F, H, W, 3)``, one frame or five, the last of which is now.
            prompts: B skills.
            clock: not read: Cosmos has learned no clock, and what is going on shows in the context.
            chunks: at most 23 behind one frame, 22 behind five.

        Returns:
            float32 ``(B, C, chunks + 1, H / 8, W / 8)`` where the context is: entry 0 is now, exactly as encoded.

        Raises:
            UnsafeContentError: the guardrail refuses a prompt.
            World2ActError: the clip would be longer than the model makes them.
            ValueError: the context has another number or size of frames, or there are not as many prompts as scenes.
        """
        now = self._given(context, prompts)
        frames = self._clip_length(now.shape[2], chunks)
        clip = self.pipeline(
            video=context.movedim(-1, 2) / 255,  # (B, F, 3, H, W) in [0, 1]
            prompt=list(prompts),
            negative_prompt=None
            if self.settings.negative_prompt is None
            else [self.settings.negative_prompt] * len(now),
            height=self.settings.height,
            width=self.settings.width,
            num_frames=frames,
            num_inference_steps=self.settings.steps,
            guidance_scale=self.settings.guidance,
            fps=self.fps,
            generator=[torch.Generator().manual_seed(self.settings.seed) for _ in prompts],
            output_type="latent",
        ).frames
        # The clip begins with the given latents. The pipeline draws them from the autoencoder's posterior; whoever
        # compares imagined with real latents wants now to be now, so the last of them is put back as it was encoded.
        imagined = clip[:, :, now.shape[2] :].float().to(context.device)
        return torch.cat([now[:, :, -1:], imagined], 2)

    @torch.no_grad()
    def one_step_x0(
        self,
        video: torch.Tensor,
        prompts: Sequence[str],
        sigma: float,
        generator: torch.Generator | list[torch.Generator],
        given: int = 1,
    ) -> torch.Tensor:
        """What the model takes a real clip for when it sees it through noise: one forward pass, no guidance.

        Args:
            video: uint8 ``(B, 1 + 4 k, H, W, 3)``.
            prompts: B skills.
            sigma: standard deviation of the noise on latents, which are about 1; sampling goes from 80 to 0.002.
            generator: of the noise, one or one a scene.
            given: how many first latents are handed over without noise, and returned as they are; at most k.

        Returns:
            float32 ``(B, C, 1 + k, H / 8, W / 8)`` where the video is.

        Raises:
            UnsafeContentError, ValueError: as in `imagine`.
        """
        from diffusers.utils.torch_utils import randn_tensor

        self._check_count(video, prompts)
        self.guardrail.check_prompts(list(prompts), self._device)
        clean = self.encode(video).to(self._device)
        if not 1 <= given < clean.shape[2]:
            raise ValueError(f"{given} latents given of a clip of {clean.shape[2]}")
        text, _ = self.pipeline.encode_prompt(list(prompts), do_classifier_free_guidance=False, device=self._device)
        seen = Noised(
            clean=clean,
            noise=randn_tensor(clean.shape, generator=generator, device=self._device),
            sigma=torch.full((len(clean),), sigma, device=self._device),
            given=torch.full((len(clean),), given, device=self._device),
            text=text,
        )
        velocity = predicted_velocity(self.pipeline.transformer, seen, self.fps, self.pipeline.transformer.dtype)
        self.pipeline.maybe_free_model_hooks()
        return estimated_clean(velocity, seen).to(video.device)

    @property
    def _device(self) -> torch.device:
        """Where the networks work, which with offloading is not where they are."""
        return self.pipeline._execution_device

    def _given(self, context: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
        """The context's latents ``(B, C, 1 or 2, H / 8, W / 8)``."""
        self._check_count(context, prompts)
        allowed = [frames_of(latents, self.frames_per_latent) for latents in CONTEXT_LATENTS]
        if context.shape[1] not in allowed:
            raise ValueError(f"a context of {context.shape[1]} frames: Cosmos takes {' or '.join(map(str, allowed))}")
        return self.encode(context)

    def _clip_length(self, given: int, chunks: int) -> int:
        """Frames of a clip of so many given latents and as many more as chunks."""
        if chunks < 1:
            raise ValueError(f"{chunks} chunks to imagine")
        frames = frames_of(given + chunks, self.frames_per_latent)
        if frames > self.settings.longest_clip:
            raise World2ActError(
                f"{chunks} chunks make a clip of {frames} frames, and Cosmos makes at most "
                f"{self.settings.longest_clip}: compose shorter skills, each clip starting where the last one ended "
                "(imagine_skills)"
            )
        return frames

    def _check_frames(self, video: torch.Tensor) -> None:
        height, width = self.settings.height, self.settings.width
        if video.dtype != torch.uint8 or video.ndim != 5 or video.shape[2:] != (height, width, 3):
            raise ValueError(
                f"frames are {video.dtype} {tuple(video.shape)}, expected uint8 (B, F, {height}, {width}, 3)"
            )

    def _check_count(self, video: torch.Tensor, prompts: Sequence[str]) -> None:
        if len(video) != len(prompts):
            raise ValueError(f"{len(prompts)} prompts for {len(video)} scenes")

    def _check_embodiment(self, embodiment: Embodiment | None) -> None:
        if embodiment is not None and embodiment.chunk_length != self.frames_per_latent:
            raise ContractError(
                f"{embodiment.file}: chunk_length = {embodiment.chunk_length}, but a latent of Cosmos is "
                f"{self.frames_per_latent} control steps: set chunk_length to {self.frames_per_latent}"
            )


def _pipeline(parts: CosmosParts, guardrail: Guardrail) -> Any:
    from diffusers import Cosmos2VideoToWorldPipeline

    pipeline: Any = Cosmos2VideoToWorldPipeline
    built = pipeline(**vars(parts), safety_checker=guardrail)
    built.set_progress_bar_config(disable=True)
    return built
