"""Fine-tuning of the base by the objective of Stage 2: what the residual is compared with.

Same data, same loss, same steps; but the base's own weights change, all of them or by a low-rank adapter (LoRA, Hu et
al. 2021, arXiv 2106.09685; rank 32 in World2Act's comparison), so gradients pass through the base.
"""

from __future__ import annotations

import copy
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import nn

from world2act_core.errors import MissingExtraError, World2ActError
from world2act_core.residual.train import Objective
from world2act_core.runs import Checkpointed, fit
from world2act_core.runs.training import Losses

METHODS = ("lora", "full")

Base = TypeVar("Base", bound=nn.Module)


@dataclass(frozen=True)
class FinetuningConfig:
    """How the base is fine-tuned; steps, batch and loss are those of the objective.

    Attributes:
        method: ``lora`` trains adapters of the linear layers and nothing else, ``full`` all weights.
        rank: of the adapters, and their alpha: what they add is not scaled.

    Raises:
        World2ActError: there is no such method, or the rank is below one.
    """

    method: str = "lora"
    rank: int = 32
    learning_rate: float = 5e-4
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise World2ActError(f"fine-tuning method is {self.method!r}, expected one of {', '.join(METHODS)}")
        if self.rank < 1:
            raise World2ActError(f"rank of the adapters is {self.rank}, expected at least 1")


def finetune(
    base: Base, objective: Objective, config: FinetuningConfig, seed: int, checkpoint: Path, label: str = "fine-tuning"
) -> tuple[Base, list[dict[str, float]]]:
    """Train a copy of the base; the base itself stays as it is. Resumes from ``checkpoint``.

    Args:
        base: frames uint8 ``(B, S, V S, 3)`` and proprioception ``(B, P)`` → action chunks ``(B, M, A)``; for example
            the compact policy's network. ``objective.data.base`` must hold its own actions.

    Returns:
        The fine-tuned network, adapters merged into its weights, so that it is stored as the base is; the history.

    Raises:
        MissingExtraError: the method is ``lora`` and ``peft`` is not installed.
    """
    torch.manual_seed(seed)  # adapters start as nothing, but from random directions
    network = adapted(base, config)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]

    def losses(rng: np.random.Generator) -> Losses:
        return update_losses(network, objective, objective.draw(rng))

    optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=config.weight_decay)
    state = Checkpointed(network, optimizer, checkpoint)
    history = fit(state, losses, steps=objective.config.steps, seed=seed, label=label)
    tuned: nn.Module = cast(Any, network).merge_and_unload() if config.method == "lora" else network
    return cast(Base, tuned.requires_grad_(False).eval()), history


def update_losses(network: nn.Module, objective: Objective, rows: torch.Tensor) -> Losses:
    """The terms of Stage 2 where the network's whole action takes the place of base + residual.

    Unlike the residual's, the correction is not masked to the used action dimensions: nothing could hold the others
    still once the weights have changed. In training only the penalty on the correction ties them to the base.
    """
    data = objective.data
    return objective.losses(rows, network(data.frames[rows], data.proprio[rows]) - data.base[rows])


def adapted(base: nn.Module, config: FinetuningConfig) -> nn.Module:
    """A copy of the base of which only what is to be trained requires gradients.

    Raises:
        MissingExtraError: the method is ``lora`` and ``peft`` is not installed.
    """
    network = copy.deepcopy(base)
    if config.method == "full":
        return network.requires_grad_(True)
    if importlib.util.find_spec("peft") is None:
        raise MissingExtraError("LoRA needs peft: install the extra that brings it, pip install 'world2act[cosmos]'")
    from peft import LoraConfig, get_peft_model

    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    return get_peft_model(network, LoraConfig(r=config.rank, lora_alpha=config.rank, target_modules=linear))
