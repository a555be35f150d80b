"""Which weights are trained, how they are averaged, and the files in which they leave the run.

An adapter is written as diffusers writes one, all weights as diffusers' folder of a transformer; `load_finetuned` reads
either, and so does diffusers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from world2act_core.errors import World2ActError
from world2act_core.world_model.cosmos.finetune.settings import FinetuneSettings
from world2act_core.world_model.cosmos.parts import CosmosParts, load_part

ADAPTER = "lora"
TRANSFORMER = "transformer"


def make_trainable(transformer: Any, settings: FinetuneSettings) -> None:
    """Freeze what is not trained, add the adapter if there is to be one; trained weights are float32.

    Raises:
        World2ActError: a target of the adapter is no part of the network.
    """
    transformer.train()
    if settings.gradient_checkpointing:
        transformer.enable_gradient_checkpointing()
    if settings.method == "full":
        transformer.requires_grad_(True).float()
        return
    from peft import LoraConfig

    for target in settings.lora_targets:
        if not any(name.endswith(f".{target}") for name, _ in transformer.named_modules()):
            raise World2ActError(f"lora_targets: no module of the transformer ends with {target!r}")
    transformer.requires_grad_(False)
    torch.manual_seed(settings.seed)  # an adapter starts as nothing, but from random directions
    transformer.add_adapter(
        LoraConfig(
            r=settings.lora_rank,
            lora_alpha=settings.lora_alpha,
            target_modules=list(settings.lora_targets),
            init_lora_weights=True,
        )
    )
    for parameter in trained(transformer).values():
        parameter.data = parameter.data.float()


def trained(transformer: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that are trained, by name."""
    return {name: parameter for name, parameter in transformer.named_parameters() if parameter.requires_grad}


@contextmanager
def averaged(average: Any | None, network: nn.Module) -> Iterator[None]:
    """Within, the trained weights are their average (diffusers' ``EMAModel``), if one is kept."""
    if average is None:
        yield
        return
    parameters = list(trained(network).values())
    kept = [parameter.detach().clone() for parameter in parameters]
    average.copy_to(parameters)
    try:
        yield
    finally:
        for parameter, before in zip(parameters, kept, strict=True):
            parameter.data.copy_(before)
        _forget_gathered(network)


def _forget_gathered(network: nn.Module) -> None:
    """Without this, FSDP would train the next step with the average in it.

    What FSDP has gathered of the outermost module for a forward pass it keeps until the next backward pass.
    """
    from torch.distributed.fsdp import FSDPModule

    for module in network.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def save_finetuned(folder: Path, transformer: Any, state: dict[str, torch.Tensor], settings: FinetuneSettings) -> None:
    """Write the trained weights.

    Args:
        folder: takes ``lora/`` or ``transformer/``.
        transformer: for its configuration.
        state: the trained weights by name, whole and on the CPU.
        settings: which say what is trained.
    """
    if settings.method == "full":
        from accelerate import init_empty_weights

        with init_empty_weights():
            whole = type(transformer).from_config(transformer.config)
        whole.load_state_dict(state, assign=True)
        whole.save_pretrained(folder / TRANSFORMER)
        return
    from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY, LORA_WEIGHT_NAME_SAFE
    from peft import get_peft_model_state_dict

    adapter = {name: tensor.contiguous() for name, tensor in get_peft_model_state_dict(transformer, state).items()}
    config = transformer.peft_config["default"].to_dict()
    plain = {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}
    (folder / ADAPTER).mkdir(parents=True, exist_ok=True)
    header = {"format": "pt", LORA_ADAPTER_METADATA_KEY: json.dumps(plain, default=str, sort_keys=True)}
    save_file(adapter, folder / ADAPTER / LORA_WEIGHT_NAME_SAFE, metadata=header)


def load_finetuned(parts: CosmosParts, run: Path) -> CosmosParts:
    """Parts with the transformer that a run has trained: the base's with the adapter in it, or another.

    Args:
        parts: the weights that were fine-tuned. Their transformer takes up the adapter.
        run: folder of a finished run.

    Raises:
        World2ActError: the folder holds no fine-tuned weights, or the adapter is of another network.
    """
    base = parts.transformer
    if (run / TRANSFORMER).is_dir():
        return replace(parts, transformer=load_part(run, TRANSFORMER, dtype=base.dtype, device=base.device))
    if not (run / ADAPTER).is_dir():
        raise World2ActError(f"{run} holds neither {ADAPTER}/ nor {TRANSFORMER}/: name the folder of a finished run")
    try:
        base.load_lora_adapter(run / ADAPTER, prefix=None, adapter_name="finetuned", use_safetensors=True)
    except (ValueError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise World2ActError(f"the adapter in {run} does not fit these weights ({reason}): load its base") from error
    return parts
