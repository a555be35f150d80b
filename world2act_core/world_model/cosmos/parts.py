"""The five parts of Cosmos-Predict2, read from a folder in diffusers' layout or from the Hugging Face cache.

Nothing is downloaded here: weights of tens of gigabytes, whose licence somebody has to accept, are fetched on purpose.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch.nn import functional as F

from world2act_core.errors import MissingExtraError, World2ActError

PARTS = ("tokenizer", "text_encoder", "transformer", "vae", "scheduler")
VOCABULARIES = ("tokenizer.json", "spiece.model")
LICENCE = "NVIDIA Open Model License"


@dataclass(frozen=True)
class CosmosParts:
    """What diffusers' ``Cosmos2VideoToWorldPipeline`` is made of.

    Attributes:
        tokenizer: ``T5Tokenizer``, since transformers 5 the fast one.
        text_encoder: ``T5EncoderModel``, the encoder of T5-11B in NVIDIA's weights.
        transformer: ``CosmosTransformer3DModel``, which denoises latents; 17 channels in (16 and the condition mask).
        vae: ``AutoencoderKLWan``, a causal video autoencoder: time by 4, space by 8, 16 channels.
        scheduler: ``FlowMatchEulerDiscreteScheduler`` with Karras' noise levels.
    """

    tokenizer: Any
    text_encoder: Any
    transformer: Any
    vae: Any
    scheduler: Any


def load_parts(name_or_path: str | Path, *, dtype: torch.dtype, device: str | torch.device) -> CosmosParts:
    """Read the parts, networks in evaluation mode.

    Args:
        name_or_path: ``nvidia/Cosmos-Predict2-2B-Video2World``, ``nvidia/Cosmos-Predict2-14B-Video2World``, another
            model of the Hugging Face hub that was downloaded before, or a folder in diffusers' layout.
        dtype: of all weights; bfloat16 is what NVIDIA's example uses.
        device: where the networks stay; ``cpu`` if they shall be offloaded.

    Raises:
        MissingExtraError: the extra ``cosmos`` is not installed.
        World2ActError: the weights are not on this machine, a part is missing, or cannot be read.
    """
    name = str(name_or_path)
    folder = _checked(name, PARTS)
    return CosmosParts(**{part: _read(name, folder, part, dtype, device) for part in PARTS})


def load_part(name_or_path: str | Path, part: str, *, dtype: torch.dtype, device: str | torch.device) -> Any:
    """Read one of `PARTS` alone: training needs no text encoder, which is the largest. Errors as in `load_parts`."""
    return _read(str(name_or_path), _checked(str(name_or_path), (part,)), part, dtype, device)


def _checked(name: str, parts: tuple[str, ...]) -> Path:
    """The model's folder, in which these parts are."""
    for package in ("diffusers", "transformers", "accelerate"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(
                f"Cosmos needs {package}: install the extra that brings it, pip install 'world2act[cosmos]'"
            )
    folder = _find(name)
    for part in parts:
        if not (folder / part).is_dir():
            raise World2ActError(f"{name} has no folder {part!r}, which diffusers' layout has: {_mend(name)}")
    _supply_resize()
    return folder


def _read(name: str, folder: Path, part: str, dtype: torch.dtype, device: str | torch.device) -> Any:
    from diffusers import AutoencoderKLWan, CosmosTransformer3DModel, FlowMatchEulerDiscreteScheduler
    from safetensors import SafetensorError
    from transformers import T5EncoderModel, T5Tokenizer

    networks: dict[str, Any] = {
        "text_encoder": T5EncoderModel,
        "transformer": CosmosTransformer3DModel,
        "vae": AutoencoderKLWan,
    }
    others: dict[str, Any] = {"tokenizer": T5Tokenizer, "scheduler": FlowMatchEulerDiscreteScheduler}
    try:
        if part == "tokenizer" and not any((folder / part / file).is_file() for file in VOCABULARIES):
            raise OSError(f"it has no {' or '.join(VOCABULARIES)}")  # transformers would make one that knows no word
        if part in others:
            return others[part].from_pretrained(folder / part, local_files_only=True)
        loaded = networks[part].from_pretrained(folder / part, dtype=dtype, local_files_only=True)
        return loaded.to(device).eval()
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise World2ActError(f"the {part} of {name} cannot be read ({reason}): {_mend(name)}") from error


def _find(name: str) -> Path:
    """Folder of a model that is on this machine."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    if Path(name).is_dir():
        return Path(name)
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except HFValidationError as error:
        raise World2ActError(
            f"there is no folder {name}: name one in diffusers' layout, or nvidia/Cosmos-Predict2-2B-Video2World"
        ) from error
    except LocalEntryNotFoundError as error:
        raise World2ActError(f"the weights of {name} are not on this machine: {_mend(name)}") from error


def _mend(name: str) -> str:
    if Path(name).is_dir():
        return "complete the folder"
    return (
        f"accept their licence (NVIDIA's weights: {LICENCE}) on https://huggingface.co/{name} "
        f"and download them with 'hf download {name}'"
    )


def _supply_resize() -> None:
    """Give diffusers' transformer the one function of torchvision that it calls, where there is no torchvision.

    It resizes the padding mask to the latents. Without torchvision the name does not exist and the first step of
    denoising fails; requiring torchvision would break machines whose build of it does not match torch.
    """
    from diffusers.models.transformers import transformer_cosmos

    module: Any = transformer_cosmos
    if not hasattr(module, "transforms"):
        functional: dict[str, Callable[..., torch.Tensor]] = {"resize": _resize}
        module.transforms = SimpleNamespace(
            functional=SimpleNamespace(**functional), InterpolationMode=SimpleNamespace(NEAREST="nearest")
        )


def _resize(image: torch.Tensor, size: list[int], interpolation: str) -> torch.Tensor:
    """``(B, C, H, W)`` → ``(B, C, *size)``, as torchvision resizes tensors."""
    return F.interpolate(image, size=size, mode=interpolation)
