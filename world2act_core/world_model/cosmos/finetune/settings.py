"""What fine-tuning can be told. Defaults are LoRA as NVIDIA's own post-training recipe has it.

The recipe: github nvidia-cosmos/cosmos-predict2, ``configs/base/experiment/cosmos_nemo_assets_lora.py`` (LoRA) and
``groot.py`` (all weights, robot videos), over ``config_video2world.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from world2act_core.embodiment.checked import Checked, read_checked
from world2act_core.errors import World2ActError

METHODS = ("lora", "full")
PRECISIONS = ("bf16", "fp32")
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
"""The attention projections of ``CosmosTransformer3DModel``."""


@dataclass(frozen=True)
class FinetuneSettings:
    """One fine-tuning, number by number.

    Attributes:
        method: ``lora`` trains an adapter, ``full`` all weights.
        steps: optimiser steps.
        batch: clips an optimiser step, over all processes: the result does not depend on how many there are.
        micro_batch: clips that one process has on its device at once; they are of one length.
        learning_rate: at the end of the warm-up of ``warmup`` steps; falls linearly to 0 at the last step.
        clip_norm: largest norm of the gradient.
        ema_decay: of the average of the trained weights, which is what is kept in the end; 0 keeps the last weights.
        text_dropout: how often a clip's prompt is replaced by the empty one, which teaches what guidance subtracts.
        most_given: a clip is given 1 to this many first latents, each as often: 1 is one frame, 2 are five.
        high_noise: share of clips at noise levels beyond those that the sampler starts from.
        lora_rank, lora_alpha, lora_targets: of the adapter; targets are ends of module names.
        precision: ``bf16`` (what is trained stays in float32) or ``fp32``.
        checkpoint_every: steps; a kill costs at most these.
        validate_every: steps between two looks at held-out clips.
        held_out: share of the episodes that is kept for those looks, at least one episode.
        validation_clips: how many held-out clips the loss is measured on.
        sampling_steps: denoising steps of the clip that is decoded.
        seed: of everything.
    """

    method: str = "lora"
    steps: int = 2000
    batch: int = 8
    micro_batch: int = 1
    learning_rate: float = 5.9e-4  # the recipe's 2^-10, of which its schedule takes 0.6
    warmup: int = 100
    weight_decay: float = 0.1
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    text_dropout: float = 0.2
    most_given: int = 2
    high_noise: float = 0.05
    lora_rank: int = 16
    lora_alpha: int = 16
    lora_targets: tuple[str, ...] = ATTENTION
    precision: str = "bf16"
    gradient_checkpointing: bool = True
    checkpoint_every: int = 100
    validate_every: int = 250
    held_out: float = 0.05
    validation_clips: int = 8
    sampling_steps: int = 35
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what would only fail, or be wrong, after hours."""
        for name, allowed in (("method", METHODS), ("precision", PRECISIONS)):
            if getattr(self, name) not in allowed:
                raise World2ActError(f"{name} = {getattr(self, name)!r} must be one of {', '.join(allowed)}")
        for name in ("steps", "batch", "micro_batch", "checkpoint_every", "validate_every", "validation_clips",
                     "lora_rank", "most_given"):  # fmt: skip
            if getattr(self, name) < 1:
                raise World2ActError(f"{name} = {getattr(self, name)} must be at least 1")
        if self.sampling_steps < 2:
            raise World2ActError(f"sampling_steps = {self.sampling_steps} must be at least 2")
        for name in ("ema_decay", "text_dropout", "high_noise", "held_out"):
            if not 0 <= getattr(self, name) < 1:
                raise World2ActError(f"{name} = {getattr(self, name)} must be at least 0 and below 1")
        if self.batch % self.micro_batch:
            raise World2ActError(f"batch = {self.batch} must be a multiple of micro_batch = {self.micro_batch}")


def read_settings(path: Path) -> FinetuneSettings:
    """The defaults with the values of a YAML file put over them.

    Raises:
        World2ActError: no such file, or it names what settings do not have, or a value of another kind.
    """
    if not path.is_file():
        raise World2ActError(f"there is no recipe {path}")
    raw = read_checked(path)
    given = {f.name: _value(raw, f.name, getattr(FinetuneSettings(), f.name))
             for f in fields(FinetuneSettings) if f.name in raw}  # fmt: skip
    unknown = [key for key in raw.keys if key not in given]
    if unknown:
        raw.refuse(unknown[0], f"is not known; known are {', '.join(f.name for f in fields(FinetuneSettings))}")
    return replace(FinetuneSettings(), **given)


def _value(raw: Checked, key: str, like: Any) -> Any:
    if isinstance(like, bool):
        return raw.flag(key)
    if isinstance(like, int):
        return raw.integer(key)
    if isinstance(like, float):
        return raw.number(key)
    return tuple(raw.texts(key)) if isinstance(like, tuple) else raw.text(key)
