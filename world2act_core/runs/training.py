"""Training loops that resume exactly.

Every random choice of step ``s`` comes from a generator seeded by ``(seed, s)``, so a checkpoint needs no random
state: weights, optimiser moments and the step number are enough to go on as if nothing had happened, bit for bit.
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from world2act_core.errors import RunError

Losses = dict[str, torch.Tensor]

CHECKPOINT_EVERY = 100
"""Steps between two checkpoints: a kill costs at most these."""


def step_generator(seed: int, step: int) -> np.random.Generator:
    """The random source of one training step."""
    return np.random.default_rng((seed, step))


@dataclass
class Checkpointed:
    """What a training loop owns: modules and their optimiser, kept in one file between steps.

    Attributes:
        module: everything that is trained (use ``nn.ModuleDict`` for several).
        optimizer: of ``module``'s parameters.
        path: checkpoint file.
    """

    module: nn.Module
    optimizer: torch.optim.Optimizer
    path: Path
    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)

    def load(self) -> None:
        """Go on from the file if there is one."""
        if self.path.exists():
            saved = torch.load(self.path, weights_only=True)
            self.module.load_state_dict(saved["module"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.step, self.history = saved["step"], saved["history"]

    def save(self) -> None:
        """Replace the file in one move, so that a kill leaves a whole checkpoint."""
        content = {
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "history": self.history,
        }
        temporary = self.path.with_name(self.path.name + ".tmp")
        torch.save(content, temporary)
        os.replace(temporary, self.path)


def fit(
    state: Checkpointed,
    losses: Callable[[np.random.Generator], Losses],
    *,
    steps: int,
    seed: int,
    label: str,
    clip: float = 1.0,
    log_every: int = 25,
    measure: Callable[[], dict[str, float]] | None = None,
    measure_every: int = 200,
) -> list[dict[str, float]]:
    """Minimise ``losses(...)["loss"]`` with a cosine learning rate; every entry is logged.

    Args:
        state: module and optimiser; resumes from its checkpoint.
        losses: from the step's random source to named scalars, ``loss`` being the one to minimise.
        steps: total steps, those before a kill included.
        seed: of the whole loop.
        label: shown on the progress bar.
        clip: largest gradient norm.
        log_every: steps between two entries of the history.
        measure: figures on data that is not trained on; they are printed and enter the history.
        measure_every: steps between two measurements, a multiple of ``log_every``.

    Returns:
        The history: an entry every ``log_every`` steps.

    Raises:
        RunError: the loss or its gradient is not finite; weights and checkpoint are as before that step.
    """
    _keep_freed_memory()
    state.load()
    state.module.train()
    rates = [group["initial_lr"] if "initial_lr" in group else group["lr"] for group in state.optimizer.param_groups]
    for group, rate in zip(state.optimizer.param_groups, rates, strict=True):
        group["initial_lr"] = rate
    parameters = list(state.module.parameters())
    bar = tqdm(total=steps, initial=state.step, desc=label, unit="step", dynamic_ncols=True, mininterval=0.5)
    while state.step < steps:
        for group in state.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * _schedule(state.step, steps)
        rng = step_generator(seed, state.step)
        _seed_torch(int(rng.spawn(1)[0].integers(2**63)))  # dropout draws from torch's own source
        terms = losses(rng)
        for parameter in parameters:  # as zero_grad, which takes 2 % of a step of Stage 1
            parameter.grad = None
        terms["loss"].backward()
        norm = nn.utils.clip_grad_norm_(parameters, clip, foreach=True)
        _check_finite(terms["loss"], norm, label, state.step)
        state.optimizer.step()
        if state.step % log_every == 0:
            values = {name: float(value.detach()) for name, value in terms.items()}
            if measure is not None and state.step % measure_every == 0:
                values |= _measured(state.module, measure, f"{label}, step {state.step}")
            state.history.append({"step": state.step, **values})
            bar.set_postfix({name: f"{value:.3g}" for name, value in values.items()})
        state.step += 1
        bar.update()
        if state.step % CHECKPOINT_EVERY == 0:
            state.save()
    bar.close()
    state.save()
    state.module.eval()
    return state.history


def _check_finite(loss: torch.Tensor, norm: torch.Tensor, label: str, step: int) -> None:
    """Refuse to step where it would spoil the weights: what is sealed after that acts on nonsense."""
    for value, name in ((loss, "loss"), (norm, "gradient of the loss")):
        if not math.isfinite(found := float(value.detach())):
            raise RunError(
                f"{label}: the {name} is {found} at step {step}: lower the learning rate of this stage, and look for "
                "values that are not finite in what it learns from"
            )


def _seed_torch(seed: int) -> None:
    """As ``torch.manual_seed``, which formats the stack for each kind of device that is not in use, at every step."""
    if torch.cuda.is_initialized():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


def _keep_freed_memory() -> None:
    """Have glibc keep what is freed, up to 256 MB, for the next allocation.

    Gradients and activations of some megabytes are freed and allocated again at every step; by default glibc may hand
    their pages back to the kernel, which clears new ones: up to a third of a step of Stage 1. Elsewhere: nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3  # of malloc.h; 32 MB is the largest threshold that glibc takes
        mallopt(mmap_threshold, 32 << 20)
        mallopt(trim_threshold, 256 << 20)


@torch.no_grad()
def _measured(module: nn.Module, measure: Callable[[], dict[str, float]], when: str) -> dict[str, float]:
    """Measure out of training, and say what was found."""
    module.eval()
    found = measure()
    module.train()
    tqdm.write(f"{when}: {', '.join(f'{name} {value:.3g}' for name, value in found.items())}")
    return found


def _schedule(step: int, steps: int) -> float:
    """Short linear warm-up, then half a cosine down to 2 %."""
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
